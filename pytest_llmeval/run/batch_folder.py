"""A run's folder on the machine with the model: asked without its suites, and without pytest."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pytest_llmeval.errors import ConfigError, RunError
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.records import Trial
from pytest_llmeval.results.built import refuse_changed
from pytest_llmeval.results.folder import MANIFEST, requests_path
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import DRY_RUN, Manifest, read_manifest
from pytest_llmeval.results.resume import weights_changed
from pytest_llmeval.run.assembly import (
    AnyLane,
    backings_of,
    is_answered,
    live_models,
)
from pytest_llmeval.run.batch_asking import Ran, Requests, ask_all, lane_from_file
from pytest_llmeval.run.batch_files import read_requests, refuse_the_unaskable, trial_of
from pytest_llmeval.run.batch_lanes import AT_ONCE, Asking, batch_lane
from pytest_llmeval.run.ledger import Ledger, versions_here
from pytest_llmeval.run.models import Backing
from pytest_llmeval.run.progress import Part
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.batches import PollPolicy
from pytest_llmeval.running.plan import by_model

#: What a dry run's copy has none of: answers, the jobs that bring them, and files of ours.
_ANSWERED = shutil.ignore_patterns("*.results.jsonl", "*.jobs.json", ".*")

#: How a run has ended so far of which some parts were asked.
IN_PART = "some of its requests were not asked yet"


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
    _refuse_strangers(path, manifest, only)
    refuse_changed(path, manifest.built)
    backings = backings_of(settings, say)
    _refuse_other_weights(path, manifest, backings)
    ledger = Ledger.of_folder(path, manifest, parts, settings.redactor)
    if read_manifest(path) != manifest:
        ledger.give_up()
        raise RunError(
            f"another process has written {path} in this very moment: give the command again"
        )
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
    facts = ledger.manifest.parts
    return Ran(facts, tuple(p for p in facts if (p.condition, p.number) in names))


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
    its = by_model(left, settings.models)
    asked = {name: [requests[trial.id] for trial in some] for name, some in its.items()}
    now = datetime.now(timezone.utc)
    models = live_models(settings, backings, logs, say, ledger.model_opened, asked, now)

    def lane(name: str, trials: Sequence[Trial]) -> AnyLane:
        config = settings.config.models[name]
        if not config.batch:
            return lane_from_file(settings, models[name], trials, requests)
        polling = AT_ONCE if settings.options.dry_run else PollPolicy()
        asking = Asking(models[name], config.engine, lambda trial: requests[trial.id], ledger, say)
        return batch_lane(asking, trials, polling)

    lanes = {name: lane(name, some) for name, some in its.items()}
    ask_all(settings, lanes, models, left, say, record=ledger.record, sending=ledger.sending)


def _copy_for_dry_run(
    path: Path, only: Collection[Path], say: Callable[[str], None]
) -> tuple[Path, list[Path]]:
    copy = path.with_name(f"{path.name}-dry-run")
    if not copy.exists():
        shutil.copytree(path, copy, ignore=_ANSWERED)
    _refuse_another_copy(path, copy)
    say(f"llmeval: dry run in {copy}")
    return copy, [copy / each.relative_to(path) for each in only]


def _refuse_another_copy(path: Path, copy: Path) -> None:
    """Raise RunError where an earlier dry run was made of other requests."""
    for asked in path.glob("*/parts/*.requests.jsonl"):
        copied = copy / asked.relative_to(path)
        if not copied.is_file() or not filecmp.cmp(asked, copied, shallow=False):
            raise RunError(
                f"{copy} is a dry run of other requests than are in {path} now: delete it, and "
                "give the command again"
            )


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
        file = requests_path(path / condition.folder, facts.number)
        written = read_requests(file, settings.config)
        if len(written) != facts.trials:
            raise RunError(
                f"{file}: {len(written):,} requests, and {MANIFEST} says {facts.trials:,}: "
                f"put the file back as it was built"
            )
        model = settings.config.models[condition.model]
        for each in written:
            if not settings.options.dry_run:
                refuse_the_unaskable(model, each, file)
            requests[each.custom_id] = each.request
        trials = [trial_of(each.custom_id, condition.model) for each in written]
        parts.append(Part(facts.condition, facts.number, trials))
    return requests, parts


def _refuse_strangers(path: Path, manifest: Manifest, only: Collection[Path]) -> None:
    folders = {condition.name: condition.folder for condition in manifest.plan.conditions}
    parts = {requests_path(path / folders[part.condition], part.number) for part in manifest.parts}
    for each in only:
        if each not in parts:
            raise RunError(f"{each} is no part of {path}: its manifest knows nothing of it")


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
