"""A report in which every text that can come from others is hostile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pytest_llmeval.records import Corpus, Interval
from pytest_llmeval.results.parts import PartFacts
from pytest_llmeval.results.report import JudgeFigures, RunReport, StoppedSuite

#: Words of ours by which reports choose others, and times.
OURS = {
    "began",
    "correction",
    "finished",
    "job_status",
    "method",
    "outcome",
    "role",
    "started",
    "status",
    "test",
    "verdict",
    "when",
}


def full(report: RunReport) -> RunReport:
    """The same with one of everything that a report may have."""
    wide = Interval(0.5, 0.9, "wilson")
    judge = JudgeFigures(
        "arithmetic",
        "judge",
        "tiny-s",
        "0123",
        10,
        10,
        9,
        1,
        ("tiny-s",),
        "tiny-l",
        3,
        4,
        wide,
    )
    return dataclasses.replace(
        report,
        warnings=("a warning",),
        judges=(judge,),
        stopped=(StoppedSuite("arithmetic", "sure", 0.05, 7, 20, 4),),
        parts=(
            PartFacts(
                "tiny-l/plain",
                1,
                2,
                answered=1,
                failed=1,
                failures={"timeout": 1},
                first_failure="why",
            ),
        ),
        corpora=(Corpus("arithmetic", "tiny-l/plain", 3, 40, 160, -80.0, 7.4, wide, 0.7, wide),),
    )


def spoiled(value: Any, behind: str, before: str = "") -> Any:
    """The same with this behind and before every text that is no word of ours."""
    if isinstance(value, str):
        return before + value + behind
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            each.name: spoiled(getattr(value, each.name), behind, before)
            for each in dataclasses.fields(value)
            if each.init and each.name not in OURS
        }
        return dataclasses.replace(value, **changed)
    if isinstance(value, Mapping):
        return {
            spoiled(key, behind, before): spoiled(entry, behind, before)
            for key, entry in value.items()
        }
    if isinstance(value, (tuple, list)):
        return type(value)(spoiled(entry, behind, before) for entry in value)
    return value
