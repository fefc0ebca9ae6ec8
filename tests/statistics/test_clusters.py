"""Clusters: statsmodels' CR1, an ANOVA table, the rule, coverage with and without it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import statsmodels.api
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import cluster_interval, cr1_interval, t_interval, wilson
from pytest_llmeval.statistics.intervals import t_quantile

CLUSTERED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1), st.integers(0, 12)),
    min_size=1,
    max_size=40,
)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def some(seed: int, clusters: int, mean: float = 0.5) -> tuple[list[float], list[str]]:
    """Scores in clusters of 1 to 6 items whose own means differ."""
    rng = random.Random(seed)
    scores, names = [], []
    for cluster in range(clusters):
        own = rng.betavariate(2 * mean, 2 * (1 - mean))
        for _ in range(rng.randint(1, 6)):
            scores.append(float(rng.random() < own))
            names.append(f"text {cluster}")
    return scores, names


@pytest.mark.parametrize("seed", range(4))
def test_cr1_is_statsmodels_cluster_robust_error_with_t(seed: int) -> None:
    scores, names = some(seed, 14)
    codes = np.unique(names, return_inverse=True)[1]
    fitted = statsmodels.api.OLS(scores, np.ones(len(scores))).fit(
        cov_type="cluster", cov_kwds={"groups": codes}, use_t=True
    )
    assert bounds(cr1_interval(scores, names)) == pytest.approx(tuple(fitted.conf_int()[0]))
    measured = cluster_interval(scores, names)
    assert measured.standard_error == pytest.approx(float(fitted.bse[0]))
    assert measured.interval == cr1_interval(scores, names)


def test_cr1_by_hand() -> None:
    # Mean 1/2, residual sums 1, 0 and -1: SE = sqrt(3/2 * 2) / 6 and t(2) = 4.302653.
    low, high = bounds(cr1_interval([1, 1, 1, 0, 0, 0], ["a", "a", "b", "b", "c", "c"]))
    assert (low, high) == pytest.approx((0.5 - 1.242069, 0.5 + 1.242069), abs=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30))
def test_one_item_in_each_cluster_is_the_t_interval(values: list[float]) -> None:
    interval = cr1_interval(values, range(len(values)))
    assert bounds(interval) == pytest.approx(bounds(t_interval(values)), abs=1e-9)


@pytest.mark.parametrize(
    ("scores", "clusters", "method"),
    [
        ([1.0, 0.0] * 10, [i // 4 for i in range(20)], "clustered wilson"),  # 5 clusters
        ([1.0] * 19 + [0.0], [i // 2 for i in range(20)], "clustered wilson"),  # mean 0.95
        ([1.0] * 18 + [0.0] * 2, [i // 2 for i in range(20)], "clustered wilson"),  # mean 0.9
        ([0.0] * 20, [i // 2 for i in range(20)], "clustered wilson"),
        ([1.0] * 17 + [0.0] * 3, [i // 2 for i in range(20)], "cr1"),
        # Every cluster has the same mean: CR1 would have width 0.
        ([1.0, 0.0] * 10, [i // 2 for i in range(20)], "clustered wilson"),
    ],
)
def test_which_interval_it_is(scores: list[float], clusters: list[int], method: str) -> None:
    low, high = bounds(cluster_interval(scores, clusters).interval)
    assert cluster_interval(scores, clusters).interval.method == method
    assert low < high


def test_wilson_of_clusters_is_the_formula_written_out() -> None:
    scores = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    clusters = ["a", "a", "a", "b", "b", "c", "d", "d"]
    means = [1, 0.5, 1, 1, 0, 1]
    centre = sum(means) / 6
    variance = sum((mean - centre) ** 2 for mean in means) / 5
    n = min(max(4 * centre * (1 - centre) / variance, 4), 8)
    p, t = 7 / 8, t_quantile(3, 0.95)
    middle = (p + t * t / (2 * n)) / (1 + t * t / n)
    reach = t / (1 + t * t / n) * math.sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    expected = (middle - reach, min(1.0, middle + reach))
    assert bounds(cluster_interval(scores, clusters).interval) == pytest.approx(expected)


def test_n_eff_is_at_least_the_clusters_and_at_most_the_items() -> None:
    t = t_quantile(4, 0.95)
    alike = bounds(cluster_interval([0.0] * 20, [i // 4 for i in range(20)]).interval)
    # Means 0 with a 0 and a 1: p~ = 1/7, s~^2 = 1/7, n_eff = 5 * 6/7, raised to 5.
    assert alike == pytest.approx((0.0, t * t / 5 / (1 + t * t / 5)))
    halves = bounds(cluster_interval([1.0, 0.0] * 10, [i // 4 for i in range(20)]).interval)
    # Means 1/2 with a 0 and a 1: s~^2 = 1/12, n_eff = 5 * 3 = 15.
    assert halves[1] == pytest.approx((0.5 + t * t / 30) / (1 + t * t / 15) + reach(t, 15))
    pairs = cluster_interval([1.0, 0.0] * 5, [i // 2 for i in range(10)]).interval
    assert bounds(pairs)[1] == pytest.approx(  # 15 again, but there are 10 items
        (0.5 + t * t / 20) / (1 + t * t / 10) + reach(t, 10)
    )


def reach(t: float, n: float) -> float:
    return t / (1 + t * t / n) * math.sqrt(0.25 / n + t * t / (4 * n * n))


def test_icc_design_effect_and_effective_n() -> None:
    """Clusters (1, 1), (1, 0), (0, 0): MSB = 1/2, MSW = 1/6, so ICC = (1/3) / (2/3)."""
    found = cluster_interval([1, 1, 1, 0, 0, 0], ["a", "a", "b", "b", "c", "c"])
    assert found.icc == pytest.approx(0.5)
    assert found.design_effect == pytest.approx(1.5)
    assert found.effective_n == pytest.approx(4.0)
    assert (found.items, found.clusters, found.few) == (6, 3, True)


def test_icc_of_unequal_clusters_is_the_anova_table_written_out() -> None:
    """Searle's example of m0: sizes 1, 2 and 3 give (6 - 14/6) / 2."""
    scores = [0.2, 0.4, 0.8, 0.1, 0.6, 0.5]
    clusters = ["a", "b", "b", "c", "c", "c"]
    msb = (1 * (0.2 - 13 / 30) ** 2 + 2 * (0.6 - 13 / 30) ** 2 + 3 * (0.4 - 13 / 30) ** 2) / 2
    msw = (2 * 0.2**2 + 0.3**2 + 0.2**2 + 0.1**2) / 3
    size = (6 - 14 / 6) / 2
    found = cluster_interval(scores, clusters)
    assert found.icc == pytest.approx((msb - msw) / (msb + (size - 1) * msw))
    assert found.icc is not None
    assert found.design_effect == pytest.approx(1 + (14 / 6 - 1) * found.icc)
    assert found.effective_n == 6  # a negative ICC does not make items out of nothing


