"""Files of requests on the machine with the model: asked without their suites, without pytest."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pytest_llmeval.errors import ConfigError, RunError
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Prediction, Request, Trial
from pytest_llmeval.results.folder import MANIFEST
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import Manifest, PartFacts, count_part, read_manifest
from pytest_llmeval.results.results_file import ResultsFile, results_path
from pytest_llmeval.results.resume import weights_changed
from pytest_llmeval.run.assembly import (
    AnyLane,
    backings_of,
    in_turns,
    is_answered,
    lane_of,
    live_models,
)
from pytest_llmeval.run.batch_files import (
    model_for,
    read_requests,
    refuse_the_unaskable,
    trial_of,
)
from pytest_llmeval.run.batch_lanes import AT_ONCE, Asking, batch_lane
from pytest_llmeval.run.ledger import DRY_RUN, Ledger, versions_here
from pytest_llmeval.run.models import Backing, LiveModel, close_all
from pytest_llmeval.run.progress import Part
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.batches import PollPolicy
from pytest_llmeval.running.plan import by_model
from pytest_llmeval.running.scheduler import Scheduler

#: Seconds between two lines about how far it is.
TELL_EVERY = 10.0

#: How a run has ended so far of which some parts were asked.
IN_PART = "some of its requests were not asked yet"

Requests = dict[str, Request]
"""By trial id."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of all parts of a folder, or of files, and which of them were to be asked."""

    parts: tuple[PartFacts, ...]
    asked: tuple[PartFacts, ...]

    @property
    def failed(self) -> int:
        """How many of the requests asked have no answer."""
        return sum(part.failed for part in self.asked)


# A run's folder -----------------------------------------------------------------------------------


def run_folder(
    settings: Settings, path: Path, say: Callable[[str], None], only: Collection[Path] = ()
) -> Ran:
    """Ask what is left in a run's folder, or in the parts whose requests are `only` these files.

    A dry run is made in a copy beside it, whose answers nobody can take for real ones. Raises
    RunError, ConfigError.
    """
    if settings.options.dry_run:
        path, only = _copy_for_dry_run(path, only, say)
    manifest = read_manifest(path)
    _check(path.name, manifest, settings)
    requests, parts = _read_parts(path, manifest, settings)
    backings = backings_of(settings, say)
    _refuse_other_weights(path, manifest, backings)
    ledger = Ledger.of_folder(path, manifest, parts)
    wanted = [part for part in parts if not only or _requests_of(ledger, part) in only]
    reason = "interrupted"
    try:
        changes = {"warnings": (DRY_RUN,)} if settings.options.dry_run else {}
        ledger.begin(settings.options.root, versions=versions_here(), **changes)
        _ask_folder(settings, ledger, wanted, requests, backings, say)
        reason = "" if is_whole(path, requests) else IN_PART
    finally:
        ledger.close(read_run(path), datetime.now(timezone.utc), reason)
    names = {(part.condition, part.number) for part in wanted}
    parts = ledger.manifest.parts
    return Ran(parts, tuple(p for p in parts if (p.condition, p.number) in names))


def is_whole(path: Path, requests: Requests) -> bool:
    """Whether every request of a folder has a result by now, also those asked elsewhere."""
    return requests.keys() <= read_run(path).keys()


def _ask_folder(
    settings: Settings,
    ledger: Ledger,
    wanted: Sequence[Part],
    requests: Requests,
    backings: Mapping[str, Backing],
    say: Callable[[str], None],
) -> None:
    known = [p for p in ledger.known.values() if is_answered(p)]
    answered = {prediction.trial_id for prediction in known}
    left = [t for part in wanted for t in part.trials if t.id not in answered]
    if not left:
        return
    logs = ledger.folder.path / "logs"
    models = live_models(settings, backings, logs, say, ledger.model_opened)

    def lane(name: str, trials: Sequence[Trial]) -> AnyLane:
        if not settings.config.models[name].batch:
            return _lane(settings, models[name], trials, requests)
        polling = AT_ONCE if settings.options.dry_run else PollPolicy()
        asking = Asking(models[name], lambda trial: requests[trial.id], ledger, say)
        return batch_lane(asking, trials, polling)

    lanes = {name: lane(name, its) for name, its in by_model(left, settings.models).items()}
    ask_all(settings, lanes, models, left, say, record=ledger.record, sending=ledger.sending)


