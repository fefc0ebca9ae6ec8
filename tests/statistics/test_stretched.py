"""Intervals of the mean of differences in [-1, 1]."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import scaled_wilson
from pytest_llmeval.statistics.stretched import skewed_wilson, stretched_wilson


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def test_it_is_the_scaled_wilson_interval_of_the_scores_between_0_and_1() -> None:
    low, high = bounds(scaled_wilson([0.5, 0.75, 0.0, 1.0], 0.9))
    found = stretched_wilson([0.0, 0.5, -1.0, 1.0], 0.9)
    assert bounds(found) == pytest.approx((2 * low - 1, 2 * high - 1))
    assert (found.method, found.level) == ("scaled wilson", 0.9)


def test_it_has_a_width_where_nothing_varies() -> None:
    low, high = bounds(stretched_wilson([0.01] * 5))
    assert low < -0.3
    assert high > 0.3


@pytest.mark.parametrize("interval", [stretched_wilson, skewed_wilson])
def test_nothing_has_no_bounds_and_one_difference_has_wide_ones(interval: object) -> None:
    assert callable(interval)
    assert interval([]) == Interval(None, None, "scaled wilson")
    assert bounds(interval([0.0])) == pytest.approx((-0.891, 0.891), abs=1e-3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval([1.5, 0.0])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_the_skewed_interval_holds_the_other_and_turns_with_the_sides(
    differences: list[float],
) -> None:
    low, high = bounds(stretched_wilson(differences, 0.9))
    skewed_low, skewed_high = bounds(skewed_wilson(differences, 0.9))
    assert -1 <= skewed_low <= low + 1e-12
    assert high - 1e-12 <= skewed_high <= 1
    turned = bounds(skewed_wilson([-each for each in differences], 0.9))
    assert turned == pytest.approx((-skewed_high, -skewed_low), abs=1e-9)


def test_only_the_side_of_the_longer_tail_moves() -> None:
    """Ten of 300 items lost: m3 / s^2 of the 302 with one lost and one won more."""
    differences = [-1.0] * 10 + [0.0] * 290
    low, high = bounds(stretched_wilson(differences, 0.9))
    skewed_low, skewed_high = bounds(skewed_wilson(differences, 0.9))
    assert skewed_high == high
    mean = -10 / 302
    cubes = 11 * (-1 - mean) ** 3 + 290 * (-mean) ** 3 + (1 - mean) ** 3
    squares = 11 * (-1 - mean) ** 2 + 290 * mean**2 + (1 - mean) ** 2
    shift = (1 + 2 * 1.6448536**2) / 1800 * (cubes / 302) / (squares / 301)
    assert skewed_low - low == pytest.approx(shift)
    assert math.isclose(shift, -0.00258, abs_tol=2e-4)
