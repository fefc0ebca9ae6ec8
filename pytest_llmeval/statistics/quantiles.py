"""A percentile of real values and its interval, whatever their distribution."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_level


def quantile(values: Sequence[float], q: float) -> float | None:
    """The smallest value that at least a share q of the values, shape (n,), do not exceed.

    The inverse of the empirical distribution function: always one of the values. n = 0 gives None,
    n = 1 the value. Values may be infinite, but not NaN.
    """
    _check(q)
    ordered = _ordered(values)
    return ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)] if ordered else None


def quantile_interval(
    values: Sequence[float], q: float, level: float = 0.95, *, independent: int | None = None
) -> Interval:
    """The interval of a quantile between two order statistics of values of shape (n,).

    With X ~ Binomial(n, q): from the l-th smallest value, the largest l with P(X < l) <= a/2, to
    the u-th, the smallest u with P(X >= u) <= a/2. It holds for every distribution, and covers at
    least `level`. Where few values leave no such l or u, that bound is None: n = 0 and n = 1 have
    none, and the 95th percentile has an upper one from n = 72 on.

    `independent` is the number of items behind the values when some were asked more than once: the
    ranks are then those of so many values, stretched, as if repeats told nothing new.
    Source: David & Nagaraja 2003, section 7.1.
    """
    from scipy.special import bdtr, bdtrc

    _check(q)
    check_level(level)
    n, tail = len(values), (1 - level) / 2
    m = n if independent is None else independent
    if not 0 <= m <= n:
        raise ValueError(f"{m} items cannot have given {n} values")
    ordered = _ordered(values)
    below = bisect_right(range(m), tail, key=lambda k: bdtr(k, m, q))
    above = bisect_left(range(m), True, key=lambda k: bool(bdtrc(k, m, q) <= tail))
    low = ordered[(below - 1) * n // m] if below else None
    high = ordered[-(-(above + 1) * n // m) - 1] if above < m else None
    return Interval(low, high, "order statistics", level)


def values_for_upper_bound(q: float, level: float = 0.95) -> int:
    """How many values a quantile needs to have an upper bound: the least n with q^n <= a/2."""
    _check(q)
    check_level(level)
    return math.ceil(math.log((1 - level) / 2) / math.log(q) - 1e-9)


def _ordered(values: Sequence[float]) -> list[float]:
    """The values from small to large, infinite ones too; NaN has no place among them."""
    for value in values:
        if value is None or math.isnan(value):
            raise ValueError(f"{value!r} is neither large nor small; leave out what is missing")
    return sorted(values)


def _check(q: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"a quantile lies between 0 and 1, got {q!r}")
