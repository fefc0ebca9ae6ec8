"""Paired tests and intervals: published examples, slow independent versions, error rates."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    mcnemar_exact,
    mcnemar_midp,
    newcombe_paired,
    paired_t_interval,
    sign_flip_test,
    t_interval,
    tango_interval,
)
from pytest_llmeval.statistics.paired import sign_flip_tests

COUNTS = st.integers(0, 40)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


# Right or wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("b", "c", "midp", "exact"),
    [
        (1, 7, 0.0391, 0.0703),  # Fagerland, Lydersen & Laake 2013
        (59, 6, 1.6e-12, 3.2e-12),
        (0, 5, 0.03125, 0.0625),
        (0, 1, 0.5, 1.0),
        (5, 5, 0.8770, 1.0),
        (0, 0, 1.0, 1.0),
    ],
)
def test_mcnemar(b: int, c: int, midp: float, exact: float) -> None:
    assert mcnemar_midp(b, c) == pytest.approx(midp, rel=0.9 if midp < 1e-9 else 2e-3)
    assert mcnemar_exact(b, c) == pytest.approx(exact, rel=0.9 if exact < 1e-9 else 2e-3)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_binomial_sum_written_out(b: int, c: int) -> None:
    n, m = b + c, min(b, c)
    at = math.comb(n, m) / 2**n
    below = sum(math.comb(n, k) for k in range(m + 1)) / 2**n
    expected = 1.0 if n == 0 else 1 - at / 2 if b == c else 2 * below - at
    assert mcnemar_midp(b, c) == pytest.approx(expected, rel=1e-12)
    assert mcnemar_midp(b, c) == mcnemar_midp(c, b)
    assert mcnemar_exact(b, c) == pytest.approx(min(1.0, 2 * below), rel=1e-12)


def test_mcnemar_of_many_discordant_items_stays_precise() -> None:
    # Normal approximation of the mid-p: z = 100 / sqrt(8100).
    assert mcnemar_midp(4000, 4100) == pytest.approx(math.erfc(100 / math.sqrt(2 * 8100)), rel=1e-3)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        mcnemar_midp(-1, 3)
    for b, c, n in ((-1, 0, 5), (3, 3, 5)):
        with pytest.raises(ValueError, match="do not fit into 5"):
            tango_interval(b, c, n)


@pytest.mark.parametrize(
    ("b", "c", "both", "neither", "tango", "newcombe"),
    [
        # Airway reactivity before and after transplantation: Fagerland, Lydersen & Laake 2014.
        (1, 7, 1, 12, (-0.517, -0.026), (-0.507, -0.026)),
        # Newcombe 1998 (paired), table II.
        (12, 2, 36, 0, (0.0611, 0.3447), (0.0569, 0.3404)),
    ],
)
def test_published_intervals_of_a_paired_difference(
    b: int,
    c: int,
    both: int,
    neither: int,
    tango: tuple[float, float],
    newcombe: tuple[float, float],
) -> None:
    n = b + c + both + neither
    assert bounds(tango_interval(b, c, n)) == pytest.approx(tango, abs=5e-4)
    assert bounds(newcombe_paired(b, c, both, neither)) == pytest.approx(newcombe, abs=5e-4)


def slow_tango_statistic(difference: float, b: int, c: int, n: int) -> float:
    """The score statistic with q found by maximising the likelihood on a grid, refined."""

    def likelihood(q: float) -> float:
        cells = ((b, q + difference), (c, q), (n - b - c, 1 - 2 * q - difference))
        if any(p < 0 or (count and p <= 0) for count, p in cells):
            return -math.inf
        return sum(count * math.log(p) for count, p in cells if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    for _ in range(8):
        step = (high - low) / 40
        best = max((low + step * i for i in range(41)), key=likelihood)
        low, high = max(low, best - step), min(high, best + step)
    q = (low + high) / 2
    return (b - c - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference)))


@pytest.mark.parametrize(
    ("b", "c", "n"), [(1, 7, 21), (12, 2, 50), (3, 3, 12), (60, 20, 200), (4, 0, 30), (0, 0, 25)]
)
def test_tango_bounds_are_where_the_score_statistic_is_z(b: int, c: int, n: int) -> None:
    low, high = bounds(tango_interval(b, c, n))
    assert slow_tango_statistic(low, b, c, n) == pytest.approx(1.959964, abs=2e-3)
    assert slow_tango_statistic(high, b, c, n) == pytest.approx(-1.959964, abs=2e-3)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_swapping_the_sides_mirrors_the_interval(b: int, c: int, both: int, neither: int) -> None:
    n = b + c + both + neither
    if n == 0:
        assert tango_interval(0, 0, 0) == Interval(None, None, "tango")
        assert newcombe_paired(0, 0, 0, 0) == Interval(None, None, "newcombe")
        return
    low, high = bounds(tango_interval(b, c, n))
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert low < high
    assert bounds(tango_interval(c, b, n)) == pytest.approx((-high, -low))
    low, high = bounds(newcombe_paired(b, c, both, neither))
    assert bounds(newcombe_paired(c, b, both, neither)) == pytest.approx((-high, -low))
    assert bounds(newcombe_paired(b, c, neither, both)) == pytest.approx((low, high))


def test_no_discordant_items_still_leave_a_width() -> None:
    assert bounds(tango_interval(0, 0, 1)) == pytest.approx((-0.7935, 0.7935), abs=1e-4)
    assert bounds(tango_interval(0, 0, 100)) == pytest.approx((-0.0370, 0.0370), abs=1e-4)
    assert bounds(tango_interval(5, 0, 5)) == pytest.approx((0.1310, 1.0), abs=1e-4)


def discordant_pairs(n: int, psi: float, delta: float) -> list[tuple[int, int, float]]:
    """Every (b, c) of n items that matters, with its probability."""
    pb, pc = (psi + delta) / 2, (psi - delta) / 2
    return [
        (b, c, math.comb(n, b) * math.comb(n - b, c) * pb**b * pc**c * (1 - psi) ** (n - b - c))
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if b + c < 25
    ]


def test_midp_keeps_its_error_rate_and_sees_more_than_the_exact_test() -> None:
    """Exact, at n = 30 and 20 % discordance: 0.031 against 0.013."""
    tables = discordant_pairs(30, 0.2, 0.0)
    midp = sum(weight for b, c, weight in tables if mcnemar_midp(b, c) < 0.05)
    exact = sum(weight for b, c, weight in tables if mcnemar_exact(b, c) < 0.05)
    assert (midp, exact) == pytest.approx((0.031, 0.013), abs=1e-3)


@pytest.mark.parametrize(("psi", "delta"), [(0.2, 0.0), (0.2, 0.1), (0.1, 0.05)])
def test_tango_covers_at_least_94_percent_of_30_pairs(psi: float, delta: float) -> None:
    covered = 0.0
    for b, c, weight in discordant_pairs(30, psi, delta):
        if weight > 1e-9:
            low, high = bounds(tango_interval(b, c, 30))
            covered += weight * (low <= delta <= high)
    assert covered > 0.94


# Graded -------------------------------------------------------------------------------------------


def every_sign(differences: Sequence[float]) -> float:
    """The permutation test by going through all sign vectors."""
    observed = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(each >= observed - 1e-9 for each in sums) / len(sums)


@given(st.lists(st.integers(-4, 4).map(lambda k: k / 4), min_size=1, max_size=8))
def test_the_sign_flip_test_goes_through_all_signs(differences: list[float]) -> None:
    p = sign_flip_test(differences)
    assert p == pytest.approx(every_sign(differences))
    assert sign_flip_test([-d for d in differences]) == p
    assert sign_flip_test([*differences, 0.0]) == p


def test_equal_differences_are_the_sign_test_not_a_p_of_zero() -> None:
    assert sign_flip_test([0.5, 0.5, 0.5]) == 0.25
    assert sign_flip_test([0.1] * 40) == pytest.approx(2 / 2**40)
    assert sign_flip_test([0.5] * 30 + [-0.5] * 10) == mcnemar_exact(30, 10)


def test_edges_of_the_sign_flip_test() -> None:
    assert sign_flip_test([]) is None
    assert sign_flip_test([0.0, 0.0]) == 1.0
    assert sign_flip_test([0.7]) == 1.0


def test_many_differences_are_drawn_with_a_seed_and_p_is_never_zero() -> None:
    rng = random.Random(3)
    clear = [0.5 + 0.1 * rng.random() for _ in range(60)]
    assert sign_flip_test(clear, seed=1) == 1 / 10_001
    assert sign_flip_test(clear, seed=1, resamples=99) == 0.01
    vague = [rng.random() - 0.45 for _ in range(60)]
    p = sign_flip_test(vague, seed=1)
    assert p is not None
    assert p == sign_flip_test(vague, seed=1)
    assert p != sign_flip_test(vague, seed=2)


def test_drawn_signs_agree_with_all_signs() -> None:
    rng = random.Random(5)
    differences = [rng.random() - 0.35 for _ in range(20)]
    exact = sign_flip_test(differences)
    drawn = sign_flip_test([*differences, 1e-11], seed=4)  # one more than are gone through
    assert drawn is not None
    assert round(drawn * 10_001, 6).is_integer()
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.015)


def test_comparisons_that_share_their_signs_give_what_each_gives_alone() -> None:
    rng = random.Random(6)
    columns = [[rng.random() - 0.4 for _ in range(n)] for n in (50, 300, 21)]
    together = sign_flip_tests([*columns, [], [0.1, 0.1]], seed=9)
    assert together == [*(sign_flip_test(column, seed=9) for column in columns), None, 0.5]


def test_neither_order_nor_sides_nor_items_without_a_difference_matter_to_drawn_signs() -> None:
    rng = random.Random(11)
    differences = [rng.random() - 0.47 for _ in range(120)]
    p = sign_flip_test(differences)
    assert p is not None
    assert 0.1 < p < 0.9
    for _ in range(3):
        rng.shuffle(differences)
        assert sign_flip_test(differences) == p
    assert sign_flip_test([-each for each in differences]) == p
    assert sign_flip_test([*[0.0] * 500, *differences]) == p


def test_the_sign_flip_test_keeps_its_error_rate() -> None:
    rng = random.Random(8)
    alarms = 0
    for _ in range(1000):
        p = sign_flip_test([rng.choice((0, 0, 0.25, 0.5, -0.25, -0.5)) for _ in range(12)])
        alarms += p is not None and p < 0.05
    assert alarms / 1000 < 0.065


def test_the_paired_t_interval_is_t_on_the_differences() -> None:
    differences = [0.5, 0.0, -0.25, 0.5]
    assert bounds(paired_t_interval(differences)) == bounds(t_interval(differences))
    assert paired_t_interval(differences).method == "paired t"
    assert paired_t_interval([0.5]) == Interval(None, None, "paired t")
