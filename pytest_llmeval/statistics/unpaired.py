"""Two conditions on different items: where pairing is lost, at the price of many more items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite, check_level, checked_counts
from pytest_llmeval.statistics.intervals import (
    mean_and_variance,
    t_quantile,
    wilson_reach,
)


def newcombe_unpaired(
    successes_1: int, n_1: int, successes_2: int, n_2: int, level: float = 0.95
) -> Interval:
    """Newcombe's square-and-add interval of the difference p1 - p2 of independent proportions.

    d - sqrt(l1^2 + u2^2) to d + sqrt(u1^2 + l2^2), where l and u are the distances from each
    proportion to its Wilson bounds. Without items on either side no bounds; never of width 0.
    Source: Newcombe 1998 (unpaired), method 10.
    """
    successes_1, n_1 = checked_counts(successes_1, n_1)
    successes_2, n_2 = checked_counts(successes_2, n_2)
    check_level(level)
    if n_1 == 0 or n_2 == 0:
        return Interval(None, None, "newcombe unpaired", level)
    below_1, above_1 = wilson_reach(successes_1, n_1, level)
    below_2, above_2 = wilson_reach(successes_2, n_2, level)
    difference = successes_1 / n_1 - successes_2 / n_2
    low = max(-1.0, difference - math.hypot(below_1, above_2))
    high = min(1.0, difference + math.hypot(above_1, below_2))
    return Interval(low, high, "newcombe unpaired", level)


def welch_interval(
    first: Sequence[float], second: Sequence[float], level: float = 0.95
) -> Interval:
    """Welch's interval of mean(first) - mean(second), real values of shapes (n1,) and (n2,).

    d +- t sqrt(s1^2 / n1 + s2^2 / n2) with Welch and Satterthwaite's degrees of freedom, not
    clipped. Fewer than two values on a side, or no variance on either, give no bounds.
    Source: Welch 1947.
    """
    check_level(level)
    found = _difference(first, second)
    if found is None:
        return Interval(None, None, "welch", level)
    reach = t_quantile(found.degrees, level) * found.error
    return Interval(found.mean - reach, found.mean + reach, "welch", level)


def welch_test(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Welch's t test of equal means, two-sided; None where `welch_interval` has no bounds."""
    from scipy.special import stdtr

    found = _difference(first, second)
    if found is None:
        return None
    return 2 * float(stdtr(found.degrees, -abs(found.mean) / found.error))


class _Difference(NamedTuple):
    mean: float
    error: float
    degrees: float


def _difference(first: Sequence[float], second: Sequence[float]) -> _Difference | None:
    for values in (first, second):
        check_finite(values)
    if len(first) < 2 or len(second) < 2:
        return None
    mean_1, variance_1 = mean_and_variance(first)
    mean_2, variance_2 = mean_and_variance(second)
    part_1, part_2 = variance_1 / len(first), variance_2 / len(second)
    if part_1 + part_2 <= 1e-24:  # what rounding leaves of values that are equal
        return None
    squares = part_1**2 / (len(first) - 1) + part_2**2 / (len(second) - 1)
    error = math.sqrt(part_1 + part_2)
    return _Difference(mean_1 - mean_2, error, (part_1 + part_2) ** 2 / squares)
