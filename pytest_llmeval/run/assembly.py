"""From a config and a plan to what the scheduler needs: models that can be opened, lanes, turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pytest_llmeval.engines.engine import refuse_request
from pytest_llmeval.errors import ConfigError, Unsupported
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.inputs.paths import cache_folder
from pytest_llmeval.machine.environment import computing_cores
from pytest_llmeval.machine.memory import Memory, free_now
from pytest_llmeval.records import Answer, JudgeTrial, Prediction, Predictions, Request, Trial
from pytest_llmeval.run.backing import backing_of, fake_backing, in_flight
from pytest_llmeval.run.batch_lanes import AT_ONCE, Asking, batch_lane
from pytest_llmeval.run.caching import AnswerCache, Through, ask_anew, through_cache
from pytest_llmeval.run.cores import threads_of
from pytest_llmeval.run.honesty import refuse_dishonest
from pytest_llmeval.run.judge_lanes import judge_lane, judged_by
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.run.models import Backing, LiveModel
from pytest_llmeval.run.preflight import (
    Examine,
    Gatekeeper,
    examiner,
    first_of_each,
    wanted_for,
)
from pytest_llmeval.run.requests import request_of
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.batches import BatchLane, PollPolicy
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.plan import by_model, take_turns
from pytest_llmeval.servers.leases import switches
from pytest_llmeval.servers.made_of import files_named

AnyLane = Lane | BatchLane

Answers = Callable[[], Predictions]
"""All predictions that count by now, of both waves."""


def backings_of(
    settings: Settings, say: Callable[[str], None], trials: Sequence[Trial] | None = None
) -> dict[str, Backing]:
    """How each model of the config is reached that is asked `trials`; nothing is started. Raises
    ConfigError. Without trials none has a server that other runs use too.
    """
    models = settings.config.models
    if settings.options.dry_run:
        return {name: fake_backing(model) for name, model in models.items()}
    cache = cache_folder()
    threads = threads_of(models, _turns(settings, models), computing_cores())
    shares = settings.config.share_servers and trials is not None
    alone = {t.condition.model for t in trials or () if t.suite.exact or is_timed(t)}
    return {
        name: backing_of(
            replace(model, threads=threads[name]),
            settings.config,
            cache,
            say,
            shared=shares and name not in alone and may_share(model, os.environ),
        )
        for name, model in models.items()
    }


def may_share(model: ModelConfig, environ: Mapping[str, str]) -> bool:
    """Whether a model's server may be one that other runs use too: not where its answers are to be
    bit-equal, its port is given, or it reads files by names that start in our folder.
    """
    named = files_named([*model.args, *switches(environ).values()])
    starts_here = any(not Path(file).is_absolute() for file in named)
    return not (model.exact or model.port is not None or starts_here)


def refuse_the_impossible(settings: Settings, trials: Sequence[Trial]) -> None:
    """Raise ConfigError for what an engine cannot do, instead of failing trial by trial."""
    conditions = {(trial.suite.name, trial.condition.name): trial for trial in trials}
    for trial in conditions.values():
        model = settings.config.models[trial.condition.model]
        if model.batch and is_timed(trial):
            raise ConfigError(
                f"{trial.condition.name} in suite {trial.suite.name} has a gate on latency, and "
                f"models.{model.name} is asked in batches, which have none: remove the gate, or "
                f"batch: true",
                path=settings.config.path,
            )
        if settings.options.dry_run:
            continue
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
    logs: Path,
    say: Callable[[str], None],
    opened: Callable[[LiveModel, ModelConfig], None],
    requests: Mapping[str, Sequence[Request]],
    now: datetime,
    judged: Sequence[JudgeTrial] = (),
) -> dict[str, LiveModel]:
    """The config's models, ready to be opened; their servers will log into the folder `logs`.

    `opened` is told of each that has said what it is, before it is asked anything. Whether they can
    do what `requests`, by model, ask of them, and `judged` of those that judge, is looked at when
    they are opened; `now` makes what they are asked then unlike that of any other session.
    """
    logs.mkdir(exist_ok=True)
    models = settings.config.models
    judging = by_model(judged, tuple(models))
    salt = f"{now:%y%m%d-%H%M%S}"
    return {
        name: LiveModel(
            name,
            made,
            logs,
            say,
            place=_place(settings, name),
            opened=lambda live: opened(live, models[live.name]),
            examine=_examine(
                settings, models[name], requests.get(name, ()), judging.get(name, ()), salt
            ),
        )
        for name, made in backings.items()
    }


def _examine(
    settings: Settings,
    model: ModelConfig,
    requests: Sequence[Request],
    judging: Sequence[Trial],
    salt: str,
) -> Examine | None:
    """The preflight of a model that is asked `trials` and judges in `judging`.

    None for the fake engine, which can do everything, for a service that is asked in batches and by
    nothing else, and for an embedder, whose server writes nothing.
    """
    silent = (model.batch and not judging) or model.role == "embedder"
    if settings.options.dry_run or model.engine == "fake" or silent:
        return None
    exact = any(trial.suite.exact for trial in judging) or not all(
        request.cache_prompt for request in requests
    )
    wanted = wanted_for(requests)
    if judging and settings.bench.replies_in_json(model.name):
        wanted |= {"json_schema"}
    return examiner(model, wanted, salt=salt, one_at_a_time=exact, redactor=settings.redactor)


def first_requests(settings: Settings, trials: Iterable[Trial]) -> dict[str, list[Request]]:
    """By model a request of each suite and condition, which stands for those of all its trials."""
    found: dict[str, list[Request]] = {}
    for trial in first_of_each(trials).values():
        model = settings.config.models[trial.condition.model]
        found.setdefault(model.name, []).append(request_of(trial, model))
    return found


def _place(settings: Settings, name: str) -> str:
    config = settings.config
    line = config.model_lines.get(name)
    return f"{config.path}:{line}: models: {name}" if line else f"{config.path}: models: {name}"


def turns_of(
    settings: Settings,
    models: Mapping[str, LiveModel],
    trials: Sequence[Trial],
    ledger: Ledger,
    say: Callable[[str], None],
    wave: SecondWave,
    answers: Answers,
    cache: AnswerCache | None = None,
) -> list[list[AnyLane]]:
    """A lane for every model that has trials left; those of a turn fit into memory together.

    `answers` gives all predictions that count by then, those of earlier sessions among them. Judges
    come last, and judge in their own turn what they then can. Only where one of two judges that do
    not fit together judges the other, and the other way round, is one loaded again.
    """
    known, order = answers(), _order(settings, trials)
    left = [trial for trial in trials if not is_answered(known.get(trial.id))]
    lanes: dict[str, AnyLane] = {
        name: _lane(settings, models[name], its, cache)
        if not settings.config.models[name].batch
        else _batch_lane(settings, models[name], its, ledger, say)
        for name, its in by_model(left, order).items()
    }
    unjudged: dict[str, list[JudgeTrial]] = {}
    for trial in wave.trials:
        if not is_answered(known.get(trial.id)):
            unjudged.setdefault(trial.condition.model, []).append(trial)
    judges = {
        name: judge_lane(settings, models[name], its, wave, answers, cache)
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
    late = {name: lane for name, lane in judges.items() if name not in in_time}
    return made + in_turns(settings, late)


def in_turns(settings: Settings, lanes: Mapping[str, AnyLane]) -> list[list[AnyLane]]:
    """Put lanes, by model, into turns of those that fit into memory together."""
    return [[lanes[name] for name in turn] for turn in _turns(settings, lanes)]


def rotation_of(settings: Settings, trials: Sequence[Trial]) -> tuple[tuple[str, ...], ...]:
    """Which of the models asked are loaded together, turn after turn, as memory allows now."""
    return _turns(settings, by_model(trials, _order(settings, trials)))


def _order(settings: Settings, trials: Iterable[Trial]) -> tuple[str, ...]:
    return settings.turn_order({trial.suite.name: trial.suite for trial in trials}.values())


def _turns(settings: Settings, names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Which of these models are loaded together, turn after turn."""
    if settings.options.dry_run:
        return take_turns({name: {} for name in names}, {})
    free = free_now()
    needs = {}
    for name in names:
        need = memory_of(settings.config.models[name], has_gpu=free.vram is not None) or Memory(0)
        needs[name] = {"ram": need.ram, "vram": need.vram or 0}
    return take_turns(needs, {"ram": free.ram, "vram": free.vram})