def _copy_for_dry_run(
    path: Path, only: Collection[Path], say: Callable[[str], None]
) -> tuple[Path, list[Path]]:
    copy = path.with_name(f"{path.name}-dry-run")
    if not copy.exists():
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("*.results.jsonl", ".*"))
    say(f"llmeval: dry run in {copy}")
    return copy, [copy / each.relative_to(path) for each in only]


def _check(name: str, manifest: Manifest, settings: Settings) -> None:
    if DRY_RUN in manifest.warnings and not settings.options.dry_run:
        raise RunError(
            f"{name} holds a dry run, whose answers are the fake engine's: run the folder "
            f"that it is a copy of, or build one anew"
        )
    if manifest.rescored_from is not None:
        raise RunError(f"{name} was made by llmeval rescore; run {manifest.rescored_from} instead")
    for condition in manifest.plan.conditions:
        if condition.model not in settings.models:
            words = unknown("model", condition.model, settings.models)
            raise ConfigError(f"{name} asks it: {words}", path=settings.config.path)


def _read_parts(path: Path, manifest: Manifest, settings: Settings) -> tuple[Requests, list[Part]]:
    """What each part asks, as its file says it. Raises RunError where it is not what was built."""
    conditions = {condition.name: condition for condition in manifest.plan.conditions}
    requests: Requests = {}
    parts = []
    for facts in manifest.parts:
        condition = conditions[facts.condition]
        file = path / condition.folder / "parts" / f"part-{facts.number:04d}.requests.jsonl"
        written = read_requests(file, settings.config)
        if len(written) != facts.trials:
            raise RunError(
                f"{file}: {len(written):,} requests, and {MANIFEST} says {facts.trials:,}: "
                f"put the file back as it was built"
            )
        engine = settings.config.models[condition.model].engine
        for each in written:
            if not settings.options.dry_run:
                refuse_the_unaskable(engine, each, file)
            requests[each.custom_id] = each.request
        trials = [trial_of(each.custom_id, condition.model) for each in written]
        parts.append(Part(facts.condition, facts.number, trials))
    return requests, parts


def _refuse_other_weights(path: Path, manifest: Manifest, backings: Mapping[str, Backing]) -> None:
    known = {facts.name for facts in manifest.models if facts.digest}
    digests = {name: backings[name].digest(lambda: False) for name in known if name in backings}
    differences = list(weights_changed(manifest.models, digests))
    if differences:
        raise RunError(
            f"{path} was answered by other weights: {'; '.join(differences)}. Put them back, or "
            f"build the folder anew"
        )


def _requests_of(ledger: Ledger, part: Part) -> Path:
    return ledger.folder.requests(part.condition, part.number)


# Files by themselves ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileWork:
    """A file of requests and its results. `custom_ids` go by trial id: two files may have the same,
    and then their trials still differ.
    """

    path: Path
    results: ResultsFile
    trials: Sequence[Trial]
    custom_ids: Mapping[str, str]


def run_files(settings: Settings, paths: Sequence[Path], say: Callable[[str], None]) -> Ran:
    """Ask what is left in files of requests, each with a file of results beside it.

    Raises RunError, ConfigError.
    """
    requests: Requests = {}
    with ExitStack() as stack:
        works = [_file_work(settings, path, requests, stack) for path in paths]
        of = {trial.id: work for work in works for trial in work.trials}
        left = [
            trial
            for work in works
            for trial in work.trials
            if not is_answered(work.results.known.get(work.custom_ids[trial.id]))
        ]
        outcomes = {w.path: dict(w.results.known) for w in works}

        def record(prediction: Prediction) -> None:
            work = of[prediction.trial_id]
            custom_id = work.custom_ids[prediction.trial_id]
            named = dataclasses.replace(prediction, trial_id=custom_id)
            work.results.append(named)
            outcomes[work.path][custom_id] = named

        if left:
            logs = paths[0].parent / "logs"
            models = live_models(settings, backings_of(settings, say), logs, say, _tell_of(say))
            lanes: dict[str, AnyLane] = {
                name: _lane(settings, models[name], its, requests)
                for name, its in by_model(left, settings.models).items()
            }
            ask_all(settings, lanes, models, left, say, record=record)
    facts = tuple(_facts(work, outcomes[work.path]) for work in works)
    return Ran(facts, facts)


