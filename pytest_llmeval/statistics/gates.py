"""What a gate decides, and the sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from pytest_llmeval.records import Evidence, GateVerdict, Interval, Metric
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
from pytest_llmeval.statistics.tipping import Extreme, taken_back, trials_words


class Decision(NamedTuple):
    """A gate's verdict with the sentence that says why, and the numbers behind both."""

    verdict: GateVerdict
    message: str
    evidence: Evidence | None = None


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
    if metric.answered:
        verdict, more = _with_missing(verdict, metric, scores, threshold)
        why += more
    elif metric.trials:
        why = f"nothing was answered, {trials_words(metric.trials)} without an outcome"
    evidence = Evidence(metric.mean, metric.interval, metric.items)
    return Decision(verdict, f"at least {threshold:g}: {why}", evidence)


def verdict_of(interval: Interval, threshold: float) -> GateVerdict:
    """Where an interval lies to a threshold; without bounds nothing is decided."""
    if interval.low is not None and interval.low >= threshold:
        return "pass"
    if interval.high is not None and interval.high < threshold:
        return "fail"
    return "inconclusive"


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
    more = rough_items(max(needed, len(groups) + 1))
    return verdict, f"{bounds}, {here}; at this rate about {more} would decide"


# Trials without an outcome ------------------------------------------------------------------------


def _with_missing(
    verdict: GateVerdict, metric: Metric, scores: Sequence[Judged], threshold: float
) -> tuple[GateVerdict, str]:
    """The verdict unless the trials without an outcome could undo it; and what to say of them."""
    slots = list(_missing(scores, metric.trials))
    value, name = (1.0, "right") if verdict == "fail" else (0.0, "wrong")

    def is_undone(count: int) -> bool:
        fill = [value] * count + [1.0 - value] * (len(slots) - count)
        return verdict_of(_interval_with(scores, slots, fill), threshold) != verdict

    without = f"{trials_words(len(slots))} of {metric.trials:,} without an outcome"
    # The other extreme cannot: Wilson's bounds follow the values, and the scaled ones allow for an
    # outlier on either side as they are.
    return taken_back(verdict, without, len(slots), [Extreme(name, is_undone)])


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


def _down(bound: float) -> str:
    """Three decimals, rounded down, so that no lower bound looks better than it is."""
    return f"{math.floor(bound * 1000 + 1e-9) / 1000:.3f}"


def _up(bound: float) -> str:
    return f"{math.ceil(bound * 1000 - 1e-9) / 1000:.3f}"


def rough_items(items: int) -> str:
    """Two digits are all that a forecast can promise; rounded up."""
    step = 10 ** max(0, len(str(items)) - 2)
    return f"{-(-items // step) * step:,} items"
