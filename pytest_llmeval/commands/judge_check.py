"""`llmeval judge-check`: how far the verdicts of a judge may be trusted."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_llmeval.results.rounding import UNKNOWN, bounds, percent
from pytest_llmeval.run.judge_check import Agreement, JudgeReport, check_judge
from pytest_llmeval.run.settings import Options, Settings
from pytest_llmeval.scoring.judge import Judge
from pytest_llmeval.scoring.pairwise import Pairwise
from pytest_llmeval.visible import visible

#: So many checks on which a judge is wrong are shown.
SHOWN = 10


def examine(config: str, judge: str | None, root: Path, say: Callable[[str], None]) -> JudgeReport:
    """Read the config, start the judge, and have it judge. Raises LlmevalError."""
    settings = Settings.read(Options(config, root, root, root / "runs"))
    try:
        with tempfile.TemporaryDirectory(prefix="llmeval-judge-") as logs:
            return check_judge(settings, Path(logs), say, judge)
    finally:
        settings.close()


def lines(report: JudgeReport) -> Iterator[str]:
    """The report for people: the figures, by kind, and what the judge got wrong."""
    weights = f", weights {report.digest}" if report.digest else ""
    yield f"{report.judge} ({report.engine}{weights})"
    yield from _agreement("answers, judged alone", report.answers, Judge.name)
    yield from _agreement("pairs, in both orders", report.pairs, Pairwise.name)
    steady = report.consistency
    yield (
        f"same in both orders: {_share(steady.consistent, steady.pairs)} "
        f"[{bounds(steady.interval)}]"
    )
    wrong = [c for found in (report.answers, report.pairs) for c in found.checks if not c.agrees]
    for check in wrong[:SHOWN]:
        yield visible(f"  {check.id}: is {check.known}; {check.why}")
    if len(wrong) > SHOWN:
        yield f"  and {len(wrong) - SHOWN} more, all of them with --json"


def _agreement(what: str, found: Agreement, scorer: str) -> Iterator[str]:
    kappa = UNKNOWN if found.kappa is None else f"{found.kappa:.2f}"
    unread = f"; {found.unread} without a verdict" if found.unread else ""
    yield (
        f"{what}: agrees on {_share(found.agreed, len(found.checks))} "
        f"[{bounds(found.interval)}], kappa {kappa}{unread}"
    )
    yield f"  {_worth(found, scorer)}"
    for kind, (agreed, count) in found.by_kind().items():
        yield f"  {kind:<32}{agreed:>3}/{count}"


def _worth(found: Agreement, scorer: str) -> str:
    """What that means, against somebody who gives the commonest verdict without looking.

    The checks are what they are: that one's share has no error, so that the interval decides.
    """
    count = max(Counter(check.known for check in found.checks).values())
    constant = f"always saying the same, which agrees on {_share(count, len(found.checks))}"
    if found.interval.low is not None and found.interval.low > count / len(found.checks):
        return f"better than {constant}"
    degree = "no" if found.agreed <= count else "not clearly"
    return f"{degree} better than {constant}: do not use it for {scorer}"


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole}, {percent(part / whole if whole else None)} %"


def as_json(report: JudgeReport) -> dict[str, Any]:
    """The same as data, every check with what was said."""
    told = asdict(report)
    for name in ("answers", "pairs"):
        found: Agreement = getattr(report, name)
        told[name]["by_kind"] = {
            kind: {"agreed": agreed, "checks": count}
            for kind, (agreed, count) in found.by_kind().items()
        }
    return told


def is_useless(report: JudgeReport) -> bool:
    """Whether there was not one verdict: then something is broken, and nothing was measured."""
    both = (report.answers, report.pairs)
    return all(found.unread == len(found.checks) for found in both)
