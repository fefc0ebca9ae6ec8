"""pass@k, pass^k and flaky items."""

from __future__ import annotations

import itertools

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    clopper_pearson,
    flaky_upper_bound,
    mean_pass_at_k,
    mean_pass_hat_k,
    pass_at_k,
    pass_hat_k,
    wilson,
)


@pytest.mark.parametrize("n", range(1, 7))
def test_both_are_what_all_subsets_of_the_askings_say(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
        assert pass_hat_k(n, c, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


def test_pass_at_k_against_the_product_form_of_its_authors() -> None:
    """1 - prod(1 - k / i for i in n - c + 1 .. n), Chen et al. 2021, figure 3."""
    n, c, k = 200, 13, 100
    product = 1.0
    for i in range(n - c + 1, n + 1):
        product *= 1 - k / i
    assert pass_at_k(n, c, k) == pytest.approx(1 - product, rel=1e-12)


def test_pass_at_k_stays_precise_for_many_askings() -> None:
    assert pass_at_k(10_000, 1, 1) == pytest.approx(1e-4, rel=1e-14)
    assert pass_at_k(10_000, 9_000, 5_000) == 1.0
    assert pass_hat_k(10_000, 9_999, 1) == 0.9999


def test_retrying_until_it_passes_is_what_it_says_and_no_more() -> None:
    """An item right half of the time passes 3 tries in 87.5 %; that is pass@3, not its rate."""
    assert pass_at_k(10_000, 5_000, 3) == pytest.approx(0.875, abs=1e-4)
    assert pass_hat_k(10_000, 5_000, 3) == pytest.approx(0.125, abs=1e-4)
    assert pass_at_k(10_000, 5_000, 1) == 0.5


@pytest.mark.parametrize("function", [pass_at_k, pass_hat_k])
def test_more_than_was_asked_cannot_be_told(function: object) -> None:
    assert callable(function)
    for n, c, k in ((4, 2, 5), (0, 0, 1), (4, 2, 0)):
        with pytest.raises(ValueError, match="k lies between 1 and the number of askings"):
            function(n, c, k)
    with pytest.raises(ValueError, match="lie between 0 and all, got 5 of 4"):
        function(4, 5, 1)


def test_the_mean_rests_on_one_value_a_problem_however_often_it_was_asked() -> None:
    found = mean_pass_at_k([(10, 10), (10, 0), (10, 5)], 1)
    assert found.mean == pytest.approx(0.5)
    assert found.problems == 3
    assert found.interval.low is not None
    assert found.interval.low < 0.15  # 3 clusters, not 30 items


def test_single_askings_are_wilsons_interval() -> None:
    for function in (mean_pass_at_k, mean_pass_hat_k):
        found = function([(1, 1)] * 7 + [(1, 0)] * 3, 1)
        expected = wilson(7, 10)
        assert (found.interval.low, found.interval.high) == pytest.approx(
            (expected.low, expected.high)
        )


def test_all_problems_solved_leave_a_width_and_none_leave_no_figure() -> None:
    solved = mean_pass_hat_k([(5, 5)] * 10, 3)
    assert (solved.mean, solved.interval.high) == (1.0, 1.0)
    assert solved.interval.low == pytest.approx(0.722, abs=1e-3)
    none = mean_pass_at_k([], 3)
    assert (none.mean, none.problems) == (None, 0)
    assert none.interval == Interval(None, None, "scaled wilson")


def test_twenty_passes_still_allow_13_9_percent() -> None:
    assert flaky_upper_bound(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert flaky_upper_bound(0, 20) == pytest.approx(0.1391, abs=1e-4)


def test_the_flaky_bound_is_the_upper_end_of_a_90_percent_interval() -> None:
    assert flaky_upper_bound(3, 17) == pytest.approx(clopper_pearson(3, 17, 0.9).high)


def test_edges_of_the_flaky_bound() -> None:
    assert flaky_upper_bound(0, 0) is None
    assert flaky_upper_bound(4, 4) == 1.0
    assert flaky_upper_bound(0, 1) == pytest.approx(0.95)
    with pytest.raises(ValueError, match="fails lie between 0 and the repeats, got 3 of 2"):
        flaky_upper_bound(3, 2)
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        flaky_upper_bound(0, 2, 95)
