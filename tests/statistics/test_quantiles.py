"""A percentile and its interval between order statistics."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from pytest_llmeval.statistics import quantile, quantile_interval
from pytest_llmeval.statistics.quantiles import values_for_upper_bound


def ranks(n: int, q: float) -> tuple[float | None, float | None]:
    """The bounds for the values 1 to n: the ranks themselves."""
    values = [float(value) for value in range(1, n + 1)]
    Random(n).shuffle(values)
    interval = quantile_interval(values, q)
    return interval.low, interval.high


@pytest.mark.parametrize(
    ("n", "q", "low", "high"),
    [
        (10, 0.5, 2, 9),  # 97.9 %; Conover 1999, table A3: ranks 2 and 9
        (20, 0.5, 6, 15),  # 95.9 %
        (5, 0.5, None, None),  # 93.8 % even from the smallest to the largest
        (6, 0.5, 1, 6),  # 96.9 %
        (71, 0.95, 63, None),
        (72, 0.95, 64, 72),  # 0.95^72 is 0.0249
        (1, 0.5, None, None),
    ],
)
def test_the_bounds_are_order_statistics(
    n: int, q: float, low: int | None, high: int | None
) -> None:
    assert ranks(n, q) == (low, high)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [10, 30, 100, 1000])
def test_the_interval_covers_at_least_95_percent_and_no_narrower_one_does(n: int, q: float) -> None:
    """The chance that the quantile lies between two ranks is a sum of binomial terms."""
    low, high = ranks(n, q)

    def below(rank: float) -> float:
        """P(X < rank)."""
        return math.fsum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(int(rank)))

    first = 0 if low is None else int(low)
    last = n + 1 if high is None else int(high)
    assert below(last) - below(first) >= 0.95 - 1e-12
    assert below(first) <= 0.025
    assert below(first + 1) > 0.025  # the next rank would be one too far
    assert 1 - below(last) <= 0.025 + 1e-12
    assert 1 - below(last - 1) > 0.025


@pytest.mark.parametrize("n", [1, 2, 19, 20, 21, 100])
@pytest.mark.parametrize("q", [0.05, 0.25, 0.5, 0.95])
def test_the_quantile_is_numpy_s_inverted_cdf(n: int, q: float) -> None:
    values = [Random(n).random() for _ in range(n)]
    assert quantile(values, q) == np.quantile(values, q, method="inverted_cdf")


def test_nothing_has_no_quantile_and_no_bounds() -> None:
    assert quantile([], 0.5) is None
    interval = quantile_interval([], 0.5)
    assert (interval.low, interval.high) == (None, None)


def test_infinite_values_are_only_large() -> None:
    values = [*map(float, range(90)), *[math.inf] * 10]
    interval = quantile_interval(values, 0.95)
    assert quantile(values, 0.5) == 49
    assert interval.high == math.inf
    assert interval.low == 89


def test_repeats_tell_nothing_new() -> None:
    """The same answer five times is one answer; other repeats cannot narrow the interval either."""
    values = [float(value) for value in range(100)]
    once = quantile_interval(values, 0.5)
    repeated = [value for value in values for _ in range(5)]
    assert quantile_interval(repeated, 0.5, independent=100) == once
    assert quantile_interval(repeated, 0.5).low > once.low  # type: ignore[operator] # both have one


def test_more_items_than_values_cannot_be() -> None:
    with pytest.raises(ValueError, match="3 items cannot have given 2 values"):
        quantile_interval([1.0, 2.0], 0.5, independent=3)


@pytest.mark.parametrize("q", [0.0, 1.0, 95.0])
def test_a_quantile_lies_between_0_and_1(q: float) -> None:
    with pytest.raises(ValueError, match="a quantile lies between 0 and 1"):
        quantile_interval([1.0], q)


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_an_upper_bound_needs_a_number_of_values(q: float, n: int) -> None:
    assert values_for_upper_bound(q) == n
    assert ranks(n, q)[1] == n
    assert ranks(n - 1, q)[1] is None
