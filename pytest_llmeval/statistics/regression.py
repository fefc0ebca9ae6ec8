"""Whether a condition has become worse than its accepted baseline by more than a margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pytest_llmeval.records import Evidence, GateVerdict, Interval
from pytest_llmeval.statistics.checks import whole
from pytest_llmeval.statistics.gates import Decision, rough_items
from pytest_llmeval.statistics.paired import (
    NO_DIFFERENCE,
    mcnemar_midp,
    tango_interval,
)
from pytest_llmeval.statistics.power import items_for_margin, smallest_provable_margin
from pytest_llmeval.statistics.stretched import skewed_wilson
from pytest_llmeval.statistics.tipping import Extreme, taken_back, trials_words

LEVEL = 0.90
"""Two one-sided tests of 5 % each: a pass is wrong in at most 5 % of cases, and so is a fail."""

Values = Mapping[str, Sequence[float]]
"""For every item, its scores in [0, 1], one for each repeat."""

Outcomes = Mapping[str, Sequence[float | None]]
"""The same where trials may lack an outcome: those are None."""


class _Change(NamedTuple):
    """What became of the items that both sides have. Counts are None for graded scores."""

    verdict: GateVerdict
    difference: float
    interval: Interval
    items: int
    discordance: float
    only_now: int | None = None
    only_before: int | None = None


def not_worse_verdict(only_now: int, only_before: int, n: int, margin: float) -> GateVerdict:
    """Decide "not worse by `margin`" for n items, right or wrong, asked before and now.

    `only_now` are right now only, `only_before` were right before only; d is their difference by n
    and [L, U] Tango's 90 % interval of it. No item has changed: no_change. Pass when L > -margin.
    Fail when U < -margin, or when d <= -margin and McNemar's mid-p, one-sided, is below 0.05. Else
    inconclusive, as is n = 0. One item, lost, has [-1, 0.46] and is inconclusive; won, it passes
    margins above 0.46.
    Source: statistics of non-inferiority by Tango 1998, section 4; mid-p by Fagerland, Lydersen &
    Laake 2013.
    Raises ValueError for a margin outside (0, 1] and for counts that do not fit into n.
    """
    _check_margin(margin)
    only_now, only_before, n = whole(only_now), whole(only_before), whole(n)
    interval = tango_interval(only_now, only_before, n, LEVEL)
    if interval.low is None or interval.high is None:
        return "inconclusive"
    if only_now == only_before == 0:
        return "no_change"
    if interval.low > -margin:
        return "pass"
    # With fewer right now than before, the one-sided mid-p is half of the two-sided one.
    is_lower = (only_now - only_before) / n <= -margin
    if interval.high < -margin or (is_lower and mcnemar_midp(only_now, only_before) / 2 < 0.05):
        return "fail"
    return "inconclusive"


def graded_verdict(differences: Sequence[float], margin: float) -> GateVerdict:
    """Decide "not worse by `margin`" from the differences of n items, now minus before, in [-1, 1].

    [L, U] is their `skewed_wilson` interval at 90 %: Student's would let through up to twice as
    many as it should where few items change. No item has changed: no_change. Pass when L > -margin,
    fail when U < -margin, else inconclusive, as is n = 0. One item, lost, is inconclusive.
    Raises ValueError for a margin outside (0, 1] and for differences outside [-1, 1].
    """
    _check_margin(margin)
    interval = skewed_wilson(differences, LEVEL)
    if interval.low is None or interval.high is None:
        return "inconclusive"
    if all(abs(difference) < NO_DIFFERENCE for difference in differences):
        return "no_change"
    if interval.low > -margin:
        return "pass"
    return "fail" if interval.high < -margin else "inconclusive"


def not_worse(before: Values, now: Outcomes, margin: float) -> Decision:
    """Decide whether a condition is not worse than its baseline by more than `margin`.

    Paired by item id, on the items of both. Items that were right or wrong, whenever they were
    asked: `not_worse_verdict`. Where an item is graded, or right in some of its repeats only:
    `graded_verdict` of the differences of the items' means.

    Trials of `now` without an outcome are then all counted wrong, and all right (of graded scores
    also few of them: a single one far off widens the interval): unless each leaves the verdict, it
    is inconclusive and says how many of them it takes. Fewer than two items with
    an outcome are inconclusive.
    """
    _check_margin(margin)
    shared = {item: now[item] for item in sorted(now.keys() & before.keys())}
    known = _known(shared)
    head = margin_words(margin)
    if len(known) < 2:
        missing = sum(value is None for values in shared.values() for value in values)
        return Decision("inconclusive", f"{head}: {_too_few(len(known), missing)}")
    change = _change(before, known, margin)
    verdict, more = _with_missing(change, before, shared, margin)
    why = _why(change, margin) + more
    provable = smallest_provable_margin(change.discordance, change.items) or None
    if verdict == "inconclusive" and change.verdict == "inconclusive":
        why = f"{why}\n{_advice(change, provable, margin)}"
    evidence = Evidence(change.difference, change.interval, change.items, provable)
    return Decision(verdict, f"{head}: {why}", evidence)


def margin_words(margin: float) -> str:
    """What the gate requires: `not worse than baseline by 3 points`."""
    points = f"{100 * margin:g}"
    return f"not worse than baseline by {points} point{'' if points == '1' else 's'}"


# The change ---------------------------------------------------------------------------------------


def _known(outcomes: Outcomes) -> dict[str, list[float]]:
    """The items that have an outcome, without the trials that have none."""
    known = {
        item: [value for value in values if value is not None] for item, values in outcomes.items()
    }
    return {item: values for item, values in known.items() if values}


def _change(before: Values, now: Values, margin: float) -> _Change:
    if all(_is_binary(before[item]) and _is_binary(now[item]) for item in now):
        only_now = sum(now[item][0] > before[item][0] for item in now)
        only_before = sum(now[item][0] < before[item][0] for item in now)
        return _counted(only_now, only_before, len(now), margin)
    return _graded([_mean(now[item]) - _mean(before[item]) for item in now], margin)


def _counted(only_now: int, only_before: int, n: int, margin: float) -> _Change:
    return _Change(
        not_worse_verdict(only_now, only_before, n, margin),
        (only_now - only_before) / n,
        tango_interval(only_now, only_before, n, LEVEL),
        n,
        (only_now + only_before) / n,
        only_now,
        only_before,
    )


def _graded(differences: Sequence[float], margin: float) -> _Change:
    n = len(differences)
    # What the interval assumes: two items more, one of them lost and one won.
    squares = (math.fsum(difference**2 for difference in differences) + 2) / (n + 1)
    return _Change(
        graded_verdict(differences, margin),
        _mean(differences),
        skewed_wilson(differences, LEVEL),
        n,
        min(1.0, squares),
    )


def _is_binary(values: Sequence[float]) -> bool:
    """Right or wrong, and in every repeat the same: as good as asked once."""
    return values[0] in (0.0, 1.0) and all(value == values[0] for value in values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _check_margin(margin: float) -> None:
    if not 0 < margin <= 1:
        raise ValueError(f"a margin lies above 0 and is at most 1, got {margin!r}")


# Trials without an outcome ------------------------------------------------------------------------


def _with_missing(
    change: _Change, before: Values, now: Outcomes, margin: float
) -> tuple[GateVerdict, str]:
    """The verdict unless the trials without an outcome could undo it; and what to say of them.

    Those items come first of which one outcome changes most: wrong answers where the baseline was
    right, right ones where it was wrong.
    """
    fails = change.verdict == "fail"
    slots = [item for item, values in now.items() for value in values if value is None]

    def filled(value: float, count: int) -> _Change:
        order = sorted(slots, key=lambda item: abs(_mean(before[item]) - value), reverse=True)
        outcomes = {item: list(values) for item, values in _known(now).items()}
        for place, item in enumerate(order):
            outcomes.setdefault(item, []).append(value if place < count else 1.0 - value)
        return _change(before, outcomes, margin)

    def is_undone(value: float, count: int) -> bool:
        found = filled(value, count).verdict
        return found != "fail" if fails else found in ("fail", "inconclusive")

    extremes = [
        Extreme("wrong", partial(is_undone, 0.0)),
        Extreme("right", partial(is_undone, 1.0)),
    ]
    if fails:
        extremes.reverse()
    if filled(0.0, 0).only_now is not None:  # Tango's bounds follow the counts
        del extremes[1:]
    without = f"{trials_words(len(slots))} of {sum(map(len, now.values())):,} without an outcome"
    return taken_back(change.verdict, without, len(slots), extremes)


# Words --------------------------------------------------------------------------------------------


def _why(change: _Change, margin: float) -> str:
    if change.verdict == "no_change":
        return f"none of {change.items:,} items has changed"
    assert change.interval.low is not None
    assert change.interval.high is not None
    low = _points(change.interval.low, margin, math.floor)
    high = _points(change.interval.high, margin, math.ceil)
    told = f"{100 * change.difference:+.1f} [{low}, {high}]"
    if change.only_now is None or change.only_before is None:
        told += f" over {change.items:,} items"
    else:
        told += (
            f", {change.only_before:,} lost and {change.only_now:,} won of {change.items:,} items"
        )
        if change.verdict == "fail" and change.interval.high >= -margin:
            p = mcnemar_midp(change.only_now, change.only_before) / 2
            told += f", one-sided mid-p {p:.3f}"
    is_better = change.verdict == "pass" and change.interval.low > 0
    return told + (": better than the baseline" if is_better else "")


def _points(bound: float, margin: float, outward: Callable[[float], int]) -> str:
    """A bound in points, rounded outwards, with as many digits as keep it on its side of -margin.

    So no bound looks better than it is, and none denies the verdict that rests on it.
    """
    digits = 0
    while True:
        digits += 1
        points = outward(round(100 * bound * 10**digits, 6)) / 10**digits
        if digits == 6 or (points > -100 * margin) == (bound > -margin):
            return f"{points:+.{digits}f}"


def _too_few(items: int, missing: int) -> str:
    without = f", {trials_words(missing)} without an outcome" if missing else ""
    if items == 0:
        return f"nothing was answered{without}" if missing else "nothing was asked"
    return f"1 item is too few to tell, at least two are needed{without}"


def _advice(change: _Change, provable: float | None, margin: float) -> str:
    """What would decide: a wider margin where the items cannot prove this one, or more items."""
    here = f"{change.items:,} items can prove"
    if provable is not None and margin < provable <= 1:
        wider = math.ceil(100 * provable - 1e-9) / 100
        more = items_for_margin(change.discordance, 0.0, margin)
        assert more is not None
        shown = math.ceil(1000 * provable - 1e-9) / 10
        return f"{here} {shown:g} points; try margin: {wider:g}, or about {rough_items(more)}"
    needed = items_for_margin(change.discordance, change.difference, margin)
    if needed is None:
        return "the difference is exactly the margin: no number of items decides"
    more_words = rough_items(max(needed, change.items + 1))
    if provable is None or provable > 1:
        return f"{here} no margin at all; at this rate about {more_words} would decide"
    shown = math.ceil(1000 * provable - 1e-9) / 10
    return f"{here} {shown:g} points where nothing has changed; about {more_words} would decide"
