"""Two one-sided tests of equivalence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import tango_interval, tost_paired, tost_paired_binary


@given(
    st.integers(0, 25), st.integers(0, 25), st.integers(1, 60), st.sampled_from((0.05, 0.1, 0.2))
)
def test_binary_equivalence_is_tangos_90_percent_interval_within_the_margins(
    b: int, c: int, same: int, margin: float
) -> None:
    found = tost_paired_binary(b, c, b + c + same, margin)
    assert found.interval == tango_interval(b, c, b + c + same, level=0.9)
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert found.equivalent == (found.interval.low > -margin and found.interval.high < margin)


def test_the_two_one_sided_p_values_of_a_paired_table() -> None:
    """Score statistics 2.8959 and -2.4380: 5 and 4 of 100 items, 10 points."""
    found = tost_paired_binary(5, 4, 100, 0.1)
    assert found.difference == 0.01
    assert (found.p_above, found.p_below) == pytest.approx((0.001898, 0.007398), abs=1e-6)
    assert found.p == found.p_below
    assert found.equivalent


def test_few_items_show_no_equivalence_even_without_a_difference() -> None:
    assert not tost_paired_binary(0, 0, 30, 0.05).equivalent
    assert tost_paired_binary(0, 0, 100, 0.05).equivalent


def test_swapping_the_sides_swaps_the_two_tests() -> None:
    one, other = tost_paired_binary(9, 3, 80, 0.1), tost_paired_binary(3, 9, 80, 0.1)
    assert (one.p_above, one.p_below) == pytest.approx((other.p_below, other.p_above))


def test_no_items_have_no_p_and_show_nothing() -> None:
    found = tost_paired_binary(0, 0, 0, 0.1)
    assert (found.p, found.difference, found.interval) == (
        None,
        None,
        Interval(None, None, "tango", 0.9),
    )
    assert not found.equivalent


def test_real_equivalence_against_a_reference() -> None:
    """Statsmodels 0.14 `ttost_paired` of these differences and -0.05, 0.05."""
    found = tost_paired([0.01, -0.02, 0.0, 0.03, 0.01], 0.05)
    assert (found.p_above, found.p_below) == pytest.approx((0.00116106, 0.00281593), abs=1e-7)
    assert found.interval.level == 0.9
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (-0.011319, 0.023319), abs=1e-6
    )
    assert found.equivalent


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=20), st.sampled_from((0.05, 0.3)))
def test_real_equivalence_is_the_90_percent_t_interval_within_the_margins(
    differences: list[float], margin: float
) -> None:
    found = tost_paired(differences, margin)
    low, high = found.interval.low, found.interval.high
    if low is not None and high is not None:
        assert found.equivalent == (low > -margin and high < margin)


@given(st.integers(2, 300), st.floats(-1, 1), st.sampled_from((0.02, 0.1, 0.4)), st.booleans())
def test_differences_that_are_all_the_same_are_decided_by_the_stretched_wilson_interval(
    n: int, difference: float, margin: float, is_none: bool
) -> None:
    found = tost_paired([0.0 if is_none else difference] * n, margin)
    low, high = found.interval.low, found.interval.high
    assert found.test == "tost scaled wilson"
    assert found.interval.method == "scaled wilson"
    assert low is not None
    assert high is not None
    assert found.equivalent == (low > -margin and high < margin)


def test_few_differences_that_are_all_the_same_show_no_equivalence() -> None:
    """They say nothing of the losses that a few items do not show; the sign test said 0.03."""
    assert not tost_paired([0.0] * 5, 0.1).equivalent
    assert not tost_paired([0.01] * 6, 0.05).equivalent
    assert tost_paired([0.0] * 24, 0.1).equivalent


def test_equivalence_is_claimed_of_rare_losses_in_at_most_9_percent() -> None:
    """Losses of 1 of which n items show none: the sign test claimed it in 59 % from 5 items on."""
    for margin in (0.02, 0.05, 0.1, 0.2):
        fewest = next(n for n in range(2, 300) if tost_paired([0.0] * n, margin).equivalent)
        assert (1 - margin) ** fewest < 0.1


@pytest.mark.parametrize(("difference", "margin"), [(1.5, 2.0), (0.5, 1.0), (-3.0, 0.1)])
def test_same_differences_without_bounds_have_no_p(difference: float, margin: float) -> None:
    found = tost_paired([difference] * 40, margin)
    assert (found.p, found.equivalent, found.interval.low) == (None, False, None)
    assert found.difference == difference


def test_what_is_no_number_and_no_alpha_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="finite numbers, got nan; leave out what is missing"):
        tost_paired([0.1, float("nan")], 0.05)
    with pytest.raises(ValueError, match=r"alpha lies between 0 and 1, such as 0\.05; got 5"):
        tost_paired([0.1, 0.2], 0.05, alpha=5)


@pytest.mark.parametrize("differences", [[], [0.01]])
def test_fewer_than_two_differences_have_no_p(differences: list[float]) -> None:
    found = tost_paired(differences, 0.05)
    assert (found.p, found.equivalent, found.n) == (None, False, len(differences))


@pytest.mark.parametrize("margin", [0, -0.02, float("inf"), float("nan")])
def test_a_margin_that_is_none_is_refused_in_words(margin: float) -> None:
    with pytest.raises(ValueError, match="largest difference that does not matter and larger"):
        tost_paired([0.1, 0.2], margin)
    with pytest.raises(ValueError, match="No number of items shows that there is no difference"):
        tost_paired_binary(1, 2, 9, margin)


def test_a_margin_of_all_there_is_is_refused_for_shares() -> None:
    with pytest.raises(ValueError, match=r"lies below 1, such as 0\.02 for 2 points; got 2"):
        tost_paired_binary(1, 2, 9, 2)


def test_equivalence_is_claimed_wrongly_in_at_most_5_percent() -> None:
    """Exact at n = 60, 30 % discordance and a true difference of the margin, 10 points."""
    n, b_share, c_share = 60, 0.2, 0.1
    wrong = sum(
        math.comb(n, b) * math.comb(n - b, c) * b_share**b * c_share**c * 0.7 ** (n - b - c)
        for b in range(31)
        for c in range(25)
        if tost_paired_binary(b, c, n, 0.1).equivalent
    )
    assert wrong < 0.055
