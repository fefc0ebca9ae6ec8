"""From a config and a plan to what the scheduler needs: models that can be opened, lanes, turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from platformdirs import user_cache_path

from pytest_llmeval.engines.engine import refuse_request
from pytest_llmeval.errors import ConfigError, Unsupported
from pytest_llmeval.machine.memory import free_memory
from pytest_llmeval.records import Answer, JudgeTrial, Prediction, Trial
from pytest_llmeval.run.backing import backing_of, fake_backing, in_flight
from pytest_llmeval.run.judge_lanes import judge_lane, judged_by
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.run.models import Backing, LiveModel
from pytest_llmeval.run.requests import request_of
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.plan import by_model, take_turns


def backings_of(settings: Settings, say: Callable[[str], None]) -> dict[str, Backing]:
    """How each model of the config is reached; nothing is started. Raises ConfigError."""
    cache = user_cache_path("pytest-llmeval", appauthor=False)
    return {
        name: fake_backing(model)
        if settings.options.dry_run
        else backing_of(model, settings.config, cache, say)
        for name, model in settings.config.models.items()
    }


def refuse_the_impossible(settings: Settings, trials: Sequence[Trial]) -> None:
    """Raise ConfigError for what an engine cannot do, instead of failing trial by trial."""
    if settings.options.dry_run:
        return
    conditions = {(trial.suite.name, trial.condition.name): trial for trial in trials}
    for trial in conditions.values():
        model = settings.config.models[trial.condition.model]
        try:
            refuse_request(model.engine, request_of(trial, model))
        except Unsupported as error:
            raise ConfigError(
                f"{trial.condition.name} in suite {trial.suite.name}: {error}",
                path=settings.config.path,
            ) from error


def live_models(
    settings: Settings,
    backings: Mapping[str, Backing],
    ledger: Ledger,
    say: Callable[[str], None],
) -> dict[str, LiveModel]:
    """The config's models, ready to be opened; their servers will log into the run's folder."""
    logs = ledger.folder.path / "logs"
    logs.mkdir(exist_ok=True)
    models = settings.config.models
    return {
        name: LiveModel(
            name,
            made,
            logs,
            say,
            place=_place(settings, name),
            opened=partial(ledger.model_opened, config=models[name]),
        )
        for name, made in backings.items()
    }


def _place(settings: Settings, name: str) -> str:
    config = settings.config
    line = config.model_lines.get(name)
    return f"{config.path}:{line}: models: {name}" if line else f"{config.path}: models: {name}"


def turns_of(
    settings: Settings,
    models: Mapping[str, LiveModel],
    trials: Sequence[Trial],
    known: Mapping[str, Prediction],
    wave: SecondWave,
    answers: Callable[[], Mapping[str, Prediction]],
) -> list[list[Lane]]:
    """A lane for every model that has trials left; those of a turn fit into memory together.

    `known` are the answers of earlier sessions, `answers` gives all there are by then.
    Judges come last, and judge in their own turn what they then can. Only where one of two judges
    that do not fit together judges the other, and the other way round, is one loaded again.
    """
    left = [trial for trial in trials if not is_answered(known.get(trial.id))]
    order = _order(settings, trials)
    lanes = {
        name: _lane(settings, models[name], its) for name, its in by_model(left, order).items()
    }
    unjudged: dict[str, list[JudgeTrial]] = {}
    for trial in wave.trials:
        if not is_answered(known.get(trial.id)):
            unjudged.setdefault(trial.condition.model, []).append(trial)
    judges = {
        name: judge_lane(settings, models[name], its, wave, answers)
        for name, its in unjudged.items()
    }
    turns = _turns(settings, [name for name in order if name in lanes or name in judges])
    turn_of = {name: number for number, turn in enumerate(turns) for name in turn}
    in_time = {
        name
        for name in judges
        if all(turn_of.get(m, 0) <= turn_of[name] for m in judged_by(unjudged[name]))
    }
    made = [[lanes[name] for name in turn if name in lanes] for turn in turns]
    for number, turn in enumerate(turns):
        made[number] += [judges[name] for name in turn if name in in_time]
    late = _turns(settings, [name for name in judges if name not in in_time])
    return made + [[judges[name] for name in turn] for turn in late]


def rotation_of(settings: Settings, trials: Sequence[Trial]) -> tuple[tuple[str, ...], ...]:
    """Which of the models asked are loaded together, turn after turn, as memory allows now."""
    return _turns(settings, by_model(trials, _order(settings, trials)))


def _order(settings: Settings, trials: Iterable[Trial]) -> tuple[str, ...]:
    return settings.turn_order({trial.suite.name: trial.suite for trial in trials}.values())


def _turns(settings: Settings, names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return take_turns({name: _memory_of(settings, name) for name in names}, free_memory())


def is_answered(prediction: Prediction | None) -> bool:
    """Whether a trial needs no asking any more; a failure of an earlier session does."""
    return prediction is not None and prediction.answer is not None


def is_timed(trial: Trial) -> bool:
    """Whether a gate asks how long the answers of the trial's condition take."""
    gates = trial.suite.gates
    return any(gate.kind == "latency" and gate.only == trial.condition.name for gate in gates)


def _lane(settings: Settings, live: LiveModel, trials: Sequence[Trial]) -> Lane:
    model = settings.config.models[live.name]
    exact = any(trial.suite.exact for trial in trials)
    timed = any(map(is_timed, trials))

    async def ask(trial: Trial) -> Answer:
        return await live.ask(request_of(trial, model))

    def width() -> int:
        slots = live.slots or model.slots
        dry_run = settings.options.dry_run
        return 1 if exact else in_flight(model, slots, timed=timed, dry_run=dry_run)

    return Lane(
        model=live.name,
        trials=trials,
        in_flight=width,
        ask=ask,
        open=live.open,
        recover=live.recover,
        close=live.close,
        explain=live.explain,
    )


def _memory_of(settings: Settings, name: str) -> int | None:
    return None if settings.options.dry_run else memory_of(settings.config.models[name])