@pytest.mark.parametrize(
    ("scores", "clusters"),
    [([0.0, 1.0, 1.0], ["a", "b", "c"]), ([1.0] * 4, ["a", "a", "b", "b"]), ([1.0, 0.0], "aa")],
    ids=["no two together", "no variance", "one cluster"],
)
def test_icc_is_none_where_there_is_nothing_to_compare(scores: list[float], clusters: str) -> None:
    found = cluster_interval(scores, clusters)
    assert (found.icc, found.design_effect, found.effective_n) == (None, None, None)


def test_one_cluster_has_a_mean_but_no_error_and_no_bounds() -> None:
    found = cluster_interval([1.0, 0.0, 1.0, 1.0], ["text"] * 4)
    assert (found.mean, found.standard_error, found.clusters) == (0.75, None, 1)
    assert (found.interval.low, found.interval.high) == (None, None)
    assert cr1_interval([1.0, 0.0], ["text"] * 2) == Interval(None, None, "cr1")


def test_no_items_have_no_mean() -> None:
    found = cluster_interval([], [])
    assert (found.mean, found.standard_error, found.items, found.clusters) == (None, None, 0, 0)
    assert (found.interval.low, found.interval.high) == (None, None)
    assert cr1_interval([], []) == Interval(None, None, "cr1")


