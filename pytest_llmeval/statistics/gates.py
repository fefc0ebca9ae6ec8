"""What a gate decides, and the sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from pytest_llmeval.records import GateVerdict, Interval, Metric
from pytest_llmeval.statistics.intervals import variance_ratio
from pytest_llmeval.statistics.metrics import (
    Groups,
    Judged,
    interval_of,
    item_means,
    mean_of_items,
    values_by_item,
)
from pytest_llmeval.statistics.power import items_for_gate


class Decision(NamedTuple):
    """A gate's verdict with the sentence that says why."""

    verdict: GateVerdict
    message: str


def at_least(metric: Metric, threshold: float, scores: Sequence[Judged]) -> Decision:
    """Decide whether a condition's mean is at least a threshold.

    By the metric's two-sided 95 % interval: pass when its lower bound reaches the threshold, fail
    when its upper bound stays below, else inconclusive. Trials without an outcome (failed, or never
    asked) are then all counted wrong, and all right: unless both leave the verdict as it was, it is
    inconclusive, and the tipping count says how many of them it takes. Nothing answered is
    inconclusive.

    `scores` are those the metric was measured from.
    """
    groups = values_by_item(scores).values()
    verdict, why = _decide(groups, metric.interval, threshold)
    missing = metric.trials - metric.answered
    if missing and metric.answered:
        verdict, why = _with_missing(verdict, why, metric, scores, threshold)
    elif missing:
        why = f"nothing was answered, {_trials(missing)} without an outcome"
    return Decision(verdict, f"at least {threshold:g}: {why}")


def verdict_of(interval: Interval, threshold: float) -> GateVerdict:
    """Where an interval lies to a threshold; without bounds nothing is decided."""
    if interval.low is not None and interval.low >= threshold:
        return "pass"
    if interval.high is not None and interval.high < threshold:
        return "fail"
    return "inconclusive"


def tipping_count(
    verdict: GateVerdict, scores: Sequence[Judged], planned: int, threshold: float
) -> int | None:
    """The fewest trials without an outcome that undo a verdict.

    Those are counted wrong to undo a pass, right to undo a fail, and the others the way that
    supports the verdict. None when even all of them leave it, or when there is nothing to undo.
    """
    slots = list(_missing(scores, planned))
    against = 0.0 if verdict == "pass" else 1.0

    def is_undone(count: int) -> bool:
        fill = [against] * count + [1.0 - against] * (len(slots) - count)
        return verdict_of(_interval_with(scores, slots, fill), threshold) != verdict

    return fewest(is_undone, len(slots)) if verdict in ("pass", "fail") else None


def fewest(is_undone: Callable[[int], bool], most: int) -> int | None:
    """The smallest count from 1 to `most` that undoes a verdict, None when even `most` leaves it.

    `is_undone` stays true once it is.
    """
    if not is_undone(most):
        return None
    low, high = 0, most  # undone at `high`, not below `low`
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_undone(middle) else (middle + 1, high)
    return max(1, high)


def _decide(groups: Groups, interval: Interval, threshold: float) -> tuple[GateVerdict, str]:
    """The verdict on what was answered, and why."""
    verdict = verdict_of(interval, threshold)
    mean = mean_of_items(groups)
    if mean is None or interval.low is None or interval.high is None:
        return verdict, "nothing was asked"
    if verdict == "pass":
        return verdict, f"lower bound {_down(interval.low)}"
    if verdict == "fail":
        return verdict, f"upper bound {_up(interval.high)}, mean {mean:.3f}"
    bounds = f"{mean:.3f} [{_down(interval.low)}, {_up(interval.high)}]"
    here = f"{len(groups):,} item{'s leave' if len(groups) != 1 else ' leaves'} it open"
    needed = items_for_gate(mean, threshold, variance_ratio=variance_ratio(item_means(groups)))
    if needed is None:
        return verdict, f"{bounds}, {here}; exactly at the threshold, no number of items decides"
    more = _rough(max(needed, len(groups) + 1))
    return verdict, f"{bounds}, {here}; at this rate about {more} would decide"


def _with_missing(
    verdict: GateVerdict, why: str, metric: Metric, scores: Sequence[Judged], threshold: float
) -> tuple[GateVerdict, str]:
    """Take back a verdict that the trials without an outcome could undo."""
    missing = metric.trials - metric.answered
    without = f"{_trials(missing)} of {metric.trials:,} without an outcome"
    if verdict == "inconclusive":
        return verdict, f"{why} ({without})"
    count = tipping_count(verdict, scores, metric.trials, threshold)
    assumed = "wrong" if verdict == "pass" else "right"
    if count is None:
        return verdict, f"{why} (even with {without} all {assumed})"
    undone = f"{count:,} of them {assumed} would undo the {verdict}"
    return "inconclusive", f"{why}, but {without}: {undone}"


# Trials without an outcome ------------------------------------------------------------------------


def _missing(scores: Sequence[Judged], planned: int) -> Iterator[Hashable]:
    """The item of each trial without an outcome.

    Failed trials are of known items. Of those never asked only the number is known: they complete
    the repeats of items that were begun, and then make up items of their own.
    """
    asked: dict[str, int] = {}
    for item, _, score in scores:
        asked[item] = asked.get(item, 0) + 1
        if score.value is None:
            yield item
    repeats = max((repeat for _, repeat, _ in scores), default=1)
    never = _never_asked(asked, repeats)
    yield from islice(never, planned - len(scores))


def _never_asked(asked: dict[str, int], repeats: int) -> Iterator[Hashable]:
    for item, count in asked.items():
        yield from [item] * (repeats - count)
    number = 0
    while True:
        yield from [number] * repeats
        number += 1


def _interval_with(
    scores: Sequence[Judged], slots: Sequence[Hashable], fill: Sequence[float]
) -> Interval:
    values: dict[Hashable, list[float]] = {}
    values.update(values_by_item(scores))
    for item, value in zip(slots, fill, strict=True):
        values.setdefault(item, []).append(value)
    return interval_of(values.values())


# Words --------------------------------------------------------------------------------------------


def _trials(count: int) -> str:
    return f"{count:,} trial{'s' if count != 1 else ''}"


def _down(bound: float) -> str:
    """Three decimals, rounded down, so that no lower bound looks better than it is."""
    return f"{math.floor(bound * 1000 + 1e-9) / 1000:.3f}"


def _up(bound: float) -> str:
    return f"{math.ceil(bound * 1000 - 1e-9) / 1000:.3f}"


def _rough(items: int) -> str:
    """Two digits are all that a forecast can promise; rounded up."""
    step = 10 ** max(0, len(str(items)) - 2)
    return f"{-(-items // step) * step:,} items"
