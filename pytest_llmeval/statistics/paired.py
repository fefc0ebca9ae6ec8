"""Two conditions on the same items: tests and intervals of their difference.

Counts are of items, in the words of `Comparison`: `only_first` were right under the first
condition only (b), `only_second` under the second only (c); the other n - b - c agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite, check_level, check_resamples, whole
from pytest_llmeval.statistics.intervals import (
    normal_quantile,
    t_interval,
    wilson_reach,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_DIFFERENCE = 1e-12
"""Scores lie in [0, 1]: what is smaller is what rounding has left of numbers that are equal."""

#: With at most this many differences that are not 0 the sign-flip test enumerates all signs.
_MOST_ENUMERATED = 20
#: Signs made at a time: 2.5 MB.
_SIGNS = 640_000
#: Multiplications in one product. From about here on OpenBLAS shares it between threads, which
#: at this size costs up to ten times what it saves, and lets their number decide the last digits.
PRODUCT = 2**18


# Right or wrong -----------------------------------------------------------------------------------


def mcnemar_midp(only_first: int, only_second: int) -> float:
    """McNemar's mid-p test, two-sided, of the discordant items being evenly split.

    With m = min(b, c) and X ~ Binomial(b + c, 1/2): p = 2 P(X <= m) - P(X = m); b = c gives
    1 - P(X = b)/2, no discordant item gives 1. Source: Fagerland, Lydersen & Laake 2013.
    """
    only_first, only_second = whole(only_first), whole(only_second)
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    below, at = _half_binomial(min(only_first, only_second), discordant)
    return 1 - at / 2 if only_first == only_second else 2 * below - at


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """McNemar's exact conditional test (a sign test), two-sided: min(1, 2 P(X <= min(b, c))).

    No discordant item gives 1. More careful than `mcnemar_midp`, and so less able to see.
    """
    only_first, only_second = whole(only_first), whole(only_second)
    below, _ = _half_binomial(min(only_first, only_second), only_first + only_second)
    return min(1.0, 2 * below)


def _half_binomial(k: int, n: int) -> tuple[float, float]:
    """P(X <= k) and P(X = k) for X ~ Binomial(n, 1/2), from whole numbers, so without error."""
    if k < 0:
        raise ValueError(f"counts cannot be negative, got {k}")
    whole = 1 << n
    term = at = below = math.comb(n, k)
    for j in range(k, 0, -1):
        term = term * j // (n - j + 1)
        below += term
        if term < below >> 60:  # the rest is smaller still: below the precision of a float
            break
    return below / whole, at / whole


def tango_interval(only_first: int, only_second: int, n: int, level: float = 0.95) -> Interval:
    """Tango's score interval of the difference of two paired proportions, (b - c) / n.

    All d with |T(d)| <= z, T(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d))), where q is the
    maximum-likelihood probability of "second only" when the difference is d: the larger root of
    2n q^2 + ((2n - b + c) d - b - c) q - c d (1 - d) = 0. n = 0 gives no bounds. n = 1 gives
    [-0.79, 0.79] without a discordant item. Source: Tango 1998.
    """
    only_first, only_second, n = _checked_pairs(only_first, only_second, n)
    check_level(level)
    if n == 0:
        return Interval(None, None, "tango", level)
    z, b, c = normal_quantile(level), only_first, only_second
    high = 1.0 if b == n else _root(lambda d: tango_statistic(d, b, c, n) + z, (b - c) / n, 1.0)
    low = -1.0 if c == n else -_root(lambda d: tango_statistic(d, c, b, n) + z, (c - b) / n, 1.0)
    return Interval(low, high, "tango", level)


def tango_statistic(difference: float, b: int, c: int, n: int) -> float:
    """Tango's statistic; falls as the difference grows."""
    slope = (2 * n - b + c) * difference - b - c
    constant = c * difference * (1 - difference)
    q = (math.sqrt(max(0.0, slope * slope + 8 * n * constant)) - slope) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    distance = b - c - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by bisection to the last bit."""
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return middle
        if falling(middle) > 0:
            low = middle
        else:
            high = middle


def newcombe_paired(
    only_first: int, only_second: int, both: int, neither: int, level: float = 0.95
) -> Interval:
    """Newcombe's square-and-add interval of a paired difference, from two Wilson intervals.

    d - sqrt(l1^2 - 2 phi l1 u2 + u2^2) to d + sqrt(u1^2 - 2 phi u1 l2 + l2^2), where l and u are
    the distances from each proportion to its Wilson bounds and phi is the correlation of the table,
    its numerator reduced by n/2 towards 0 when positive. No items give no bounds.
    Source: Newcombe 1998 (paired), method 10.
    """
    both, neither = whole(both), whole(neither)
    if min(both, neither) < 0:
        raise ValueError(f"counts cannot be negative, got {min(both, neither)}")
    n = both + neither + whole(only_first) + whole(only_second)
    only_first, only_second, n = _checked_pairs(only_first, only_second, n)
    check_level(level)
    if n == 0:
        return Interval(None, None, "newcombe", level)
    first, second = both + only_first, both + only_second
    below_1, above_1 = wilson_reach(first, n, level)
    below_2, above_2 = wilson_reach(second, n, level)
    product = both * neither - only_first * only_second
    numerator = max(0.0, product - n / 2) if product > 0 else float(product)
    margins = first * (n - first) * second * (n - second)
    phi = numerator / math.sqrt(margins) if margins else 0.0
    difference = (only_first - only_second) / n
    low = math.sqrt(max(0.0, below_1**2 - 2 * phi * below_1 * above_2 + above_2**2))
    high = math.sqrt(max(0.0, above_1**2 - 2 * phi * above_1 * below_2 + below_2**2))
    return Interval(max(-1.0, difference - low), min(1.0, difference + high), "newcombe", level)


def _checked_pairs(only_first: int, only_second: int, n: int) -> tuple[int, int, int]:
    only_first, only_second, n = whole(only_first), whole(only_second), whole(n)
    if only_first < 0 or only_second < 0 or only_first + only_second > n:
        raise ValueError(f"{only_first} and {only_second} discordant items do not fit into {n}")
    return only_first, only_second, n


# Graded -------------------------------------------------------------------------------------------


def paired_t_interval(differences: Sequence[float], level: float = 0.95) -> Interval:
    """The t interval of the mean of paired differences, shape (n,); see `t_interval`."""
    interval = t_interval(differences, level)
    return Interval(interval.low, interval.high, "paired t", level)


def sign_flip_test(
    differences: Sequence[float], *, seed: int = 0, resamples: int = 10_000
) -> float | None:
    """Permutation test of a mean paired difference of 0, two-sided: signs are exchangeable.

    Shape (n,). Exact while at most 20 differences are not 0, and when all those are equally large
    (then it is the sign test); else `resamples` random sign vectors and p = (1 + hits) / (1 + B),
    which is never 0. n = 0 gives None; no difference other than 0 gives 1, and so does n = 1.
    Neither the order of the differences nor which side is first matters. Raises ValueError for what
    is not finite. Source: Fisher 1935; Phipson & Smyth 2010 for the 1.
    """
    return sign_flip_tests([differences], seed=seed, resamples=resamples)[0]


def sign_flip_tests(
    columns: Sequence[Sequence[float]], *, seed: int = 0, resamples: int = 10_000
) -> list[float | None]:
    """`sign_flip_test` of several comparisons, of as many items each as they have.

    They share their sign vectors, which is what makes many cheap; each p is what the comparison has
    alone, since its differences take the signs in the order of their sizes.
    """
    check_resamples(resamples)
    found: list[float | None] = [None] * len(columns)
    drawn: dict[int, _Moved] = {}
    for place, column in enumerate(columns):
        check_finite(column)
        if len(column):
            moved = _moved(column)
            found[place] = _exact_sign_flip(moved)
            if found[place] is None:
                drawn[place] = moved
    if drawn:
        tested = _random_sign_flips(list(drawn.values()), seed, resamples)
        for place, p in zip(drawn, tested, strict=True):
            found[place] = p
    return found


class _Moved(NamedTuple):
    """The differences that are not 0: how large each is, ascending, and what they sum to."""

    sizes: NDArray[np.float64]
    positive: int
    total: float


def _moved(column: Sequence[float]) -> _Moved:
    import numpy as np

    differences = np.asarray(column, dtype=float)
    moved = differences[np.abs(differences) > NO_DIFFERENCE]
    return _Moved(np.sort(np.abs(moved)), int((moved > 0).sum()), abs(math.fsum(moved)))


def _exact_sign_flip(moved: _Moved) -> float | None:
    """The exact p; None when there are too many sign vectors to go through."""
    import numpy as np

    sizes = moved.sizes
    if sizes.size == 0:
        return 1.0
    if sizes[-1] - sizes[0] < NO_DIFFERENCE:
        return mcnemar_exact(moved.positive, sizes.size - moved.positive)
    if sizes.size > _MOST_ENUMERATED:
        return None
    sums = sizes[:1]  # the first sign is fixed: the other half of all vectors mirrors this one
    for size in sizes[1:]:
        sums = np.concatenate([sums + size, sums - size])
    observed = moved.total - 1e-12 * float(sizes.sum())
    return float((np.abs(sums) >= observed).mean())


def _random_sign_flips(columns: Sequence[_Moved], seed: int, resamples: int) -> list[float]:
    """Monte-Carlo p of each column.

    The signs of a row are drawn for all resamples at once, so that a longer column in company
    leaves a shorter one its signs.
    """
    import numpy as np

    rows = max(column.sizes.size for column in columns)
    weights = np.zeros((len(columns), rows), dtype=np.float32)
    for row, column in zip(weights, columns, strict=True):
        row[: column.sizes.size] = column.sizes
    random = np.random.default_rng(seed)
    positive = np.zeros((len(columns), resamples))
    at_once = 8 * max(1, _SIGNS // resamples // 8)
    for start in range(0, rows, at_once):
        part = weights[:, start : start + at_once]
        count = part.shape[1]
        packed = random.integers(0, 256, size=(-(-count // 8), resamples), dtype=np.uint8)
        signs = np.unpackbits(packed, axis=0, count=count).astype(np.float32)
        width = max(1, PRODUCT // part.size)
        for first in range(0, resamples, width):
            drawn = slice(first, first + width)
            positive[:, drawn] += part @ signs[:, drawn]
    sums = np.array([column.sizes.sum() for column in columns])
    totals = np.array([column.total for column in columns])
    # Sums that should tie differ by rounding in single precision; they count as hits.
    threshold = totals - 1e-6 * sums
    hits = (np.abs(2 * positive - sums[:, None]) >= threshold[:, None]).sum(axis=1)
    return [float(p) for p in (1 + hits) / (1 + resamples)]
