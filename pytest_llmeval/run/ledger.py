"""What a run writes down while it lives: its folder, its requests, its journal, its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_llmeval import __version__
from pytest_llmeval.atomic import write_json
from pytest_llmeval.errors import RunError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.environment import describe_environment
from pytest_llmeval.records import Doubt, Prediction, Predictions, Trial
from pytest_llmeval.redaction import PLAIN, Redactor
from pytest_llmeval.results.built import hashes_of_requests
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.jobs import read_jobs
from pytest_llmeval.results.journal import Journal, read_run, write_requests
from pytest_llmeval.results.manifest import DRY_RUN, Manifest
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.results.resume import weights_changed
from pytest_llmeval.results.strays import Strays, together
from pytest_llmeval.run.kept_manifest import KeptManifest
from pytest_llmeval.run.model_facts import facts_of, served_otherwise
from pytest_llmeval.run.models import LiveModel, shared_words
from pytest_llmeval.run.progress import Part, Progress
from pytest_llmeval.run.requests import request_bodies
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.run.soon import Soon

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
        known: Predictions,
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
        self._has_finished = False
        self._strays: dict[tuple[str, int], dict[str, Strays]] = {
            (part.condition, part.number): {
                job.name: job.odd for job in read_jobs(folder.jobs(part.condition, part.number))
            }
            for part in parts
        }

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

    def write_what_is_asked(self, settings: Settings, before: Manifest | None) -> None:
        """Render all requests into files, but for those that are there: `before` is the manifest
        that a run had which goes on.
        """
        now = self.manifest
        is_same = before is not None and (before.plan_hash, _ours(before)) == (
            now.plan_hash,
            versions_here()[_PACKAGE],
        )
        for part in self.parts:
            path = self.folder.requests(part.condition, part.number)
            if not (is_same and path.exists()):  # 100,000 of them take a second
                write_requests(path, request_bodies(part.trials, settings.config.models))

    def seal_requests(self) -> None:
        """Have the manifest say what the files of requests hold, from when it is next written."""
        self._manifest.change(built=hashes_of_requests(self.folder.path))

    def begin(self, root: Path, **changes: object) -> None:
        """Write down what it runs on, and that it is at work; a resumed run goes on.

        `changes` are to other fields of the manifest.
        """
        about = self._redactor.data(describe_environment(root))
        write_json(self.folder.environment, about)
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

    def note_strays(self, condition: str, number: int, job: str, odd: Strays) -> Strays:
        """Keep by which ids what a job brought for a part differs from what it had asked; they are
        given back without secrets, for later sessions. A job may be fetched again.
        """
        clean = Strays(
            doubled=tuple(map(self._redactor.text, odd.doubled)),
            unknown=tuple(map(self._redactor.text, odd.unknown)),
        )
        self._strays[condition, number][job] = clean
        return clean

    def model_opened(self, model: LiveModel, config: ModelConfig) -> None:
        """Write down by which weights a model's answers are made, before it gives any.

        Raises RunError when the run has answers of it by others, or as it was served otherwise: not
        every endpoint could be asked for that before it was open.
        """
        facts = facts_of(model, config)
        for change in weights_changed(self.manifest.models, {facts.name: facts.digest}):
            raise RunError(f"the run has answers by other weights; {change}. Start a new run")
        before = next((known for known in self.manifest.models if known.name == model.name), facts)
        if changed := served_otherwise(before, facts):
            raise RunError(
                f"the run has answers of {model.name} as something else: {'; '.join(changed)}. "
                "Have the same served again, or start a new run"
            )
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
        self, predictions: Predictions
    ) -> dict[tuple[str, int], list[Prediction]]:
        """The predictions of each part, by its condition and number."""
        return {
            (part.condition, part.number): [
                predictions[trial.id] for trial in part.trials if trial.id in predictions
            ]
            for part in self.parts
        }

    def settle(
        self,
        predictions: Predictions,
        *,
        ended: bool,
        warnings: Iterable[str] = (),
        doubts: Iterable[Doubt] = (),
        unneeded: Collection[str] = (),
    ) -> str:
        """Close the journals and count what came out of each part; why they could not be closed, ""
        if they were. The run is still ours, and its manifest says so until `finish`: whoever kills
        us before that finds a run to go on with.

        `ended` says that nothing more will come; `warnings` are what a reader of the numbers should
        know, `doubts` why they may not mean what they seem to; `unneeded` trials may be without a
        prediction.
        """
        self._manifest.settle()
        self._syncing.end()
        problem = ""
        try:
            self._journal.end()
        except OSError as error:
            problem = f"the journal could not be closed: {error}"
        # What an earlier session has warned of holds no more, or is said again; but not that its
        # answers took the time of two runs.
        lasts = {DRY_RUN, *(shared_words(model.name) for model in self.manifest.models)}
        lasting = [words for words in self.manifest.warnings if words in lasts]

        def settled(parts: Sequence[Part]) -> tuple[PartFacts, ...]:
            return tuple(self._settled(p, predictions, unneeded, ended=ended) for p in parts)

        self._manifest.change(
            parts=settled(self.parts),
            second_wave=settled(self.second_wave),
            warnings=tuple(dict.fromkeys((*lasting, *warnings, *self._trouble()))),
            doubts=tuple(doubts),
        )
        return problem

    def finish(self, now: datetime, reason: str) -> None:
        """Write down that the session has ended; `reason` says why it was cut short, "" if it was
        not. Raises OSError.
        """
        self._manifest.write(finished=now.isoformat(), exit_reason=reason or "finished")
        self._has_finished = True

    def give_up(self) -> None:
        """Let the next writer in: nothing of the run is written any more."""
        with contextlib.suppress(OSError):
            self._journal.close()

    def close(
        self,
        predictions: Predictions,
        now: datetime,
        reason: str,
        unneeded: Collection[str] = (),
        warnings: Sequence[str] = (),
    ) -> None:
        """Settle, finish and give up in one, where nothing is made of the answers.

        A run that has finished is left as it is: another process may write it by now.
        """
        if self._has_finished:
            self.give_up()
            return
        try:
            problem = self.settle(
                predictions, ended=not reason, unneeded=unneeded, warnings=warnings
            )
            self.finish(now, reason or problem)
        finally:
            self.give_up()

    def _trouble(self) -> list[str]:
        error = self._journal.trouble
        if error is None:
            return []
        why = error.strerror or error
        return [f"the disk did not confirm all answers at once ({why}): it may have lost some"]

    def _settled(
        self, part: Part, predictions: Predictions, unneeded: Collection[str], *, ended: bool
    ) -> PartFacts:
        out = [predictions[trial.id] for trial in part.trials if trial.id in predictions]
        absent = [trial.id for trial in part.trials if trial.id not in predictions]
        missing = tuple(trial_id for trial_id in absent if trial_id not in unneeded)
        odd = together(self._strays.get((part.condition, part.number), {}).values())
        return settle_part(
            PartFacts(part.condition, part.number, len(part.trials)),
            out,
            not_needed=len(absent) - len(missing),
            ended=ended,
            odd=dataclasses.replace(odd, missing=missing),
        )


def _ours(manifest: Manifest) -> str | None:
    """The version of this package that has written a run's requests: the last one."""
    told = manifest.versions.get(_PACKAGE)
    return told and told.split(_THEN)[-1]


_THEN = ", then "


def versions_since(before: Mapping[str, str | None]) -> dict[str, str | None]:
    """The versions of a run that goes on: those that were, and behind them what is another now."""
    here = versions_here()
    return {
        name: f"{was}{_THEN}{now}" if was and now and was.split(_THEN)[-1] != now else was or now
        for name in {**before, **here}
        for was, now in ((before.get(name), here.get(name)),)
    }


def versions_here() -> dict[str, str | None]:
    """The packages of this machine that could make a difference; None for one that is not there."""
    versions: dict[str, str | None] = {_PACKAGE: __version__}
    for package in ("pytest", "pytest-xdist", "xllamacpp"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions
