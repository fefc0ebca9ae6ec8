"""Paired differences in clusters: the test by all flips, the interval, error rates."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    cluster_sign_flip_test,
    cr1_interval,
    paired_cluster_interval,
    paired_t_interval,
    sign_flip_test,
)

ROWS = st.lists(
    st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.3, 1.0]), st.integers(0, 7)),
    min_size=1,
    max_size=30,
)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


@given(ROWS)
def test_the_exact_p_is_the_share_of_all_flips_of_clusters(rows: list[tuple[float, int]]) -> None:
    sums: dict[int, float] = {}
    for difference, cluster in rows:
        sums[cluster] = sums.get(cluster, 0.0) + difference
    observed = abs(sum(sums.values()))
    flips = list(itertools.product([-1, 1], repeat=len(sums)))
    as_far = sum(
        abs(sum(sign * each for sign, each in zip(signs, sums.values(), strict=True)))
        >= observed - 1e-9
        for signs in flips
    )
    p = cluster_sign_flip_test([difference for difference, _ in rows], [name for _, name in rows])
    assert p == pytest.approx(as_far / len(flips))


@given(st.lists(st.floats(-1, 1), max_size=12))
def test_one_item_in_each_cluster_is_the_sign_flip_test(differences: list[float]) -> None:
    p = cluster_sign_flip_test(differences, range(len(differences)))
    assert p == pytest.approx(sign_flip_test(differences))


def test_many_items_in_few_clusters_prove_little() -> None:
    """Three texts with ten questions each: no p below 2 / 2^3 is possible."""
    differences, clusters = [0.9] * 10 + [0.5] * 10 + [0.7] * 10, [i // 10 for i in range(30)]
    assert cluster_sign_flip_test(differences, clusters) == 0.25
    item_level = sign_flip_test(differences)
    assert item_level is not None
    assert item_level < 0.001


def test_more_than_twenty_clusters_are_drawn_and_never_give_0() -> None:
    rng = random.Random(1)
    differences = [0.5 + 0.4 * rng.random() for _ in range(90)]
    clusters = [i // 3 for i in range(90)]
    assert cluster_sign_flip_test(differences, clusters, resamples=999) == 1 / 1000
    # Clusters whose differences cancel are 0 and need no sign: 10 are left, so it is exact.
    differences = [0.1, -0.1, 0.0] * 20 + differences[:30]
    assert cluster_sign_flip_test(differences, clusters) == 2 / 2**10


def test_no_items_have_no_p_and_one_cluster_has_1() -> None:
    assert cluster_sign_flip_test([], []) is None
    assert cluster_sign_flip_test([1.0, 1.0, 1.0], ["text"] * 3) == 1.0


def test_the_interval_is_cr1_of_the_differences() -> None:
    rng = random.Random(5)
    differences = [rng.choice([-1.0, 0.0, 0.0, 0.5, 1.0]) for _ in range(40)]
    clusters = [i // 4 for i in range(40)]
    interval = paired_cluster_interval(differences, clusters)
    assert interval == cr1_interval(differences, clusters)
    singles = bounds(paired_cluster_interval(differences, range(40)))
    assert singles == pytest.approx(bounds(paired_t_interval(differences)))


@pytest.mark.parametrize("difference", [0.0, 1.0, -1.0, 0.25])
def test_differences_that_are_all_equal_have_an_interval_with_width(difference: float) -> None:
    interval = paired_cluster_interval([difference] * 24, [i // 2 for i in range(24)])
    low, high = bounds(interval)
    assert interval.method == "clustered wilson"
    assert -1 <= low <= difference <= high <= 1
    assert high - low > 0.1


def test_fewer_than_two_clusters_have_no_bounds() -> None:
    for differences, clusters in (([], []), ([1.0, 0.0], ["a", "a"])):
        assert paired_cluster_interval(differences, clusters) == Interval(None, None, "cr1")


def test_what_is_no_difference_of_scores_is_refused() -> None:
    for difference in (1.5, math.nan):
        with pytest.raises(ValueError, match="lie between -1 and 1"):
            paired_cluster_interval([0.5, difference], ["a", "b"])
    with pytest.raises(ValueError, match="finite numbers, got nan"):
        cluster_sign_flip_test([0.5, math.nan], ["a", "b"])


@given(ROWS, st.randoms())
def test_the_order_of_rows_changes_no_bit(
    rows: list[tuple[float, int]], rng: random.Random
) -> None:
    moved = rng.sample(rows, len(rows))
    (before, names), (after, names_after) = (
        list(zip(*each, strict=True)) for each in (rows, moved)
    )
    interval, p = paired_cluster_interval(before, names), cluster_sign_flip_test(before, names)
    assert paired_cluster_interval(after, names_after) == interval
    assert cluster_sign_flip_test(after, names_after) == p


def test_the_order_of_rows_does_not_matter_to_drawn_signs_either() -> None:
    rng = random.Random(3)
    rows = [(rng.uniform(-1, 1.2) / 1.2, i // 2) for i in range(80)]
    moved = rng.sample(rows, len(rows))
    first, second = (
        cluster_sign_flip_test([d for d, _ in each], [c for _, c in each]) for each in (rows, moved)
    )
    assert first == second


def test_equal_conditions_are_told_apart_in_5_percent_of_cases() -> None:
    """Clusters share their difference: the test of single items errs in more than 20 %."""
    rng = random.Random(9)
    alarms = of_items = 0
    for seed in range(400):
        shared = [rng.gauss(0, 0.2) for _ in range(25)]
        differences = [each + rng.gauss(0, 0.2) for each in shared for _ in range(4)]
        clusters = [i // 4 for i in range(100)]
        p = cluster_sign_flip_test(differences, clusters, seed=seed, resamples=400)
        item_level = sign_flip_test(differences, seed=seed, resamples=400)
        assert p is not None
        assert item_level is not None
        alarms += p < 0.05
        of_items += item_level < 0.05
    assert alarms / 400 == pytest.approx(0.05, abs=0.03)
    assert of_items / 400 > 0.15
