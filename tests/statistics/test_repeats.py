"""Repeats: the formulas written out, both targets, coverage of each."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import cluster_interval, fixed_set_difference, repeats_interval
from pytest_llmeval.statistics.intervals import t_quantile

REPEATS = st.lists(
    st.lists(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1), min_size=1, max_size=5),
    min_size=1,
    max_size=15,
)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def asked(seed: int, items: int, repeats: int) -> list[list[float]]:
    rng = random.Random(seed)
    chances = [rng.betavariate(0.6, 0.5) for _ in range(items)]
    return [[float(rng.random() < chance) for _ in range(repeats)] for chance in chances]


def test_both_standard_errors_are_the_formulas_written_out() -> None:
    repeats = asked(1, items=12, repeats=5)
    found = repeats_interval(repeats)
    means = [statistics.mean(scores) for scores in repeats]
    assert found.se_like_these == pytest.approx(statistics.stdev(means) / math.sqrt(12))
    noise = sum(statistics.variance(scores) / 5 for scores in repeats)
    assert found.se_fixed_set == pytest.approx(math.sqrt(noise) / 12)
    assert found.mean == pytest.approx(statistics.mean(means))
    assert (found.items, found.trials) == (12, 60)


def test_a_small_example_by_hand() -> None:
    """Means 1/2, 1 and 0 from two repeats; one item varies, with s^2 = 1/2."""
    found = repeats_interval([[1, 0], [1, 1], [0, 0]])
    assert found.se_like_these == pytest.approx(math.sqrt(0.25 / 3))
    assert found.se_fixed_set == pytest.approx(math.sqrt(0.5 / 2) / 3)
    assert found.within == pytest.approx(1 / 6)  # pooled over the items: (1/2 + 0 + 0) / 3
    assert found.between == pytest.approx(0.25 - 1 / 12)  # the means' variance without its noise
    # One item speaks of noise: t(1) = 12.7062.
    reach = 12.7062 / 6
    assert bounds(found.fixed_set) == pytest.approx((0.5 - reach, 0.5 + reach), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_item_is_the_cluster(seed: int) -> None:
    """With equally many repeats, items like these are what `cluster_interval` says of them."""
    repeats = asked(seed, items=15, repeats=4)
    names = [item for item, scores in enumerate(repeats) for _ in scores]
    clustered = cluster_interval([score for scores in repeats for score in scores], names)
    found = repeats_interval(repeats)
    assert bounds(found.like_these) == pytest.approx(bounds(clustered.interval))
    assert found.like_these.method == clustered.interval.method
    assert found.se_like_these == pytest.approx(clustered.standard_error)
    assert found.mean == pytest.approx(clustered.mean)


def test_items_weigh_the_same_however_often_they_were_answered() -> None:
    found = repeats_interval([[1.0] * 8, [0.0, 0.0], [1.0, 0.0]])
    assert found.mean == 0.5
    means = [1.0, 0.0, 0.5]
    assert found.se_like_these == pytest.approx(statistics.stdev(means) / math.sqrt(3))
    assert found.se_fixed_set == pytest.approx(math.sqrt(0.5 / 2) / 3)
    assert found.within == pytest.approx(1 * 0.5 / (7 + 1 + 1))


def test_an_item_answered_once_has_the_pooled_variance_of_the_others() -> None:
    found = repeats_interval([[1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [1.0]])
    pooled = (1 * 0.5 + 3 * 0.25) / 4
    assert found.within == pytest.approx(pooled)
    assert found.se_fixed_set == pytest.approx(math.sqrt(0.5 / 2 + 0.25 / 4 + pooled) / 3)


def test_degrees_of_freedom_are_satterthwaites() -> None:
    """All items as noisy as each other give n (K - 1) of them."""
    found = repeats_interval([[1.0, 0.0, 0.5]] * 6)
    assert found.se_fixed_set is not None
    reach = t_quantile(12, 0.95) * found.se_fixed_set
    assert bounds(found.fixed_set) == pytest.approx((0.5 - reach, 0.5 + reach))


def test_without_a_second_repeat_nothing_is_known_of_noise() -> None:
    found = repeats_interval([[1.0], [0.0], [1.0]])
    assert (found.se_fixed_set, found.within, found.between) == (None, None, None)
    assert (found.fixed_set.low, found.fixed_set.high) == (None, None)
    assert found.like_these.low is not None


def test_repeats_that_never_differ_have_an_error_of_0_but_no_bounds() -> None:
    found = repeats_interval([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    assert (found.se_fixed_set, found.within) == (0.0, 0.0)
    assert (found.fixed_set.low, found.fixed_set.high) == (None, None)
    assert found.between == pytest.approx(1 / 3)


def test_one_item_says_nothing_of_others_but_something_of_itself() -> None:
    found = repeats_interval([[1.0, 0.0, 1.0, 1.0]])
    assert (found.mean, found.se_like_these, found.between) == (0.75, None, None)
    assert (found.like_these.low, found.like_these.high) == (None, None)
    assert found.se_fixed_set == pytest.approx(math.sqrt(0.25 / 4))
    assert found.fixed_set.low is not None


def test_no_items_have_no_mean() -> None:
    found = repeats_interval([])
    assert (found.mean, found.items, found.trials) == (None, 0, 0)
    assert (found.se_like_these, found.se_fixed_set) == (None, None)
    assert (found.like_these.low, found.fixed_set.low) == (None, None)


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="at least one repeat; leave out those without an answer"):
        repeats_interval([[1.0], []])
    for score in (2.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1; rescale"):
            repeats_interval([[1.0, score]])
    with pytest.raises(ValueError, match="same items, got 1 and 2"):
        fixed_set_difference([[1.0]], [[1.0], [0.0]])


@given(REPEATS, st.randoms())
def test_the_order_of_items_and_repeats_changes_no_bit(
    repeats: list[list[float]], rng: random.Random
) -> None:
    moved = [rng.sample(scores, len(scores)) for scores in rng.sample(repeats, len(repeats))]
    assert repeats_interval(repeats) == repeats_interval(moved)


@given(REPEATS)
def test_both_intervals_contain_the_mean(repeats: list[list[float]]) -> None:
    found = repeats_interval(repeats)
    assert found.mean is not None
    for interval in (found.like_these, found.fixed_set):
        if interval.low is not None and interval.high is not None:
            assert interval.low < interval.high
            assert interval.low - 1e-12 <= found.mean <= interval.high + 1e-12


def test_each_interval_covers_its_own_target() -> None:
    """40 items, 4 repeats. Repeats taken for items cover items like these in 77 % of cases."""
    rng = random.Random(1)
    fixed = like = naive = 0
    for _ in range(1000):
        chances = [rng.betavariate(0.6, 0.4) for _ in range(40)]
        repeats = [[float(rng.random() < chance) for _ in range(4)] for chance in chances]
        found = repeats_interval(repeats)
        low, high = bounds(found.fixed_set)
        fixed += low <= statistics.fmean(chances) <= high
        low, high = bounds(found.like_these)
        like += low <= 0.6 <= high
        flat = [score for scores in repeats for score in scores]
        low, high = bounds(cluster_interval(flat, range(160)).interval)
        naive += low <= 0.6 <= high
    assert fixed / 1000 == pytest.approx(0.95, abs=0.03)
    assert like / 1000 == pytest.approx(0.95, abs=0.03)
    assert naive / 1000 == pytest.approx(0.77, abs=0.04)


def test_the_split_recovers_both_variances() -> None:
    """Of a beta-binomial the variance of chances is ab / ((a + b)^2 (a + b + 1))."""
    found = repeats_interval(asked(3, items=4000, repeats=3))
    mean = 0.6 / 1.1
    between = mean * (1 - mean) / 2.1
    assert found.between == pytest.approx(between, rel=0.06)
    assert found.within == pytest.approx(mean * (1 - mean) - between, rel=0.06)


# Differences --------------------------------------------------------------------------------------


def test_the_noise_of_a_difference_is_that_of_both_sides() -> None:
    first, second = asked(5, items=20, repeats=4), asked(6, items=20, repeats=6)
    found = fixed_set_difference(first, second)
    one, other = repeats_interval(first), repeats_interval(second)
    assert one.mean is not None
    assert other.mean is not None
    assert one.se_fixed_set is not None
    assert other.se_fixed_set is not None
    assert found.difference == pytest.approx(one.mean - other.mean)
    assert found.standard_error == pytest.approx(math.hypot(one.se_fixed_set, other.se_fixed_set))
    low, high = bounds(found.interval)
    assert (low + high) / 2 == pytest.approx(found.difference)
    swapped = fixed_set_difference(second, first)
    assert bounds(swapped.interval) == pytest.approx((-high, -low))


def test_equally_noisy_sides_add_their_degrees_of_freedom() -> None:
    found = fixed_set_difference([[1.0, 0.0]] * 7, [[0.0, 1.0]] * 7)
    error = math.sqrt(2 * 7 * 0.25) / 7
    assert found.difference == 0
    assert bounds(found.interval)[1] == pytest.approx(t_quantile(14, 0.95) * error)


def test_one_quiet_side_leaves_the_noise_of_the_other() -> None:
    noisy = [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    found = fixed_set_difference([[1.0, 1.0], [1.0, 1.0]], noisy)
    alone = repeats_interval(noisy)
    low, high = bounds(alone.fixed_set)
    assert found.standard_error == pytest.approx(alone.se_fixed_set)
    assert bounds(found.interval) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ([], [], None),
        ([[1.0], [0.0]], [[1.0, 0.0], [1.0, 0.0]], None),
        ([[1.0, 1.0]], [[0.0, 0.0]], 0.0),
    ],
    ids=["no items", "one side asked once", "no noise seen"],
)
def test_a_difference_whose_noise_is_unknown_has_no_bounds(
    first: list[list[float]], second: list[list[float]], error: float | None
) -> None:
    found = fixed_set_difference(first, second)
    assert (found.interval.low, found.interval.high) == (None, None)
    assert found.standard_error == error
