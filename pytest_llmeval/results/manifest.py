"""manifest.json: what a run was asked to do, by which weights it was done, and how far it came.

It is written before the first request and again whenever a part ends, so that a killed run can be
listed, understood and continued.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pytest_llmeval.atomic import plain, write_json
from pytest_llmeval.depth import TOO_DEEP, too_deep_at
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import (
    Check,
    Condition,
    Doubt,
    JudgeTrial,
    Prediction,
    Suite,
    Trial,
)
from pytest_llmeval.redaction import PLAIN, Redactor
from pytest_llmeval.results.enclosed import refuse_ways_out
from pytest_llmeval.results.folder import MANIFEST, condition_slugs
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.results.strays import NO_STRAYS, Strays

SCHEMA = 1
"""The version of the manifest's shape; a reader refuses a newer one."""

DRY_RUN = "dry run: every model was played by the fake engine"
"""The manifest's warning that no model was asked."""

_LONGEST_WORDS = 300

JobStatus = Literal["pending", "running", "completed", "failed"]


@dataclass(frozen=True, slots=True)
class ConditionPlan:
    """One condition of a run. `prompt` and `sampling` are names, "" where there is only one."""

    name: str
    folder: str
    model: str
    prompt: str
    sampling: str


@dataclass(frozen=True, slots=True)
class ScorerPlan:
    """A scorer as a suite uses it. `version` is the scorer's own, "" where nobody told it."""

    name: str
    options: Mapping[str, Any]
    version: str = ""


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """One suite of a run and its items, told by hashes. `items_hash` is over the chosen ids.

    `seeds` are those by which its items and its worked examples were chosen and put in order;
    `stop` says when it stops early, None when it does not. `continuations_hash` is over the texts
    whose likelihood is asked, with what stands before them, "" where answers are written.
    """

    name: str
    origin: str
    dataset_hash: str
    items: int
    items_hash: str
    scorers: tuple[ScorerPlan, ...]
    seeds: Mapping[str, int] = field(default_factory=dict)
    stop: Mapping[str, Any] | None = None
    continuations_hash: str = ""


