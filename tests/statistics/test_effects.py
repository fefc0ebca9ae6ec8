"""Effect sizes: Cohen's table, an exact interval by its definition, what is undefined."""

from __future__ import annotations

import math
import statistics

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import cohen_d_z, cohen_h, matched_odds_ratio


@pytest.mark.parametrize(
    ("first", "second", "h"),
    [
        (0.5, 0.4, 0.201),  # from phi = 2 asin sqrt p in Cohen 1988, table 6.2.2: 1.571 - 1.369
        (0.95, 0.9, 0.192),  # 2.691 - 2.498
        (0.05, 0.1, -0.192),
        (1.0, 0.0, math.pi),
        (0.3, 0.3, 0.0),
    ],
)
def test_cohens_h(first: float, second: float, h: float) -> None:
    assert cohen_h(first, second) == pytest.approx(h, abs=1e-3)


def test_five_points_are_more_near_the_ceiling() -> None:
    assert cohen_h(0.99, 0.94) > 2 * cohen_h(0.55, 0.5)


@pytest.mark.parametrize("proportion", [-0.1, 1.1, math.nan])
def test_what_is_no_proportion_is_refused(proportion: float) -> None:
    with pytest.raises(ValueError, match="a proportion lies between 0 and 1, got"):
        cohen_h(0.5, proportion)


@pytest.mark.parametrize(("b", "c"), [(12, 3), (1, 1), (4, 30)])
def test_the_bounds_of_the_odds_ratio_are_where_the_binomial_tail_is_2_5_percent(
    b: int, c: int
) -> None:
    found = matched_odds_ratio(b, c)
    assert found.ratio == pytest.approx(b / c)
    assert found.interval.low is not None
    assert found.interval.high is not None
    low, high = (bound / (1 + bound) for bound in (found.interval.low, found.interval.high))
    assert scipy.stats.binom.sf(b - 1, b + c, low) == pytest.approx(0.025)
    assert scipy.stats.binom.cdf(b, b + c, high) == pytest.approx(0.025)


def test_a_side_without_wins_has_an_open_end() -> None:
    never_lost, never_won = matched_odds_ratio(5, 0), matched_odds_ratio(0, 5)
    # Clopper and Pearson's bound of 5 of 5 is 0.025^(1/5).
    bound = 0.025**0.2
    assert (never_lost.ratio, never_lost.interval.high) == (None, None)
    assert never_lost.interval.low == pytest.approx(bound / (1 - bound))
    assert (never_won.ratio, never_won.interval.low) == (0.0, 0.0)
    assert never_won.interval.high == pytest.approx((1 - bound) / bound)


def test_no_discordant_item_has_no_odds() -> None:
    found = matched_odds_ratio(0, 0, 0.9)
    assert found.ratio is None
    assert (found.interval.low, found.interval.high, found.interval.level) == (None, None, 0.9)
    with pytest.raises(ValueError, match="successes lie between 0 and n"):
        matched_odds_ratio(-1, 3)


@given(st.integers(1, 50), st.integers(1, 50))
def test_swapping_the_sides_inverts_the_odds(b: int, c: int) -> None:
    one, other = matched_odds_ratio(b, c), matched_odds_ratio(c, b)
    assert one.interval.low is not None
    assert other.interval.high is not None
    assert one.interval.low == pytest.approx(1 / other.interval.high)
    assert one.ratio is not None
    assert one.interval.low < one.ratio


def test_d_z_is_the_mean_in_standard_deviations() -> None:
    differences = [0.2, -0.1, 0.4, 0.0, 0.5]
    expected = statistics.mean(differences) / statistics.stdev(differences)
    assert cohen_d_z(differences) == pytest.approx(expected)


@pytest.mark.parametrize("differences", [[], [0.3], [0.0] * 9, [0.1 + 0.2, 0.3, 0.3]])
def test_d_z_without_variance_is_undefined(differences: list[float]) -> None:
    assert cohen_d_z(differences) is None


def test_d_z_refuses_what_is_missing() -> None:
    with pytest.raises(ValueError, match="finite numbers, got nan; leave out what is missing"):
        cohen_d_z([0.1, math.nan])


def test_the_method_of_the_interval_is_named() -> None:
    expected = Interval(None, None, "clopper-pearson of b / (b + c)")
    assert matched_odds_ratio(0, 0).interval == expected
