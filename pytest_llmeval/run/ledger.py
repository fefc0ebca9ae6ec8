"""What a run writes down while it lives: its folder, its requests, its journal, its manifest."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pytest_llmeval import __version__
from pytest_llmeval.atomic import sweep, write_json
from pytest_llmeval.errors import RunError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.environment import describe_environment
from pytest_llmeval.records import Doubt, JudgeTrial, Prediction, Trial
from pytest_llmeval.redaction import PLAIN, Redactor
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import Journal, read_run, write_requests
from pytest_llmeval.results.manifest import (
    DRY_RUN,
    Manifest,
    ModelFacts,
    PartFacts,
    RunPlan,
    plan_hash,
    plan_of,
    settle_part,
)
from pytest_llmeval.results.resume import weights_changed
from pytest_llmeval.results.strays import NO_STRAYS, Strays
from pytest_llmeval.run.backing import what_computes
from pytest_llmeval.run.cleaning import cleaner_of
from pytest_llmeval.run.going_back import Earlier, Wanted, find_earlier, found_words
from pytest_llmeval.run.kept_manifest import KeptManifest
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.progress import Part, Progress
from pytest_llmeval.run.replay import Replay
from pytest_llmeval.run.requests import request_bodies
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.run.soon import Soon
from pytest_llmeval.run.take_over import TakenOver, take_over
from pytest_llmeval.running.plan import split_into_parts

#: Seconds between two syncs of the journal: so much of the answers a loss of power may cost.
SYNC_PAUSE = 1.0

_PACKAGE = "pytest-llmeval-local"


class Ledger:
    """The one writer of a run's folder while the run lives.

    `known` holds the predictions that an earlier session of this run has left, and `found` says in
    a line what there was, "" for a run that begins from nothing. `second_wave` are
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
        redactor: Redactor = PLAIN,
    ):
        self.folder = folder
        self._redactor = redactor
        self.parts = parts
        self.second_wave = second_wave
        self.known = known
        self.found = ""
        self._journal = journal
        self._manifest = KeptManifest(folder.path, manifest, redactor)
        self._syncing = Soon(journal.sync, SYNC_PAUSE, "llmeval-sync")
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
        earlier, kept = _earlier(settings, plan, digests, trials, judged)
        given: Replay | TakenOver | None = replay or kept
        if earlier is not None and not earlier.differences:
            folder = RunFolder.open(earlier.path, conditions)
            count = max((part.number for part in earlier.manifest.parts), default=1)
            parts = list(_parts(trials, count))
            # How answers are scored may have changed: what is written down is what holds now.
            manifest = dataclasses.replace(earlier.manifest, plan=plan, plan_hash=plan_hash(plan))
            ledger = cls._begun(settings, folder, parts, manifest, judged, before=earlier.manifest)
            ledger.found = found_words(earlier, trials, ledger.known)
            return ledger
        if place is None:
            folder = RunFolder.create(settings.options.run_dir, now.astimezone(), conditions)
        else:
            folder = RunFolder.at(place, conditions)
        parts = list(_parts(trials, settings.options.parts))
        manifest = _new_manifest(folder, plan, parts, settings, now)
        if given is not None:
            manifest = given.mark(manifest)
        try:
            ledger = cls._begun(settings, folder, parts, manifest, judged, given)
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        if isinstance(given, TakenOver):
            ledger.found = given.words(trials)
        return ledger

    @classmethod
    def _begun(
        cls,
        settings: Settings,
        folder: RunFolder,
        parts: Sequence[Part],
        manifest: Manifest,
        judged: Sequence[JudgeTrial],
        given: Replay | TakenOver | None = None,
        before: Manifest | None = None,
    ) -> Ledger:
        """Take the folder, and write down what is asked; what is `given` is the run's own now.

        `before` is the manifest that a run had which goes on.
        """
        part_of = {t.id: part.number for part in parts for t in part.trials if part.number > 1}
        journal = Journal(folder, lambda trial_id: part_of.get(trial_id, 1))
        try:
            sweep(folder.path)
            clean = cleaner_of(settings.config, settings.redactor)
            for prediction in given.known.values() if given else ():
                journal.append(clean(prediction))  # it may have been written where others hold
            second_wave = list(_parts(judged, 1))
            ledger = cls(
                folder,
                journal,
                parts,
                manifest,
                read_run(folder.path),
                second_wave,
                settings.redactor,
            )
            ledger._write_what_is_asked(settings, before)
            ledger.begin(settings.options.root)
        except BaseException:
            journal.close()
            raise
        return ledger

    @classmethod
    def of_folder(
        cls, path: Path, manifest: Manifest, parts: Sequence[Part], redactor: Redactor
    ) -> Ledger:
        """Go back to a folder whose requests are there, whatever wrote them; see `begin`."""
        folder = RunFolder.open(path, [condition.name for condition in manifest.plan.conditions])
        part_of = {trial.id: part.number for part in parts for trial in part.trials}
        journal = Journal(folder, lambda trial_id: part_of[trial_id])
        try:
            return cls(folder, journal, parts, manifest, read_run(path), redactor=redactor)
        except BaseException:
            journal.close()
            raise

    def begin(self, root: Path, **changes: object) -> None:
        """Write down what it runs on, and that it is at work; a resumed run goes on.

        `changes` are to other fields of the manifest.
        """
        about = self._redactor.data(describe_environment(root))
        write_json(self.folder.path / "environment.json", about)
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
        self._syncing.do()

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
        self._syncing.end()
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

    def _write_what_is_asked(self, settings: Settings, before: Manifest | None) -> None:
        now = self.manifest
        is_same = before is not None and (before.plan_hash, _ours(before)) == (
            now.plan_hash,
            versions_here()[_PACKAGE],
        )
        for part in self.parts:
            path = self.folder.requests(part.condition, part.number)
            if not (is_same and path.exists()):  # 100,000 of them take a second
                write_requests(path, request_bodies(part.trials, settings.config.models))


def _ours(manifest: Manifest) -> str | None:
    """The version of this package that has written a run's requests."""
    return manifest.versions.get(_PACKAGE)


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


def versions_here() -> dict[str, str | None]:
    """The packages of this machine that could make a difference; None for one that is not there."""
    versions: dict[str, str | None] = {_PACKAGE: __version__}
    for package in ("pytest", "pytest-xdist", "xllamacpp"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


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
