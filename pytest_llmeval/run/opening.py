"""How a run's folder is taken: a new one, or that of the run which goes on."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pytest_llmeval.atomic import sweep
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import JudgeTrial, Trial
from pytest_llmeval.results.built import refuse_changed
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import Journal, read_run
from pytest_llmeval.results.manifest import (
    DRY_RUN,
    Manifest,
    ModelFacts,
    read_manifest,
    write_manifest,
)
from pytest_llmeval.results.parts import PartFacts
from pytest_llmeval.results.plan import RunPlan, plan_hash, plan_of
from pytest_llmeval.results.rows import in_order
from pytest_llmeval.run.artifacts import remove_artifacts
from pytest_llmeval.run.cleaning import cleaner_of
from pytest_llmeval.run.going_back import Earlier, Wanted, find_earlier, found_words
from pytest_llmeval.run.ledger import Ledger, versions_here, versions_since
from pytest_llmeval.run.progress import Part
from pytest_llmeval.run.replay import Replay
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.run.take_over import TakenOver, take_over
from pytest_llmeval.running.plan import split_into_parts

Given = Replay | TakenOver
"""What brings predictions along that others have asked for."""


def open_ledger(
    settings: Settings,
    trials: Sequence[Trial],
    now: datetime,
    digests: Callable[[], Mapping[str, str | None]] = dict,
    place: Path | None = None,
    judged: Sequence[JudgeTrial] = (),
    replay: Replay | None = None,
) -> Ledger:
    """Make the folder of a new run, at `place` if it is given, or go back to the one that
    --llm-resume names.

    `digests` gives those of the models' weights; a run is only resumed on the same ones.
    `judged` are the trials of judges; the recorded predictions of `replay` are written down as
    the run's own.
    Every request is rendered and written before anything is sent. Raises RunError when the
    folder cannot be used, TemplateError when a prompt cannot be rendered.
    """
    suites = {trial.suite.name: trial.suite for trial in trials}.values()
    plan = plan_of(
        settings.config.canonical,
        trials,
        _seeds(settings),
        limit=settings.options.limit,
        scorer_versions=settings.scorer_versions(suites),
        judged=judged,
    )
    earlier, kept = _earlier(settings, plan, digests, trials, judged)
    if earlier is not None and not earlier.differences:
        return _go_on(settings, earlier, plan, trials, judged)
    return _open_new(settings, plan, trials, judged, replay or kept, place, now)


def _go_on(
    settings: Settings,
    earlier: Earlier,
    plan: RunPlan,
    trials: Sequence[Trial],
    judged: Sequence[JudgeTrial],
) -> Ledger:
    folder = RunFolder.open(earlier.path, _conditions(trials))
    before = earlier.manifest
    count = max((part.number for part in before.parts), default=1)
    refuse_changed(folder.path, before.built)
    # How answers are scored may have changed: what is written down is what holds now. Requests that
    # another version has rendered are written anew.
    manifest = dataclasses.replace(
        before,
        plan=plan,
        plan_hash=plan_hash(plan),
        built={},
        versions=versions_since(before.versions),
        models=tuple(_set_as_before(before, plan)),
    )
    ledger = _begun(settings, folder, list(_parts(trials, count)), manifest, judged, before=before)
    ledger.found = found_words(earlier, trials, judged, ledger.known)
    return ledger


def _set_as_before(before: Manifest, plan: RunPlan) -> Iterable[ModelFacts]:
    """The models that are set as they were. A judge may be another now: its verdicts carry the hash
    of its settings, and are asked for anew.
    """
    was, now = (each.config.get("models", {}) for each in (before.plan, plan))
    return (each for each in before.models if was.get(each.name) == now.get(each.name))


def _open_new(
    settings: Settings,
    plan: RunPlan,
    trials: Sequence[Trial],
    judged: Sequence[JudgeTrial],
    given: Given | None,
    place: Path | None,
    now: datetime,
) -> Ledger:
    conditions = _conditions(trials)
    if place is None:
        folder = RunFolder.create(settings.options.run_dir, now.astimezone(), conditions)
    else:
        folder = RunFolder.at(place, conditions)
    parts = list(_parts(trials, settings.options.parts))
    manifest = _new_manifest(folder, plan, parts, settings, now)
    if given is not None:
        manifest = given.mark(manifest)
    try:
        # A run is listed from its first file on, and can go on. Not so before it has the answers
        # that it was given: others have them all. Nor where it is made to be asked by hand.
        listed = given is None and place is None
        ledger = _begun(settings, folder, parts, manifest, judged, given, listed=listed)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    if isinstance(given, TakenOver):
        ledger.found = given.words(trials)
    return ledger


def _begun(
    settings: Settings,
    folder: RunFolder,
    parts: Sequence[Part],
    manifest: Manifest,
    judged: Sequence[JudgeTrial],
    given: Given | None = None,
    before: Manifest | None = None,
    *,
    listed: bool = False,
) -> Ledger:
    """Take the folder, and write down what is asked; what is `given` is the run's own now.

    `before` is the manifest that a run had which goes on; a new one that is `listed` has its own
    before anything else.
    """
    part_of = {t.id: part.number for part in parts for t in part.trials if part.number > 1}
    journal = Journal(folder, lambda trial_id: part_of.get(trial_id, 1))
    try:
        if before is not None and read_manifest(folder.path) != before:
            raise RunError(  # noqa: TRY301 - whatever goes wrong in here lets the folder go
                f"--llm-resume: another process has written the run {folder.id} in this very "
                "moment: give the command again"
            )
        sweep(folder.path)
        if listed:
            write_manifest(folder.path, manifest, settings.redactor)
        clean = cleaner_of(settings.config, settings.redactor)
        for prediction in given.known.values() if given else ():
            journal.append(clean(prediction))  # it may have been written where others hold
        second_wave = list(_parts(judged, 1))
        known = read_run(folder.path)
        ledger = Ledger(folder, journal, parts, manifest, known, second_wave, settings.redactor)
        ledger.write_what_is_asked(settings, before)
        ledger.begin(settings.options.root)
        if before is not None:
            remove_artifacts(folder)  # they are of fewer answers, and the manifest says so by now
    except BaseException:
        journal.close()
        raise
    return ledger


def _conditions(trials: Iterable[Trial]) -> list[str]:
    """Their names, each once, in the order of the trials."""
    return list(dict.fromkeys(trial.condition.name for trial in trials))


def _parts(trials: Iterable[Trial], count: int) -> Iterable[Part]:
    by_condition: dict[str, list[Trial]] = {}
    for trial in trials:
        by_condition.setdefault(trial.condition.name, []).append(trial)
    for condition, its_trials in by_condition.items():
        ordered = in_order(its_trials) if count > 1 else its_trials
        for number, some in enumerate(split_into_parts(ordered, count), start=1):
            yield Part(condition, number, some)


def _seeds(settings: Settings) -> dict[str, int]:
    seeds = {
        f"sampling.{name}" if name else "sampling": named.sampling.seed
        for name, named in settings.config.samplings.items()
    }
    return {name: seed for name, seed in seeds.items() if seed is not None}


def _new_manifest(
    folder: RunFolder, plan: RunPlan, parts: Sequence[Part], settings: Settings, now: datetime
) -> Manifest:
    return Manifest(
        id=folder.id,
        started=now.isoformat(),
        plan=plan,
        plan_hash=plan_hash(plan),
        versions=versions_here(),
        parts=tuple(PartFacts(p.condition, p.number, len(p.trials)) for p in parts),
        warnings=(DRY_RUN,) if settings.options.dry_run else (),
    )


def _earlier(
    settings: Settings,
    plan: RunPlan,
    digests: Callable[[], Mapping[str, str | None]],
    trials: Sequence[Trial],
    judged: Sequence[JudgeTrial],
) -> tuple[Earlier | None, TakenOver | None]:
    """The run that --llm-resume means, and what a new one takes over; None without either."""
    options = settings.options
    if options.resume is None:
        return None, None
    wanted = Wanted(plan, digests(), options.dry_run)
    may_take = settings.config.resume_changed == "take_over"
    earlier = find_earlier(options, wanted, take_over=may_take)
    if not earlier.differences:
        return earlier, None
    return earlier, take_over(earlier, wanted, trials, judged, settings)
