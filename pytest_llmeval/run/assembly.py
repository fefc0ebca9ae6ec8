"""From a config and a plan to what the scheduler needs: models that can be opened, lanes, turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from platformdirs import user_cache_path

from pytest_llmeval.engines.engine import refuse_request
from pytest_llmeval.errors import ConfigError, Unsupported
from pytest_llmeval.machine.memory import free_memory
from pytest_llmeval.records import Answer, Prediction, Trial
from pytest_llmeval.run.backing import backing_of, fake_backing, in_flight
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.run.models import Backing, LiveModel
from pytest_llmeval.run.requests import request_of
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
    settings: Settings, models: Mapping[str, LiveModel], trials: Sequence[Trial], ledger: Ledger
) -> list[list[Lane]]:
    """A lane for every model that has trials left; those of a turn fit into memory together."""
    left = [trial for trial in trials if not is_answered(ledger.known.get(trial.id))]
    lanes = {
        name: _lane(settings, models[name], its)
        for name, its in by_model(left, settings.models).items()
    }
    sizes = {name: _memory_of(settings, name) for name in lanes}
    return [[lanes[name] for name in turn] for turn in take_turns(sizes, free_memory())]


def rotation_of(settings: Settings, trials: Sequence[Trial]) -> tuple[tuple[str, ...], ...]:
    """Which of the models asked are loaded together, turn after turn, as memory allows now."""
    sizes = {name: _memory_of(settings, name) for name in by_model(trials, settings.models)}
    return take_turns(sizes, free_memory())


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
    # The texts of an item follow each other; a request ahead of them would take the slot whose
    # cache holds their prompt. Servers that keep it in memory then have to copy it back.
    timed = any(is_timed(trial) or trial.suite.continuations for trial in trials)

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