def _file_work(settings: Settings, path: Path, requests: Requests, stack: ExitStack) -> FileWork:
    config, dry_run = settings.config, settings.options.dry_run
    custom_ids, trials = {}, []
    for written in read_requests(path, config):
        model = model_for(written, config, path)
        if not dry_run:
            refuse_the_unaskable(config.models[model].engine, written, path)
        if config.models[model].batch:
            raise ConfigError(
                f"models: {model}: batch: true asks whole parts of a run's folder, which "
                f"{path} is not in; leave it out, or make the folder with llmeval batch build",
                path=config.path,
            )
        trial = trial_of(written.custom_id, model, f"{path}\n{written.custom_id}")
        requests[trial.id] = written.request
        custom_ids[trial.id] = written.custom_id
        trials.append(trial)
    results = stack.enter_context(closing(ResultsFile(results_path(path, dry_run=dry_run))))
    return FileWork(path, results, trials, custom_ids)


def _tell_of(say: Callable[[str], None]) -> Callable[[LiveModel, ModelConfig], None]:
    """Say by which weights a model answers: files by themselves have no manifest for it."""

    def tell(model: LiveModel, config: ModelConfig) -> None:
        weights = f", weights sha256 {model.digest}" if model.digest else ""
        build = f", {model.facts.build}" if model.facts and model.facts.build else ""
        say(f"llmeval: {model.name}: {config.engine}{build}{weights}")

    return tell


def _facts(work: FileWork, outcomes: Mapping[str, Prediction]) -> PartFacts:
    asked = [work.custom_ids[trial.id] for trial in work.trials]
    part = PartFacts(work.path.name, 1, len(asked), "completed")
    return count_part(part, [outcomes[id_] for id_ in asked if id_ in outcomes])


# Both ---------------------------------------------------------------------------------------------


def ask_all(
    settings: Settings,
    lanes: Mapping[str, AnyLane],
    models: Mapping[str, LiveModel],
    trials: Sequence[Trial],
    say: Callable[[str], None],
    *,
    record: Callable[[Prediction], None],
    sending: Callable[[Trial], None] = lambda _: None,
) -> None:
    """Ask all trials and wait for them; whatever happens, no server is left and all is written."""

    async def shut_down() -> None:
        await close_all(list(models.values()))

    scheduler = Scheduler(in_turns(settings, lanes), record, shut_down, sending=sending)
    scheduler.start()
    try:
        _wait(scheduler, trials, say)
    finally:
        scheduler.stop()


def _wait(scheduler: Scheduler, trials: Iterable[Trial], say: Callable[[str], None]) -> None:
    """Wait for all of them, and tell now and then how far it is."""
    total, told = len(list(trials)), time.monotonic()
    for trial in trials:
        while scheduler.wait(trial.id) is None:
            if time.monotonic() - told >= TELL_EVERY:
                told = time.monotonic()
                say(f"llmeval: {len(scheduler.news(0)):,} of {total:,} asked")


def _lane(
    settings: Settings, live: LiveModel, trials: Sequence[Trial], requests: Requests
) -> AnyLane:
    return lane_of(
        live,
        settings.config.models[live.name],
        trials,
        lambda trial: requests[trial.id],
        exact=any(not requests[trial.id].cache_prompt for trial in trials),
        timed=False,
        dry_run=settings.options.dry_run,
    )
