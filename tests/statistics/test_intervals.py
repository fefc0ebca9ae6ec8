"""Intervals of one mean: published values, edges, coverage."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    beta_interval,
    clopper_pearson,
    scaled_wilson,
    t_interval,
    wilson,
)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


UNIT = st.floats(0, 1, allow_subnormal=False)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (30, 30, 0.8865, 1.0),
        (0, 30, 0.0, 0.1135),
        (15, 148, 0.0624, 0.1605),  # Newcombe 1998, table I
        (81, 263, 0.2553, 0.3662),
        (1, 29, 0.0061, 0.1718),
        (188, 200, 0.8981, 0.9653),
        (0, 1, 0.0, 0.7935),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    assert bounds(wilson(successes, n)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),  # Newcombe 1998, table I
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
        (0, 1, 0.0, 0.975),
        (1, 1, 0.025, 1.0),
    ],
)
def test_clopper_pearson(successes: int, n: int, low: float, high: float) -> None:
    assert bounds(clopper_pearson(successes, n)) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("successes", "n", "prior", "low", "high"),
    [
        (0, 1, (1, 1), 1 - 0.975**0.5, 1 - 0.025**0.5),  # Beta(1, 2): P(p > x) = (1 - x)^2
        (1, 1, (1, 1), 0.025**0.5, 0.975**0.5),
        (30, 30, (1, 1), 0.025 ** (1 / 31), 0.975 ** (1 / 31)),
        (0, 9, (1, 1), 1 - 0.975**0.1, 1 - 0.025**0.1),
        (1, 1, (0.5, 0.5), 0.14676, 0.99962),
    ],
)
def test_beta_interval(
    successes: int, n: int, prior: tuple[float, float], low: float, high: float
) -> None:
    assert bounds(beta_interval(successes, n, prior=prior)) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(0, 50), st.integers(1, 50), st.floats(0.5, 0.99))
def test_the_beta_interval_is_scipys_and_mirrors(successes: int, n: int, level: float) -> None:
    successes = min(successes, n)
    low, high = bounds(beta_interval(successes, n, level))
    theirs = scipy.stats.beta(1 + successes, 1 + n - successes).interval(level)
    assert (low, high) == pytest.approx(theirs, abs=1e-9)
    assert bounds(beta_interval(n - successes, n, level)) == pytest.approx((1 - high, 1 - low))


def test_the_prior_is_part_of_the_method_and_must_be_one() -> None:
    assert beta_interval(3, 4).method == "beta(1, 1)"
    assert beta_interval(3, 4, prior=(0.5, 0.5)).method == "beta(0.5, 0.5)"
    for prior in ((0, 1), (1, math.inf), (math.nan, 1)):
        with pytest.raises(ValueError, match="both numbers of a beta prior are positive, got"):
            beta_interval(3, 4, prior=prior)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson, beta_interval])
def test_a_level_in_percent_is_refused(interval: Callable[..., Interval]) -> None:
    with pytest.raises(ValueError, match="level lies between 0 and 1, got 95"):
        interval(3, 4, 95)
    with pytest.raises(ValueError, match="level lies between 0 and 1, got 95"):
        t_interval([0.1, 0.2], 95)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_t_interval_refuses_what_is_missing(value: float) -> None:
    with pytest.raises(ValueError, match=f"finite numbers, got {value}; leave out what is missing"):
        t_interval([0.5, value, 1.0])


def test_a_t_interval_is_not_clipped() -> None:
    """Bounds beyond 1 show that the method fails here; `scaled_wilson` does not."""
    assert bounds(t_interval([1.0] * 9 + [0.0]))[1] > 1
    assert bounds(scaled_wilson([1.0] * 9 + [0.0]))[1] < 1


def test_the_level_is_two_sided() -> None:
    for bound in bounds(wilson(15, 20, level=0.9)):
        assert abs(15 / 20 - bound) == pytest.approx(1.644854 * math.sqrt(bound * (1 - bound) / 20))
    assert wilson(15, 20, level=0.9).level == 0.9
    with pytest.raises(ValueError, match="level lies between 0 and 1"):
        wilson(15, 20, level=95)


@pytest.mark.parametrize("successes", [-1, 4])
def test_more_successes_than_trials_are_refused(successes: int) -> None:
    for interval in (wilson, clopper_pearson, beta_interval):
        with pytest.raises(ValueError, match=f"got {successes} of 3"):
            interval(successes, 3)


def test_nothing_measured_has_no_bounds() -> None:
    empty = (wilson(0, 0), clopper_pearson(0, 0), beta_interval(0, 0))
    for interval in (*empty, scaled_wilson([]), t_interval([])):
        assert (interval.low, interval.high) == (None, None)


def test_one_value_has_no_t_interval_but_a_bounded_one() -> None:
    assert t_interval([0.5]) == Interval(None, None, "t")
    assert bounds(scaled_wilson([1.0])) == pytest.approx(bounds(wilson(1, 1)))
    low, high = bounds(scaled_wilson([0.5]))
    assert low < 0.2
    assert high > 0.8


def test_all_right_has_width_under_wilson_and_none_under_t() -> None:
    assert bounds(t_interval([1.0] * 30)) == (1.0, 1.0)
    assert bounds(scaled_wilson([1.0] * 30)) == bounds(wilson(30, 30))


def test_t_interval_is_students() -> None:
    # Mean 5, s = sqrt(20/3), t(3) = 3.182446.
    assert bounds(t_interval([2, 4, 6, 8])) == pytest.approx((0.8914, 9.1086), abs=1e-4)


def test_scaled_wilson_is_the_formula_written_out() -> None:
    scores = [0.2, 0.5, 0.5, 0.9, 1.0]
    more = [*scores, 0.0, 1.0]
    mean = sum(more) / 7
    variance = sum((score - mean) ** 2 for score in more) / 6
    n, p, z = 5 * max(1, mean * (1 - mean) / variance), sum(scores) / 5, 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert bounds(scaled_wilson(scores)) == pytest.approx((centre - reach, centre + reach))


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_scaled_wilson_takes_scores_between_0_and_1(score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1; rescale"):
        scaled_wilson([0.5, score])


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_scaled_wilson_of_right_and_wrong_is_wilson(outcomes: list[bool]) -> None:
    expected = bounds(wilson(sum(outcomes), len(outcomes)))
    assert bounds(scaled_wilson([float(each) for each in outcomes])) == pytest.approx(expected)


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_is_symmetric_and_contains_the_share(successes: int, n: int) -> None:
    successes = min(successes, n)
    low, high = bounds(wilson(successes, n))
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high
    assert bounds(wilson(n - successes, n)) == pytest.approx((1 - high, 1 - low))


@given(st.lists(UNIT, min_size=1, max_size=30), st.randoms())
def test_the_order_of_scores_changes_no_bit(scores: list[float], rng: random.Random) -> None:
    shuffled = rng.sample(scores, len(scores))
    assert scaled_wilson(scores) == scaled_wilson(shuffled)
    assert t_interval(scores) == t_interval(shuffled)


@given(st.lists(UNIT, min_size=1, max_size=30))
def test_scaled_wilson_contains_the_mean_and_mirrors(scores: list[float]) -> None:
    low, high = bounds(scaled_wilson(scores))
    assert 0 <= low <= math.fsum(scores) / len(scores) + 1e-12
    assert math.fsum(scores) / len(scores) - 1e-12 <= high <= 1
    mirrored = bounds(scaled_wilson([1 - score for score in scores]))
    assert mirrored == pytest.approx((1 - high, 1 - low))


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize(("n", "expected"), [(20, 0.953), (30, 0.952), (100, 0.951)])
def test_wilson_covers_95_percent_on_average_over_good_models(n: int, expected: float) -> None:
    """Exact, over true shares from 0.5 to 0.995; a t interval covers 0.868 at n = 20."""
    intervals = [bounds(wilson(k, n)) for k in range(n + 1)]
    shares = [0.5 + 0.005 * step for step in range(100)]
    covered = [
        sum(weight for (a, b), weight in zip(intervals, binomial(n, p), strict=True) if a <= p <= b)
        for p in shares
    ]
    assert math.fsum(covered) / len(covered) == pytest.approx(expected, abs=0.003)


def nearly_all_ones(rng: random.Random) -> float:
    return 1.0 if rng.random() < 0.92 else rng.random()


def ones_zeros_and_rest(rng: random.Random) -> float:
    draw = rng.random()
    return 1.0 if draw < 0.6 else 0.0 if draw < 0.75 else rng.random()


@pytest.mark.parametrize(("draw", "mean"), [(nearly_all_ones, 0.96), (ones_zeros_and_rest, 0.725)])
def test_scaled_wilson_covers_bounded_scores_at_30_items(draw: object, mean: float) -> None:
    assert callable(draw)
    rng = random.Random(20)
    hits = 0
    for _ in range(2000):
        scores: Sequence[float] = [draw(rng) for _ in range(30)]
        low, high = bounds(scaled_wilson(scores))
        hits += low <= mean <= high
    assert hits / 2000 > 0.94
