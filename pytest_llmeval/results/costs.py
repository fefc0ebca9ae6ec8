"""costs.json: what a run took, in tokens, seconds, joules and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmeval.results.atomic import plain, write_json
from pytest_llmeval.results.report import ConditionFigures
from pytest_llmeval.results.telemetry import PartLoad

SCHEMA = 1

PER = 1_000_000
"""Prices are for so many tokens."""

Prices = tuple[float, float]
"""Of so many tokens read, and written."""


def write_costs(
    path: Path,
    figures: Sequence[ConditionFigures],
    *,
    prices: Mapping[str, Prices] | None = None,
    loads: Sequence[PartLoad] = (),
) -> None:
    """Write costs.json: each condition in each suite, each part that was watched, and their sums.

    `prices` go by condition; a condition without one has no price, which is none of 0. What is not
    known is null.
    """
    priced = [_price(each, (prices or {}).get(each.condition)) for each in figures]
    rows = [plain(each) | {"price": price} for each, price in zip(figures, priced, strict=True)]
    total: dict[str, Any] = {
        "prompt_tokens": sum(f.prompt_tokens for f in figures),
        "completion_tokens": sum(f.completion_tokens for f in figures),
        "cached_tokens": sum(f.cached_tokens for f in figures),
        "tokens": sum(f.tokens for f in figures),
        "price": _sum(priced),
        "joules": _sum([load.joules for load in loads]),
    }
    data = {"schema": SCHEMA, "conditions": rows, "parts": list(loads), "total": total}
    write_json(path, data)


def _price(figures: ConditionFigures, prices: Prices | None) -> float | None:
    if prices is None:
        return None
    read, written = prices
    return (figures.prompt_tokens * read + figures.completion_tokens * written) / PER


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum of what is known, None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
