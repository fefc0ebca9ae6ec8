"""Checks and doubts in words: what a reader is warned of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_llmeval.records import Check, Doubt
from pytest_llmeval.results.manifest import ModelFacts


def trust_warnings(models: Iterable[ModelFacts], doubts: Iterable[Doubt]) -> Iterator[str]:
    """What endpoints lack, what there was no time to look at, and why numbers are in doubt."""
    for model in models:
        for check in model.preflight:
            if check.verdict == "lacking":
                yield f"{model.name} lacks {check_words(check)}"
        skipped = [check for check in model.preflight if check.verdict == "skipped"]
        if skipped:
            names = ", ".join(check.name for check in skipped)
            yield f"{model.name}: preflight has not looked at {names}: {skipped[0].found}"
    yield from map(doubt_words, doubts)


def check_words(check: Check) -> str:
    """A check with the request that showed it, and what came back."""
    shown = f" (asked: {check.asked}; came back: {check.answered})" if check.asked else ""
    return f"{check.name}: {check.found}{shown}"


def doubt_words(doubt: Doubt) -> str:
    """A doubt with where it is, what to do, and a trial that shows it."""
    return f"{doubt.suite} {doubt.condition}: {doubt.message} For instance {doubt.example}"


def not_ok(checks: Sequence[Check]) -> list[Check]:
    """The checks that a reader wants to see one by one."""
    return [check for check in checks if check.verdict != "ok"]