@dataclass(frozen=True, slots=True)
class AskedPlan:
    """What one suite asks of one condition: its prompt by hash, its sampling in full.

    `tools_hash` is over the tools that every request offers, "" without any; likewise `schema_hash`
    and `grammar_hash` over what answers are held to. `exact` requests go out without a prompt
    cache; `logprobs` is the number of alternatives they ask for, None for no log probabilities.
    """

    suite: str
    condition: str
    prompt_hash: str
    sampling: Mapping[str, Any]
    repeats: int
    trials: int
    tools_hash: str = ""
    exact: bool = False
    form: str = "chat"
    schema_hash: str = ""
    grammar_hash: str = ""
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """What one scorer asks a model about the answers of one condition, `trials` times.

    `question_hash` is over all that is asked besides answers and items: rubric, scale, template.
    """

    suite: str
    condition: str
    scorer: str
    model: str
    question_hash: str
    sampling: Mapping[str, Any]
    trials: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that decides what a run asks. Two runs of one plan on the same weights are the same.

    `limit` is --llm-limit, None without it; a suite's own limit shows in its items. `judged` is the
    second wave: what is asked about the answers.
    """

    config: Mapping[str, Any]
    suites: tuple[SuitePlan, ...]
    conditions: tuple[ConditionPlan, ...]
    asked: tuple[AskedPlan, ...]
    seeds: Mapping[str, int]
    limit: int | None = None
    judged: tuple[JudgePlan, ...] = ()

    @property
    def trials(self) -> int:
        """How many trials the run has in all, those of judges not counted."""
        return sum(asked.trials for asked in self.asked)

    @property
    def judge_trials(self) -> int:
        """How many trials judges have: fewer are asked where there is nothing to judge."""
        return sum(judged.trials for judged in self.judged)


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
    endpoint; `digest` is the sha256 of its weights without `adapters`, `computes` says in words
    what does the work ("CPU only"), `preflight` what was found out about its endpoint before it
    was asked.
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
class PartFacts:
    """A slice of a condition's trials: how many went in, how many came out.

    `not_needed` were never asked, because their suite had decided without them. `failures` counts
    those that failed by reason, and `first_failure` says which was the first, and why.
    """

    condition: str
    number: int
    trials: int
    job_status: JobStatus = "pending"
    answered: int = 0
    failed: int = 0
    not_needed: int = 0
    discrepancy: str | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    first_failure: str | None = None


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


def plan_of(
    config: Mapping[str, Any],
    trials: Sequence[Trial],
    seeds: Mapping[str, int],
    *,
    limit: int | None = None,
    scorer_versions: Mapping[str, str] | None = None,
    judged: Sequence[JudgeTrial] = (),
) -> RunPlan:
    """Describe what `trials` ask. Nothing in it depends on the order of conditions or suites.

    `limit` is --llm-limit; `scorer_versions` go by the names of scorers; `judged` are the trials of
    judges.
    """
    suites: dict[str, Suite] = {}
    asked: dict[tuple[str, str], tuple[Condition, int]] = {}
    for trial in trials:
        suites[trial.suite.name] = trial.suite
        key = (trial.suite.name, trial.condition.name)
        asked[key] = (trial.condition, asked[key][1] + 1 if key in asked else 1)
    conditions = {condition.name: condition for condition, _ in asked.values()}
    slugs = condition_slugs(conditions)
    versions = scorer_versions or {}
    return RunPlan(
        config=plain(config),
        suites=tuple(_suite_plan(suites[name], versions) for name in sorted(suites)),
        conditions=tuple(_condition_plan(conditions[n], slugs[n]) for n in sorted(conditions)),
        asked=tuple(_asked_plan(suites[key[0]], *asked[key]) for key in sorted(asked)),
        seeds=dict(seeds),
        limit=limit,
        judged=tuple(_judge_plans(judged)),
    )


def _judge_plans(trials: Iterable[JudgeTrial]) -> Iterator[JudgePlan]:
    counts: dict[tuple[str, str, str], tuple[Condition, int]] = {}
    for trial in trials:
        key = (trial.suite.name, trial.condition.name, trial.scorer)
        counts[key] = (trial.condition, counts[key][1] + 1 if key in counts else 1)
    for key in sorted(counts):
        condition, count = counts[key]
        sampling = plain(condition.sampling)
        yield JudgePlan(*key, condition.model, condition.prompt.hash, sampling, count)


def _suite_plan(suite: Suite, versions: Mapping[str, str]) -> SuitePlan:
    ids = "\n".join(item.id for item in suite.items)
    return SuitePlan(
        name=suite.name,
        origin=suite.origin,
        dataset_hash=suite.dataset_hash,
        items=len(suite.items),
        items_hash=hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest(),
        scorers=tuple(
            ScorerPlan(scorer.name, _options(scorer.options), versions.get(scorer.name, ""))
            for scorer in suite.scorers
        ),
        seeds=dict(suite.seeds),
        stop={"when": suite.stop.when, "alpha": suite.stop.alpha} if suite.stop else None,
        continuations_hash=_continuations_hash(suite),
    )


def _continuations_hash(suite: Suite) -> str:
    if not suite.continuations:
        return ""
    asked = [suite.delimiter, *([item.id, suite.continuations[item.id]] for item in suite.items)]
    return hashlib.sha256(json.dumps(asked).encode("ascii")).hexdigest()


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """A scorer's options; what JSON cannot hold, as a marker may give it, is told by its type."""
    told = {}
    for name, value in options.items():
        try:
            json.dumps(plain(value), allow_nan=False)
            told[name] = plain(value)
        except (TypeError, ValueError):
            told[name] = f"<{type(value).__name__}>"
    return told


def _condition_plan(condition: Condition, slug: str) -> ConditionPlan:
    return ConditionPlan(
        condition.name, slug, condition.model, condition.prompt.name, condition.sampling_name
    )


