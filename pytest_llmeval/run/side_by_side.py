"""What the difference of two runs is worth: the test that holds for the way they were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Comparison, Sensitivity
from pytest_llmeval.results.finished import Column, FinishedRun
from pytest_llmeval.statistics.anytime import compare_pairs_anytime
from pytest_llmeval.statistics.comparisons import compare_pairs
from pytest_llmeval.statistics.metrics import item_means
from pytest_llmeval.statistics.missing import anytime_sensitivity, unsupported_sensitivity

Sides = tuple[Column, Column]
"""Before and after."""


def compare_sides(
    suite: str, scorer: str, sides: Sequence[Sides], before: FinishedRun, after: FinishedRun
) -> tuple[Comparison, ...]:
    """Compare each after with its before, on the items that both have; all are one family.

    Where a run might stop at any item, its answers have had a say in which items these are: then
    evidence counts that holds at any item, gathered in the order in which that run has asked.
    Raises RunError where both have stopped, each in an order of its own.
    """
    leading = _leading(suite, before, after)
    if leading is None:
        return _with_all_items(suite, scorer, sides)
    alpha = _alpha(suite, before, after)
    return _until_decided(suite, scorer, sides, alpha, lead=0 if leading is before else 1)


def means_of(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean of each item over its repeats, in their order."""
    return dict(zip(values, item_means(values.values()), strict=True))


# Asked in full ------------------------------------------------------------------------------------


def _with_all_items(suite: str, scorer: str, sides: Sequence[Sides]) -> tuple[Comparison, ...]:
    columns = _named(sides)
    found = compare_pairs(
        suite,
        scorer,
        {name: means_of(column.values) for name, column in columns.items()},
        _pairs(sides),
        binary=_binary(sides),
        repeats={name: column.values for name, column in columns.items() if column.is_repeated},
    )
    return tuple(
        replace(each, sensitivity=_sensitivity(*pair, each.alpha_alone))
        for each, pair in zip(found, sides, strict=True)
    )


def _named(sides: Sequence[Sides]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for place, (before, after) in enumerate(sides):
        columns |= {f"before {place}": before, f"after {place}": after}
    return columns


def _pairs(sides: Sequence[Sides]) -> list[tuple[str, str]]:
    return [(f"after {place}", f"before {place}") for place in range(len(sides))]


def _binary(sides: Sequence[Sides]) -> set[str]:
    return {name for name, column in _named(sides).items() if column.is_binary}


def _sensitivity(before: Column, after: Column, alpha: float) -> Sensitivity | None:
    """What the items of both that were not judged on both could do; None where all were.

    Items that only one run has are not missing: nobody wanted to know.
    """
    common = before.targets.keys() & after.targets.keys()
    old, new = (
        dict.fromkeys(common, None) | means_of({i: v for i, v in c.judged.items() if i in common})
        for c in (before, after)
    )
    if None not in (*old.values(), *new.values()):
        return None
    binary = before.is_binary and after.is_binary
    return unsupported_sensitivity(new, old, binary=binary, alpha=alpha)


# Asked until it was decided -----------------------------------------------------------------------


def _leading(suite: str, before: FinishedRun, after: FinishedRun) -> FinishedRun | None:
    """The run in whose order items count: one that might stop, and first of all one that has."""
    might = [run for run in (before, after) if suite in run.stopping]
    stopped = [run for run in might if run.stopping[suite]]
    seeds = [run.suites[suite].seeds.get("order") for run in stopped]
    if len(set(seeds)) > 1:
        raise RunError(
            f"{suite}: both runs have stopped early, each in an order of its own (seed {seeds[0]} "
            f"and {seeds[1]}), so that their answers have chosen which items both have, and no "
            f"test knows how. Ask one of them again with the seed of the other, or without stop"
        )
    return next(iter(stopped or might), None)


def _alpha(suite: str, before: FinishedRun, after: FinishedRun) -> float:
    """The error that the suite stops with; the smaller one where the runs had two."""
    stops = (run.suites[suite].stop for run in (before, after))
    return min(float(stop["alpha"]) for stop in stops if stop is not None)


def _until_decided(
    suite: str, scorer: str, sides: Sequence[Sides], alpha: float, *, lead: Literal[0, 1]
) -> tuple[Comparison, ...]:
    """The pairs with items in the order of the leading side."""
    asked: dict[str, Mapping[str, float | None]] = {}
    for names, pair in zip(_pairs(sides), sides, strict=True):
        after, before = (_in_order(side, side.values, pair[lead]) for side in reversed(pair))
        asked |= {names[0]: after, names[1]: before}
    found = compare_pairs_anytime(suite, scorer, asked, _pairs(sides), alpha, binary=_binary(sides))
    return tuple(
        replace(each, sensitivity=_anytime_sensitivity(pair, each, pair[lead]))
        for each, pair in zip(found, sides, strict=True)
    )


def _anytime_sensitivity(pair: Sides, found: Comparison, order: Column) -> Sensitivity | None:
    old, new = (_in_order(side, side.judged, order) for side in pair)
    if all(old[item] is not None and new[item] is not None for item in old if item in new):
        return None
    return anytime_sensitivity(new, old, alpha=found.alpha, alpha_alone=found.alpha_alone)


def _in_order(
    side: Column, values: Mapping[str, Sequence[float]], order: Column
) -> dict[str, float | None]:
    """The mean of every item that was asked, None without one; first of all as `order` has them."""
    first = [item for item in order.targets if item in side.targets]
    return dict.fromkeys((*first, *side.targets)) | means_of(values)
