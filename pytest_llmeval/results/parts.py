"""The parts of a run: what went in, and what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pytest_llmeval.records import Prediction
from pytest_llmeval.results.strays import NO_STRAYS, Strays

_LONGEST_WORDS = 300

JobStatus = Literal["pending", "running", "completed", "failed"]


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
