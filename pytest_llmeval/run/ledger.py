"""What a run writes down while it lives: its folder, its requests, its journal, its manifest."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pytest_llmeval import __version__
from pytest_llmeval.atomic import write_json
from pytest_llmeval.errors import RunError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.environment import describe_environment
from pytest_llmeval.records import Doubt, JudgeTrial, Prediction, Trial
from pytest_llmeval.results.folder import RunFolder, find_run
from pytest_llmeval.results.journal import Journal, read_run, write_requests
from pytest_llmeval.results.manifest import (
    DRY_RUN,
    Manifest,
    ModelFacts,
    PartFacts,
    RunPlan,
    plan_hash,
    plan_of,
    read_manifest,
    settle_part,
)
from pytest_llmeval.results.resume import check_resumable, weights_changed
from pytest_llmeval.results.strays import NO_STRAYS, Strays
from pytest_llmeval.run.backing import what_computes
from pytest_llmeval.run.kept_manifest import KeptManifest
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.progress import Part, Progress
from pytest_llmeval.run.replay import Replay
from pytest_llmeval.run.requests import request_bodies
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.plan import split_into_parts

#: The journal is handed to the disk after this many predictions.
SYNC_EVERY = 200


class Ledger:
    """The one writer of a run's folder while the run lives.

    `known` holds the predictions that an earlier session of this run has left. `second_wave` are
    the trials of judges, by the condition that they judge.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        parts: Sequence[Part],
        manifest: Manifest,
        known: Mapping[str, Prediction],
        second_wave: Sequence[Part] = (),
    ):
        self.folder = folder
        self.parts = parts
        self.second_wave = second_wave
        self.known = known
        self._journal = journal
        self._manifest = KeptManifest(folder.path, manifest)
        self._unsynced = 0
        self._syncing: threading.Thread | None = None
        self._progress = Progress(parts, known)
        self._judging = Progress(second_wave, known)
        self._strays: dict[tuple[str, int], Strays] = {}

    @classmethod
    def open(
        cls,
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
        plan = plan_of(
            settings.config.canonical,
            trials,
            _seeds(settings),
            limit=settings.options.limit,
            scorer_versions=settings.scorer_versions(
                {t.suite.name: t.suite for t in trials}.values()
            ),
            judged=judged,
        )
        conditions = {trial.condition.name: None for trial in trials}
        if settings.options.resume is None:
            if place is None:
                folder = RunFolder.create(settings.options.run_dir, now.astimezone(), conditions)
            else:
                folder = RunFolder.at(place, conditions)
            parts = list(_parts(trials, settings.options.parts))
            manifest = _new_manifest(folder, plan, parts, settings, now, replay)
        else:
            folder, manifest = _go_back(settings, plan, conditions, digests())
            parts = list(_parts(trials, max((p.number for p in manifest.parts), default=1)))
        part_of = {t.id: part.number for part in parts for t in part.trials if part.number > 1}
        journal = Journal(folder, lambda trial_id: part_of.get(trial_id, 1))
        try:
            for prediction in replay.known.values() if replay else ():
                journal.append(prediction)
            second_wave = list(_parts(judged, 1))
            ledger = cls(folder, journal, parts, manifest, read_run(folder.path), second_wave)
            ledger._write_what_is_asked(settings)
            ledger.begin(settings.options.root)
        except BaseException:
            journal.close()
            if settings.options.resume is None:
                shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return ledger

    @classmethod
    def of_folder(cls, path: Path, manifest: Manifest, parts: Sequence[Part]) -> Ledger:
        """Go back to a folder whose requests are there, whatever wrote them; see `begin`."""
        folder = RunFolder.open(path, [condition.name for condition in manifest.plan.conditions])
        part_of = {trial.id: part.number for part in parts for trial in part.trials}
        journal = Journal(folder, lambda trial_id: part_of[trial_id])
        try:
            return cls(folder, journal, parts, manifest, read_run(path))
        except BaseException:
            journal.close()
            raise

    def begin(self, root: Path, **changes: object) -> None:
        """Write down what it runs on, and that it is at work; a resumed run goes on.

        `changes` are to other fields of the manifest.
        """
        write_json(self.folder.path / "environment.json", describe_environment(root))
        self._manifest.write(
            parts=self._progress.facts,
            second_wave=self._judging.facts,
            finished=None,
            exit_reason=None,
            **changes,
        )

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is by now."""
        return self._manifest.value

    def record(self, prediction: Prediction) -> None:
        """Write a prediction down, before anyone sees it."""
        self._journal.append(prediction)
        if self._progress.recorded(prediction):
            self._manifest.write_soon(parts=self._progress.facts)
        elif self._judging.recorded(prediction):
            self._manifest.write_soon(second_wave=self._judging.facts)
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY and not (self._syncing and self._syncing.is_alive()):
            self._unsynced = 0
            # fsync takes milliseconds, which the scheduler's loop does not have.
            self._syncing = threading.Thread(
                target=self._journal.sync, name="llmeval-sync", daemon=True
            )
            self._syncing.start()

    def sending(self, trial: Trial) -> None:
        """A trial is about to be sent: its part is running."""
        if self._progress.sending(trial):
            self._manifest.write_soon(parts=self._progress.facts)
        elif self._judging.sending(trial):
            self._manifest.write_soon(second_wave=self._judging.facts)

    def note_strays(self, condition: str, number: int, odd: Strays) -> None:
        """Keep by which ids what came back for a part differs from what it had asked."""
        before = self._strays.get((condition, number), NO_STRAYS)
        self._strays[condition, number] = Strays(
            doubled=before.doubled + odd.doubled, unknown=before.unknown + odd.unknown
        )

    def model_opened(self, model: LiveModel, config: ModelConfig) -> None:
        """Write down by which weights a model's answers are made, before it gives any.

        Raises RunError when the run has answers of it by others: not every endpoint could be asked
        for them before it was open.
        """
        facts = _model_facts(model, config)
        for change in weights_changed(self.manifest.models, {facts.name: facts.digest}):
            raise RunError(f"the run has answers by other weights; {change}. Start a new run")
        others = tuple(known for known in self.manifest.models if known.name != model.name)
        # By name, whichever server was the first to be healthy.
        models = sorted((*others, facts), key=lambda known: known.name)
        self._manifest.write(models=tuple(models))

    def keep_rotation(self, rotation: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        """Write down which models take turns, once for all sessions of the run; what holds."""
        if not self.manifest.rotation:
            self._manifest.write(rotation=tuple(map(tuple, rotation)))
        return self.manifest.rotation

    def keep_stopping(self, suites: Iterable[str]) -> None:
        """Write down which suites may stop early in this session."""
        self._manifest.write(stopping=tuple(sorted(suites)))

    def predictions_by_part(
        self, predictions: Mapping[str, Prediction]
    ) -> dict[tuple[str, int], list[Prediction]]:
        """The predictions of each part, by its condition and number."""
        return {
            (part.condition, part.number): [
                predictions[trial.id] for trial in part.trials if trial.id in predictions
            ]
            for part in self.parts
        }

    def close(
        self,
        predictions: Mapping[str, Prediction],
        now: datetime,
        reason: str,
        *,
        warnings: Iterable[str] = (),
        doubts: Iterable[Doubt] = (),
        unneeded: Collection[str] = (),
    ) -> None:
        """Settle the parts and close the journal.

        `reason` says why the session was cut short, "" if it was not; `warnings` are what a reader
        of the numbers should know, `doubts` why they may not mean what they seem to; `unneeded`
        trials may be without a prediction.
        """
        self._manifest.settle()
        try:
            self._journal.close()
        except OSError as error:
            reason = reason or f"the journal could not be closed: {error}"
        # What an earlier session has warned of holds no more, or is said again.
        lasting = [words for words in self.manifest.warnings if words == DRY_RUN]

        def settled(parts: Sequence[Part]) -> tuple[PartFacts, ...]:
            ended = not reason
            return tuple(self._settled(p, predictions, unneeded, ended=ended) for p in parts)

        self._manifest.write(
            parts=settled(self.parts),
            second_wave=settled(self.second_wave),
            finished=now.isoformat(),
            exit_reason=reason or "finished",
            warnings=(*lasting, *warnings),
            doubts=tuple(doubts),
        )

    def keep_what_judges_were_asked(
        self, bodies: Mapping[str, Iterable[tuple[str, Mapping[str, Any]]]]
    ) -> None:
        """Write down the questions that were made of answers, by the condition that was judged."""
        for condition, its in bodies.items():
            write_requests(self.folder.judge_requests(condition), its)

    def _settled(
        self,
        part: Part,
        predictions: Mapping[str, Prediction],
        unneeded: Collection[str],
        *,
        ended: bool,
    ) -> PartFacts:
        out = [predictions[trial.id] for trial in part.trials if trial.id in predictions]
        absent = [trial.id for trial in part.trials if trial.id not in predictions]
        missing = tuple(trial_id for trial_id in absent if trial_id not in unneeded)
        odd = self._strays.get((part.condition, part.number), NO_STRAYS)
        return settle_part(
            PartFacts(part.condition, part.number, len(part.trials)),
            out,
            not_needed=len(absent) - len(missing),
            ended=ended,
            odd=dataclasses.replace(odd, missing=missing),
        )

    def _write_what_is_asked(self, settings: Settings) -> None:
        for part in self.parts:
            bodies = request_bodies(part.trials, settings.config.models)
            write_requests(self.folder.requests(part.condition, part.number), bodies)


def _parts(trials: Iterable[Trial], count: int) -> Iterable[Part]:
    by_condition: dict[str, list[Trial]] = {}
    for trial in trials:
        by_condition.setdefault(trial.condition.name, []).append(trial)
    for condition, its_trials in by_condition.items():
        for number, some in enumerate(split_into_parts(its_trials, count), start=1):
            yield Part(condition, number, some)


def _seeds(settings: Settings) -> dict[str, int]:
    seeds = {
        f"sampling.{name}" if name else "sampling": named.sampling.seed
        for name, named in settings.config.samplings.items()
    }
    return {name: seed for name, seed in seeds.items() if seed is not None}


def _new_manifest(
    folder: RunFolder,
    plan: RunPlan,
    parts: Sequence[Part],
    settings: Settings,
    now: datetime,
    replay: Replay | None,
) -> Manifest:
    recording = replay.recording if replay else None
    return Manifest(
        id=folder.id,
        started=now.isoformat(),
        plan=plan,
        plan_hash=plan_hash(plan),
        versions=versions_here(),
        parts=tuple(PartFacts(p.condition, p.number, len(p.trials)) for p in parts),
        warnings=(DRY_RUN,) if settings.options.dry_run else (),
        models=recording.models if recording else (),
        rotation=recording.rotation if recording else (),
        replayed_from=recording.run if recording else None,
    )


def versions_here() -> dict[str, str | None]:
    """The packages of this machine that could make a difference; None for one that is not there."""
    versions: dict[str, str | None] = {"pytest-llmeval-local": __version__}
    for package in ("pytest", "pytest-xdist", "xllamacpp"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _go_back(
    settings: Settings,
    plan: RunPlan,
    conditions: Iterable[str],
    digests: Mapping[str, str | None],
) -> tuple[RunFolder, Manifest]:
    path = find_run(settings.options.run_dir, settings.options.resume or "")
    manifest = read_manifest(path)
    if manifest.rescored_from is not None:
        raise RunError(
            f"--llm-resume: the run {manifest.id} was made by llmeval rescore and has asked "
            f"nothing itself; resume {manifest.rescored_from}, whose answers it has judged again"
        )
    if manifest.replayed_from is not None:
        raise RunError(
            f"--llm-resume: the run {manifest.id} has played recorded answers and asked nothing "
            f"itself; play them again with replay, or resume {manifest.replayed_from}, which asked"
        )
    differences = check_resumable(manifest, plan, digests)
    if (DRY_RUN in manifest.warnings) != settings.options.dry_run:
        differences.append("one of the two is a --llm-dry-run, whose answers are the fake engine's")
    if differences:
        raise RunError(_cannot_resume(manifest.id, differences))
    # How answers are scored may have changed: what is written down is what holds now.
    scored = dataclasses.replace(manifest, plan=plan, plan_hash=plan_hash(plan))
    return RunFolder.open(path, conditions), scored


def _cannot_resume(run_id: str, differences: Sequence[str]) -> str:
    return (
        f"--llm-resume: the run {run_id} asked something else: {'; '.join(differences)}. "
        f"Undo that, or start a new run without --llm-resume"
    )


def size_of(path: Path | None) -> int | None:
    """Bytes of a model file; a dry run does without the file."""
    return path.stat().st_size if path is not None and path.exists() else None


def _model_facts(model: LiveModel, config: ModelConfig) -> ModelFacts:
    facts = model.facts
    return ModelFacts(
        name=model.name,
        engine=config.engine,
        digest=model.digest,
        size=size_of(config.gguf),
        server=facts.build if facts else None,
        template_digest=facts.template_sha256 if facts else None,
        slots=facts.slots if facts else None,
        context=facts.context if facts else None,
        computes=what_computes(config),
        adapters=model.adapters,
        preflight=model.checks,
    )
