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
from pytest_llmeval.errors import RunError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.environment import describe_environment
from pytest_llmeval.records import JudgeTrial, Prediction, Trial
from pytest_llmeval.results.atomic import write_json
from pytest_llmeval.results.folder import RunFolder, find_run
from pytest_llmeval.results.journal import Journal, read_run, write_requests
from pytest_llmeval.results.manifest import (
    Manifest,
    ModelFacts,
    PartFacts,
    RunPlan,
    plan_hash,
    plan_of,
    read_manifest,
    settle_part,
    write_manifest,
)
from pytest_llmeval.results.resume import check_resumable
from pytest_llmeval.run.backing import what_computes
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.requests import request_bodies
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.plan import split_into_parts

#: The manifest's warning that no model was asked.
DRY_RUN = "dry run: every model was played by the fake engine"

#: The journal is handed to the disk after this many predictions.
SYNC_EVERY = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A slice of a condition's trials, numbered from 1."""

    condition: str
    number: int
    trials: Sequence[Trial]


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
        self._manifest = manifest
        self._unsynced = 0

    @classmethod
    def open(
        cls,
        settings: Settings,
        trials: Sequence[Trial],
        now: datetime,
        digests: Callable[[], Mapping[str, str | None]] = dict,
        judged: Sequence[JudgeTrial] = (),
    ) -> Ledger:
        """Make the folder of a new run, or go back to the one that --llm-resume names.

        `digests` gives those of the models' weights; a run is only resumed on the same ones.
        `judged` are the trials of judges.
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
            folder = RunFolder.create(settings.options.run_dir, now.astimezone(), conditions)
            parts = list(_parts(trials, settings.options.parts))
            manifest = _new_manifest(folder, plan, parts, settings, now)
        else:
            folder, manifest = _go_back(settings, plan, conditions, digests())
            parts = list(_parts(trials, max((p.number for p in manifest.parts), default=1)))
        part_of = {t.id: part.number for part in parts for t in part.trials if part.number > 1}
        journal = Journal(folder, lambda trial_id: part_of.get(trial_id, 1))
        try:
            second_wave = list(_parts(judged, 1))
            ledger = cls(folder, journal, parts, manifest, read_run(folder.path), second_wave)
            ledger._write_what_is_asked(settings)
        except BaseException:
            journal.close()
            if settings.options.resume is None:
                shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return ledger

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was last written."""
        return self._manifest

    def record(self, prediction: Prediction) -> None:
        """Write a prediction down, before anyone sees it."""
        self._journal.append(prediction)
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._unsynced = 0
            # fsync takes milliseconds, which the scheduler's loop does not have.
            threading.Thread(target=self._journal.sync, name="llmeval-sync", daemon=True).start()

    def model_opened(self, model: LiveModel, config: ModelConfig) -> None:
        """Write down by which weights a model's answers are made, before it gives any."""
        facts = _model_facts(model, config)
        others = tuple(known for known in self._manifest.models if known.name != model.name)
        # By name, whichever server was the first to be healthy.
        models = sorted((*others, facts), key=lambda known: known.name)
        self._write(models=tuple(models))

    def keep_rotation(self, rotation: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        """Write down which models take turns, once for all sessions of the run; what holds."""
        if not self._manifest.rotation:
            self._write(rotation=tuple(map(tuple, rotation)))
        return self._manifest.rotation

    def keep_stopping(self, suites: Iterable[str]) -> None:
        """Write down which suites may stop early in this session."""
        self._write(stopping=tuple(sorted(suites)))

    def close(
        self,
        predictions: Mapping[str, Prediction],
        now: datetime,
        reason: str,
        *,
        warnings: Iterable[str] = (),
        unneeded: Collection[str] = (),
    ) -> None:
        """Settle the parts and close the journal.

        `reason` says why the session was cut short, "" if it was not; `warnings` are what a reader
        of the numbers should know; `unneeded` trials may be without a prediction.
        """
        try:
            self._journal.close()
        except OSError as error:
            reason = reason or f"the journal could not be closed: {error}"
        # What an earlier session has warned of holds no more, or is said again.
        lasting = [words for words in self._manifest.warnings if words == DRY_RUN]

        def settled(part: Part, facts: PartFacts) -> PartFacts:
            left_out = [t.id in unneeded and t.id not in predictions for t in part.trials]
            found = _of_part(part, predictions)
            return settle_part(facts, found, not_needed=sum(left_out), ended=not reason)

        self._write(
            parts=tuple(map(settled, self.parts, self._manifest.parts)),
            second_wave=tuple(map(settled, self.second_wave, self._manifest.second_wave)),
            finished=now.isoformat(),
            exit_reason=reason or "finished",
            warnings=(*lasting, *warnings),
        )

    def keep_what_judges_were_asked(
        self, bodies: Mapping[str, Iterable[tuple[str, Mapping[str, Any]]]]
    ) -> None:
        """Write down the questions that were made of answers, by the condition that was judged."""
        for condition, its in bodies.items():
            write_requests(self.folder.judge_requests(condition), its)

    def _write(self, **changes: object) -> None:
        self._manifest = dataclasses.replace(self._manifest, **changes)  # type: ignore[arg-type] # its own fields
        write_manifest(self.folder.path, self._manifest)

    def _write_what_is_asked(self, settings: Settings) -> None:
        for part in self.parts:
            bodies = request_bodies(part.trials, settings.config.models)
            write_requests(self.folder.requests(part.condition, part.number), bodies)
        environment = describe_environment(settings.options.root)
        write_json(self.folder.path / "environment.json", environment)
        self._write(
            parts=tuple(
                PartFacts(part.condition, part.number, len(part.trials), "running")
                for part in self.parts
            ),
            second_wave=tuple(
                PartFacts(part.condition, part.number, len(part.trials))
                for part in self.second_wave
            ),
            finished=None,  # a resumed run goes on
            exit_reason=None,
        )


def _parts(trials: Iterable[Trial], count: int) -> Iterable[Part]:
    by_condition: dict[str, list[Trial]] = {}
    for trial in trials:
        by_condition.setdefault(trial.condition.name, []).append(trial)
    for condition, its_trials in by_condition.items():
        for number, some in enumerate(split_into_parts(its_trials, count), start=1):
            yield Part(condition, number, some)


def _of_part(part: Part, predictions: Mapping[str, Prediction]) -> Iterable[Prediction]:
    return (predictions[trial.id] for trial in part.trials if trial.id in predictions)


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
        versions=_versions(),
        parts=tuple(PartFacts(p.condition, p.number, len(p.trials)) for p in parts),
        warnings=(DRY_RUN,) if settings.options.dry_run else (),
    )


def _versions() -> dict[str, str | None]:
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


def _size_of(path: Path | None) -> int | None:
    """Bytes of a model file; a dry run does without the file."""
    return path.stat().st_size if path is not None and path.exists() else None


def _model_facts(model: LiveModel, config: ModelConfig) -> ModelFacts:
    facts = model.facts
    return ModelFacts(
        name=model.name,
        engine=config.engine,
        digest=model.digest,
        size=_size_of(config.gguf),
        server=facts.build if facts else None,
        template_digest=facts.template_sha256 if facts else None,
        slots=facts.slots if facts else None,
        context=facts.context if facts else None,
        computes=what_computes(config),
        adapters=model.adapters,
    )
