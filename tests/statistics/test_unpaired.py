"""Differences between different items: Newcombe's published table, scipy's Welch."""

from __future__ import annotations

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import newcombe_unpaired, welch_interval, welch_test

VALUES = st.lists(st.floats(-10, 10), min_size=2, max_size=20).filter(
    lambda values: max(values) - min(values) > 1e-3
)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998 (unpaired), table II, method 10.
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_newcombes_published_intervals(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert bounds(newcombe_unpaired(*counts)) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_newcombe_is_statsmodels(n_1: int, n_2: int, share_1: float, share_2: float) -> None:
    k_1, k_2 = round(share_1 * n_1), round(share_2 * n_2)
    theirs = confint_proportions_2indep(k_1, n_1, k_2, n_2, method="newcomb")
    low, high = bounds(newcombe_unpaired(k_1, n_1, k_2, n_2))
    assert (low, high) == pytest.approx(theirs, abs=1e-9)
    assert -1 <= low < high <= 1
    assert low <= k_1 / n_1 - k_2 / n_2 <= high
    mirrored = bounds(newcombe_unpaired(k_2, n_2, k_1, n_1))
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


def test_a_side_without_items_has_no_bounds() -> None:
    nothing = Interval(None, None, "newcombe unpaired")
    assert newcombe_unpaired(0, 0, 5, 10) == nothing
    assert newcombe_unpaired(5, 10, 0, 0) == nothing
    with pytest.raises(ValueError, match="got 3 of 2"):
        newcombe_unpaired(3, 2, 1, 2)


@given(VALUES, VALUES)
def test_welch_is_scipys(first: list[float], second: list[float]) -> None:
    theirs = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert welch_test(first, second) == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    interval = theirs.confidence_interval(0.9)
    ours = bounds(welch_interval(first, second, 0.9))
    assert ours == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


def test_one_side_without_variance_is_measured_by_the_other() -> None:
    low, high = bounds(welch_interval([1.0] * 50, [0.2, 0.4, 0.6]))
    # t(2) = 4.302653 and s = 0.2.
    reach = 4.302653 * 0.2 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.6 - reach, 0.6 + reach), abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second"),
    [([], [0.1, 0.2]), ([0.5], [0.1, 0.2]), ([1.0, 1.0], [0.0, 0.0, 0.0]), ([0.3] * 3, [0.3] * 4)],
    ids=["none", "one", "no variance", "all equal"],
)
def test_where_nothing_varies_there_is_neither_p_nor_interval(
    first: list[float], second: list[float]
) -> None:
    """Elsewhere constants give p = 0 or NaN: three items would prove anything."""
    assert welch_test(first, second) is None
    assert welch_interval(first, second) == Interval(None, None, "welch")
    assert welch_test(second, first) is None


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="finite numbers, got nan"):
        welch_test([0.1, math.nan], [0.2, 0.3])
    with pytest.raises(ValueError, match="level lies between 0 and 1, got 95"):
        welch_interval([0.5], [0.1, 0.2], 95)
