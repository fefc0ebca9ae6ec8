"""What judges did, in words: whose verdicts the scores are, how many, and how steady."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.report import JudgeFigures, RunReport
from pytest_llmeval.results.rounding import UNKNOWN, bounds, counted, percent

#: What no reader of a judge's scores should have to find out.
JUDGES_ERR = (
    "a judge errs, and no interval here has its error in it: they speak of its verdicts. "
    "llmeval judge-check measures a judge"
)

HEAD = ("suite", "scorer", "judge", "weights, sha256", "question, sha256", "answers", "unjudged")
STEADY = "same in both orders"


def judge_trials_words(plan: RunPlan) -> list[str]:
    """How many trials judges have, where they have any."""
    return [counted(plan.judge_trials, "judge trial")] if plan.judge_trials else []


def judge_lines(judges: Iterable[JudgeFigures]) -> Iterator[str]:
    """A line for each scorer of a suite."""
    for judge in judges:
        against = f" against {judge.against}" if judge.against else ""
        told = [f"{judge.suite}: {judge.scorer} by {judge.judge}{against}"]
        told.append(f"{counted(judge.answers, 'answer')}")
        if judge.unjudged:
            told.append(f"{judge.unjudged:,} without a verdict")
        if judge.pairs is not None:
            told.append(f"{steadiness_words(judge)} {STEADY}")
        if judge.own:
            told.append(f"its own answers: {', '.join(judge.own)}")
        yield "; ".join(told)


def steadiness_words(judge: JudgeFigures) -> str:
    """How often a judge stuck to its preference when answers were swapped: share and interval."""
    if judge.pairs is None or judge.consistent is None or judge.consistency is None:
        return UNKNOWN
    if not judge.pairs:
        return "0/0"
    share = percent(judge.consistent / judge.pairs)
    return f"{judge.consistent:,}/{judge.pairs:,}, {share} % [{bounds(judge.consistency)}]"


def judge_rows(report: RunReport) -> list[list[str]]:
    """The rows of a table, one for each scorer of a suite, under `HEAD` and two columns more."""
    weights = {model.name: _shown(model.digest) for model in report.models if model.digest}
    return [
        [
            judge.suite,
            judge.scorer + (f" against {judge.against}" if judge.against else ""),
            judge.judge,
            weights.get(judge.judge, "unknown"),
            _shown(judge.question_hash),
            f"{judge.answers:,}",
            f"{judge.unjudged:,}",
            steadiness_words(judge),
            ", ".join(judge.own) or "none",
        ]
        for judge in report.judges
    ]


def _shown(sha256: str) -> str:
    """So many digits as one compares by eye; all of them stand in the manifest."""
    return f"{sha256[:12]}…"


def judge_head() -> Sequence[str]:
    """The head of that table."""
    return (*HEAD, STEADY, "wrote itself")