def test_fewer_than_ten_clusters_are_warned_of() -> None:
    assert cluster_interval([1.0] * 9, range(9)).few
    assert not cluster_interval([1.0] * 10, range(10)).few


def test_all_right_has_width() -> None:
    low, high = bounds(cluster_interval([1.0] * 60, [i // 2 for i in range(60)]).interval)
    assert low < bounds(wilson(30, 30))[0]
    assert high == 1.0


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="2 items, 1 names"):
        cluster_interval([1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="item 1 has no cluster; one that is alone needs its own"):
        cr1_interval([1.0, 0.0], ["a", None])
    for score in (1.5, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1; rescale"):
            cluster_interval([0.5, score], ["a", "b"])
    with pytest.raises(ValueError, match="finite numbers, got inf"):
        cr1_interval([0.5, math.inf], ["a", "b"])


@given(CLUSTERED, st.randoms())
def test_the_order_of_rows_and_the_names_of_clusters_do_not_matter(
    rows: list[tuple[float, int]], rng: random.Random
) -> None:
    moved = rng.sample(rows, len(rows))
    found = cluster_interval([score for score, _ in rows], [cluster for _, cluster in rows])
    assert found == cluster_interval(
        [score for score, _ in moved], [f"text {cluster}" for _, cluster in moved]
    )


@given(CLUSTERED)
def test_the_interval_contains_the_mean_and_has_width(rows: list[tuple[float, int]]) -> None:
    found = cluster_interval([score for score, _ in rows], [cluster for _, cluster in rows])
    assert found.mean is not None
    if found.clusters > 1:
        low, high = bounds(found.interval)
        assert low <= found.mean + 1e-12
        assert high >= found.mean - 1e-12
        assert high - low > 1e-9


def coverage(
    mean: float, clusters: int, size: int, icc: float, *, seed: int
) -> tuple[float, float, float]:
    """How often the truth is inside: items taken for independent, CR1 alone, the rule."""
    rng = random.Random(seed)
    names = [i // size for i in range(clusters * size)]
    spread = (1 - icc) / icc
    hits = [0, 0, 0]
    for _ in range(600):
        scores = [
            float(rng.random() < own)
            for own in (
                rng.betavariate(mean * spread, (1 - mean) * spread) for _ in range(clusters)
            )
            for _ in range(size)
        ]
        intervals = (
            t_interval(scores),
            cr1_interval(scores, names),
            cluster_interval(scores, names).interval,
        )
        for place, (low, high) in enumerate(map(bounds, intervals)):
            hits[place] += low <= mean <= high
    return hits[0] / 600, hits[1] / 600, hits[2] / 600


def test_items_taken_for_independent_cover_66_percent_and_clusters_95() -> None:
    naive, cr1, rule = coverage(0.7, clusters=50, size=8, icc=0.5, seed=6)
    assert naive == pytest.approx(0.658, abs=0.06)
    assert cr1 == pytest.approx(0.948, abs=0.03)
    assert rule == cr1


def test_near_the_ceiling_cr1_alone_covers_too_little_and_the_rule_does_not() -> None:
    _, cr1, rule = coverage(0.95, clusters=20, size=5, icc=0.3, seed=7)
    assert cr1 == pytest.approx(0.797, abs=0.05)
    assert rule == pytest.approx(0.985, abs=0.02)
