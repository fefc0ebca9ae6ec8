"""Checks and doubts in words: what a reader is warned of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from pytest_llmeval.records import Check, CheckVerdict, Doubt
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


def preflight_words(checks: Sequence[Check]) -> str:
    """What was looked at, by verdict, and why where it is not ok; "" where nothing was."""
    told = []
    for verdict in get_args(CheckVerdict):
        its = [check for check in checks if check.verdict == verdict]
        names = [c.name if verdict == "ok" else f"{c.name} ({c.found})" for c in its]
        told += [f"{verdict}: {', '.join(names)}"] if names else []
    return "; ".join(told)
