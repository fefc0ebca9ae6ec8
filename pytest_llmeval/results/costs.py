"""costs.json: what a run took, in tokens, seconds, joules and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import plain, write_json
from pytest_llmeval.results.report import ConditionFigures, JudgeFigures
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
    judges: Sequence[JudgeFigures] = (),
    judge_prices: Mapping[str, Prices] | None = None,
) -> None:
    """Write costs.json: each condition in each suite, each part that was watched, each judge, and
    their sums.

    `prices` go by condition, `judge_prices` by judge; who has none, or answers whose tokens nobody
    counted, has no price, which is none of 0. What is not known is null, and so is the price or the
    energy of everything where that of a part of it is: a sum of the rest would look whole.
    """
    priced = [_condition_price(each, (prices or {}).get(each.condition)) for each in figures]
    rows = [plain(each) | {"price": price} for each, price in zip(figures, priced, strict=True)]
    told = [_judge_costs(each, (judge_prices or {}).get(each.judge)) for each in judges]
    everybody: list[ConditionFigures | JudgeFigures] = [*figures, *judges]
    total: dict[str, Any] = {
        "prompt_tokens": sum(each.prompt_tokens or 0 for each in everybody),
        "completion_tokens": sum(each.completion_tokens or 0 for each in everybody),
        "cached_tokens": sum(each.cached_tokens or 0 for each in everybody),
        "tokens": sum(each.tokens or 0 for each in everybody),
        "price": _sum(
            [
                price
                for each, price in zip(figures, priced, strict=True)
                if each.usage_sources or each.kept
            ]
            + [each["price"] for judge, each in zip(judges, told, strict=True) if judge.replies]
        ),
        "joules": _sum([load.joules for load in loads]),
    }
    data = {
        "schema": SCHEMA,
        "conditions": rows,
        "parts": list(loads),
        "judges": told,
        "total": total,
    }
    write_json(path, data)


def _judge_costs(judge: JudgeFigures, prices: Prices | None) -> dict[str, Any]:
    return {
        "suite": judge.suite,
        "scorer": judge.scorer,
        "judge": judge.judge,
        "trials": judge.trials,
        "prompt_tokens": judge.prompt_tokens,
        "completion_tokens": judge.completion_tokens,
        "cached_tokens": judge.cached_tokens,
        "tokens": judge.tokens,
        "seconds": judge.seconds,
        "slots_busy": judge.slots_busy,
        "price": _price(judge, prices),
    }


def _condition_price(figures: ConditionFigures, prices: Prices | None) -> float | None:
    return None if "none" in figures.usage_sources else _price(figures, prices)


def _price(figures: ConditionFigures | JudgeFigures, prices: Prices | None) -> float | None:
    if prices is None or figures.prompt_tokens is None or figures.completion_tokens is None:
        return None
    read, written = prices
    return (figures.prompt_tokens * read + figures.completion_tokens * written) / PER


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum of all, None when there is nothing, or one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
