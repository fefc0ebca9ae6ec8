"""manifest.json: what a run was asked to do, by which weights it was done, and how far it came.

It is written before the first request and again whenever a part ends, so that a killed run can be
listed, understood and continued.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from pytest_llmeval.atomic import plain, write_json
from pytest_llmeval.depth import TOO_DEEP, too_deep_at
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Check, Doubt
from pytest_llmeval.redaction import PLAIN, Redactor
from pytest_llmeval.results.enclosed import refuse_ways_out
from pytest_llmeval.results.folder import MANIFEST
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.results.parts import JobStatus, PartFacts
from pytest_llmeval.results.plan import RunPlan

SCHEMA = 1
"""The version of the manifest's shape; a reader refuses a newer one."""

CUT_OFF = "killed, or it could write no more"
"""How a run without an `exit_reason` ended: a full disk keeps its last word, too."""

DRY_RUN = "dry run: every model was played by the fake engine"
"""The manifest's warning that no model was asked."""


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """A LoRA adapter that is put on a model's weights: its file, sha256 and scale."""

    file: str
    digest: str
    scale: float

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.digest}, scale {self.scale:g})"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as it was served. None is what could not be learned, for instance of an adopted
    endpoint; `digest` is the sha256 of its weights without `adapters`, `file` and `served` are what
    the endpoint calls them, `computes` says in words what does the work ("CPU only"),
    `preflight` what was found out about its endpoint before it was asked.
    """

    name: str
    engine: str
    digest: str | None = None
    size: int | None = None
    server: str | None = None
    template_digest: str | None = None
    slots: int | None = None
    context: int | None = None
    computes: str | None = None
    adapters: tuple[AdapterFacts, ...] = ()
    preflight: tuple[Check, ...] = ()
    file: str | None = None
    served: tuple[str, ...] = ()

    @property
    def weights(self) -> str | None:
        """The digest of all that decides what the model writes: weights and adapters."""
        return weights_digest(self.digest, self.adapters)


def weights_digest(digest: str | None, adapters: Sequence[AdapterFacts]) -> str | None:
    """The digest of weights together with their adapters: that of the weights where there are none,
    None where it is not known.
    """
    if digest is None or not adapters:
        return digest
    text = json.dumps([digest, *([each.digest, each.scale] for each in adapters)])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything of manifest.json. Times are ISO 8601 in UTC; `exit_reason` is None while it runs.

    `versions` names packages and commits: what besides weights and plan could make a difference.
    `rescored_from` is the run whose answers these are, None for a run that has asked itself.
    `replayed_from` is the run whose recorded answers these are, None where models were asked.
    `taken_over_from` is a run that asked something else, whose answers to what both ask alike are
    among these.
    `rotation` says which models were to be loaded together, turn after turn, when the run began; it
    is kept where a suite may stop early, whose first models are then asked in full. `stopping`
    names the suites that might: those that say so, but for what was asked in full all the same.
    `second_wave` counts the trials of judges as `parts` counts the others, by the condition judged.
    `doubts` are why some of its numbers may not mean what they seem to.
    `built` has the sha256 of each file of requests that was written to be asked elsewhere.
    """

    id: str
    started: str
    plan: RunPlan
    plan_hash: str
    versions: Mapping[str, str | None]
    parts: tuple[PartFacts, ...]
    models: tuple[ModelFacts, ...] = ()
    finished: str | None = None
    exit_reason: str | None = None
    warnings: tuple[str, ...] = ()
    rescored_from: str | None = None
    replayed_from: str | None = None
    taken_over_from: str | None = None
    rotation: tuple[tuple[str, ...], ...] = ()
    stopping: tuple[str, ...] = ()
    second_wave: tuple[PartFacts, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    built: Mapping[str, str] = field(default_factory=dict)
    schema: int = field(default=SCHEMA)

    @property
    def is_dry_run(self) -> bool:
        """Whether the fake engine has played every model."""
        return DRY_RUN in self.warnings

    @property
    def status(self) -> JobStatus:
        """The run's status, summed up over its parts: complete only when every part is."""
        found = {part.job_status for part in (*self.parts, *self.second_wave)}
        for status in ("failed", "running", "pending"):
            if status in found:
                return "running" if status == "pending" and "completed" in found else status
        return "completed"


def moment(text: str) -> datetime:
    """Read one of a manifest's times, in UTC. Raises `ValueError` when it is none."""
    # Python 3.10 does not read the Z that others write.
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def write_manifest(run: Path, manifest: Manifest, redactor: Redactor = PLAIN) -> None:
    """Put manifest.json into the run's folder, without secrets."""
    write_json(run / MANIFEST, redactor.data(plain(manifest)))


def lacking(run: Path, what: str) -> RunError:
    """The error of a run without what is written at its end: why, and how it comes to it."""
    if is_being_written(run):
        return RunError(
            f"the run {run.name} has no {what} yet: it is under way, and makes them at its end. "
            f"How far it is: llmeval show {run.name} --parts"
        )
    manifest = read_manifest(run)
    again = f"the same command with --llm-resume {run.name}"
    if manifest.rescored_from is not None:
        again = f"llmeval rescore {manifest.rescored_from}"
        return RunError(f"the run {run.name} has no {what}: judge its answers again with {again}")
    if manifest.replayed_from is not None:
        return RunError(
            f"the run {run.name} has no {what}: play {manifest.replayed_from} again with replay"
        )
    if manifest.exit_reason == "finished":
        return RunError(
            f"the run {run.name} has no {what}, although it has ended: {again} writes all of it "
            "anew, and asks no answered trial"
        )
    return RunError(f"the run {run.name} has no {what}: it was cut short. Go on with it: {again}")


def require_requests(manifest: Manifest, known: int, deed: str) -> None:
    """Raise RunError unless so many requests are one for every trial: they say what was asked.

    `deed` is what the run cannot be without them.
    """
    asked = manifest.plan.trials
    if known < asked:
        raise RunError(
            f"the run {manifest.id} cannot be {deed}: its requests are gone "
            f"({asked - known:,} of {asked:,}), and they say what its answers are to. Put "
            f"<condition>/parts/*.requests.jsonl back, or ask again"
        )


def read_manifest(run: Path) -> Manifest:
    """Read a run's manifest. Raises `RunError` when it is missing, broken or too new, and when
    something in the run's folder leads out of it.
    """
    from pydantic import TypeAdapter, ValidationError

    path = run / MANIFEST
    refuse_ways_out(run)
    try:
        text = path.read_text(encoding="utf-8")
        if too_deep_at(text) is not None:
            raise ValueError(TOO_DEEP)  # noqa: TRY301
        data = json.loads(text)
        schema = data["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise RunError(
                f"{path}: written by a newer version (schema {schema}, this one reads up to "
                f"{SCHEMA}); upgrade pytest-llmeval-local to read it"
            )
        return TypeAdapter(Manifest).validate_python(data)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: is no manifest: {place}: {first['msg']}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: is no manifest of a run: {error}") from None