def _asked_plan(suite: Suite, condition: Condition, trials: int) -> AskedPlan:
    return AskedPlan(
        suite=suite.name,
        condition=condition.name,
        prompt_hash=condition.prompt.hash,
        sampling=plain(condition.sampling),
        repeats=condition.repeats,
        trials=trials,
        tools_hash=_hash(suite.tools) if suite.tools else "",
        exact=suite.exact,
        form=suite.form,
        schema_hash=_hash(suite.json_schema) if suite.json_schema is not None else "",
        grammar_hash=_hash(suite.grammar) if suite.grammar is not None else "",
        logprobs=suite.logprobs,
    )


def _hash(value: Any) -> str:
    # Keys stay in their order: a chat template shows tools to the model as they are written, and an
    # answer has the properties of its schema in their order.
    text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def plan_hash(plan: RunPlan) -> str:
    """SHA-256 over the plan's canonical JSON: equal exactly when the plans are."""
    text = json.dumps(plain(plan), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def settle_part(
    part: PartFacts,
    predictions: Iterable[Prediction],
    *,
    not_needed: int = 0,
    ended: bool,
    odd: Strays = NO_STRAYS,
) -> PartFacts:
    """Count what came out of a part and hold it against what went in.

    `ended` says that nothing more will come. A part is completed when each of its trials has an
    outcome or was not needed. It is failed when all of them failed, and when it ended short of
    that or holds too many, and then says why; `odd` names the trials by which in and out differ.
    """
    counted = count_part(part, predictions, not_needed)
    out = counted.answered + counted.failed
    if out + not_needed == part.trials:
        status: JobStatus = "failed" if out and not counted.answered else "completed"
        return replace(counted, job_status=status, discrepancy=odd.words() or None)
    if out + not_needed < part.trials and not ended:
        return replace(counted, job_status="running" if out else "pending")
    words = f"{part.trials} trials in, {out} predictions out"
    words += f", {not_needed} not needed" if not_needed else ""
    words += f": {odd.words()}" if odd else ""
    return replace(counted, job_status="failed", discrepancy=words)


def count_part(
    part: PartFacts, predictions: Iterable[Prediction], not_needed: int = 0
) -> PartFacts:
    """Count what came out of a part: answers, and failures by reason with the first one's words."""
    answered, first, failures = 0, None, Counter[str]()
    for prediction in predictions:
        if prediction.failure is None:
            answered += 1
        else:
            failures[prediction.failure.reason] += 1
            first = first or first_failure(prediction)
    return replace(
        part,
        answered=answered,
        failed=failures.total(),
        not_needed=not_needed,
        discrepancy=None,
        failures=dict(failures),
        first_failure=first,
    )


def first_failure(prediction: Prediction) -> str:
    """A failure in context, on one line of bearable length: which trial it was, and why."""
    message = prediction.failure.message if prediction.failure else ""
    words = " ".join(f"{prediction.trial_id}: {message}".split())
    return words if len(words) <= _LONGEST_WORDS else f"{words[: _LONGEST_WORDS - 3]}..."


def moment(text: str) -> datetime:
    """Read one of a manifest's times, in UTC. Raises `ValueError` when it is none."""
    # Python 3.10 does not read the Z that others write.
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def write_manifest(run: Path, manifest: Manifest, redactor: Redactor = PLAIN) -> None:
    """Put manifest.json into the run's folder, without secrets."""
    write_json(run / MANIFEST, redactor.data(plain(manifest)))


def lacking(run: Path, what: str) -> RunError:
    """The error of a run without what is written at its end: why, and how it comes to it."""
    again = f"the same command with --llm-resume {run.name}"
    if is_being_written(run):
        return RunError(
            f"the run {run.name} has no {what} yet: it is under way, and makes them at its end. "
            f"How far it is: llmeval show {run.name} --parts"
        )
    if read_manifest(run).exit_reason == "finished":
        return RunError(
            f"the run {run.name} has no {what}, although it has ended: {again} writes all of it "
            "anew, and asks no answered trial"
        )
    return RunError(f"the run {run.name} has no {what}: it was cut short. Go on with it: {again}")


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