def is_answered(prediction: Prediction | None) -> bool:
    """Whether a trial needs no asking any more; a failure of an earlier session does."""
    return prediction is not None and prediction.answer is not None


def is_timed(trial: Trial) -> bool:
    """Whether a gate asks how long the answers of the trial's condition take."""
    gates = trial.suite.gates
    return any(gate.kind == "latency" and gate.only == trial.condition.name for gate in gates)


def _lane(
    settings: Settings, live: LiveModel, trials: Sequence[Trial], cache: AnswerCache | None
) -> Lane:
    model = settings.config.models[live.name]
    gatekeeper = Gatekeeper(model, trials)

    def request_for(trial: Trial) -> Request:
        gatekeeper.admit(trial, live.checks, live.facts.context if live.facts else None)
        return request_of(trial, model)

    return lane_of(
        live,
        model,
        trials,
        request_for,
        exact=any(trial.suite.exact for trial in trials),
        # The texts of an item follow each other; a request ahead of them would take the slot whose
        # cache holds their prompt. Servers that keep it in memory then have to copy it back.
        timed=any(is_timed(trial) or bool(trial.suite.continuations) for trial in trials),
        dry_run=settings.options.dry_run,
        through=through_cache(cache, live, model, measured=any(map(is_timed, trials))),
    )


def lane_of(
    live: LiveModel,
    model: ModelConfig,
    trials: Sequence[Trial],
    request_for: Callable[[Trial], Request],
    *,
    exact: bool,
    timed: bool,
    dry_run: bool,
    through: Through = ask_anew,
) -> Lane:
    """A lane that keeps a model's slots full; with `exact` one request is under way at a time, and
    with `timed` none is ahead. All go `through` the cache, if there is one.

    `request_for` raises EngineError for a trial that the model cannot be asked.
    """

    def width() -> int:
        return 1 if exact else in_flight(model, live.slots, timed=timed, dry_run=dry_run)

    async def ask(trial: Trial) -> Answer:
        request = request_for(trial)

        async def fresh() -> Answer:
            answer = await live.ask(request)
            refuse_dishonest(request, answer, model.engine)
            return answer

        return await through(trial, request, fresh, width())

    return Lane(
        model=live.name,
        trials=trials,
        in_flight=width,
        ask=ask,
        open=live.open,
        recover=live.recover,
        close=live.give_way,
        explain=live.explain,
    )


def _batch_lane(
    settings: Settings,
    live: LiveModel,
    trials: Sequence[Trial],
    ledger: Ledger,
    say: Callable[[str], None],
) -> BatchLane:
    polling = AT_ONCE if settings.options.dry_run else PollPolicy()
    model = settings.config.models[live.name]
    asking = Asking(live, model.engine, lambda trial: request_of(trial, model), ledger, say)
    return batch_lane(asking, trials, polling)
