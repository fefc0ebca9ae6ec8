"""The bootstrap: scipy's and written-out versions, ties, memory, simultaneous coverage."""

from __future__ import annotations

import itertools
import math
import random
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import bca, bootstrap_means, max_t_bands, paired_t_interval

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), min_size=2, max_size=30)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


# Shared resamples ---------------------------------------------------------------------------------


def test_resampled_means_have_the_mean_and_the_variance_of_a_resample() -> None:
    values = [float(each) for each in range(50)]
    means = bootstrap_means([values], resamples=20_000)[:, 0]
    error = np.std(values) / math.sqrt(50)
    assert means.mean() == pytest.approx(np.mean(values), abs=5 * error / math.sqrt(20_000))
    assert means.std() == pytest.approx(error, rel=0.03)


def test_columns_share_their_resamples() -> None:
    rng = random.Random(3)
    first = [rng.random() for _ in range(40)]
    second = [rng.random() for _ in range(40)]
    difference = [a - b for a, b in zip(first, second, strict=True)]
    means = bootstrap_means([first, second, difference], resamples=500)
    assert means.shape == (500, 3)
    assert means[:, 0] - means[:, 1] == pytest.approx(means[:, 2], abs=1e-12)


def test_all_resamples_of_three_rows_appear_as_often_as_they_should() -> None:
    """Of the 27 equally likely draws with replacement, means of powers of 10 tell which it was."""
    means = bootstrap_means([[0.0, 1.0, 10.0]], resamples=54_000)[:, 0]
    seen = dict(zip(*np.unique(np.round(means * 3), return_counts=True), strict=True))
    draws = [sum(draw) for draw in itertools.product([0, 1, 10], repeat=3)]
    assert sorted(seen) == sorted(set(draws))
    for total, count in seen.items():
        assert count == pytest.approx(2000 * draws.count(int(total)), rel=0.1)


def test_the_seed_decides_and_the_draws_are_plain_ones() -> None:
    values = [[0.1 * each + 1000 for each in range(30)]]
    means = bootstrap_means(values, resamples=300, seed=4)
    assert (means == bootstrap_means(values, resamples=300, seed=4)).all()
    assert (means != bootstrap_means(values, resamples=300, seed=5)).any()
    drawn = np.random.default_rng(4).integers(0, 30, size=(300, 30))
    assert means[:, 0] == pytest.approx(np.array(values)[0][drawn].mean(axis=1), rel=1e-12)


def test_ten_thousand_items_need_little_memory() -> None:
    """scipy.stats.bootstrap takes 2.5 GB for this unless told otherwise."""
    columns = [[float(i % (7 + column)) for i in range(10_000)] for column in range(5)]
    tracemalloc.start()
    bootstrap_means(columns, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_what_cannot_be_resampled_is_refused() -> None:
    nothing: tuple[list[list[float]], ...] = ([], [[]])
    for columns in nothing:
        with pytest.raises(ValueError, match="at least one column of one row"):
            bootstrap_means(columns)
    with pytest.raises(ValueError, match=r"equally long, got \[1, 2\]"):
        bootstrap_means([[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="at least one resample is needed, got 0"):
        bca([1.0, 2.0], resamples=0)
    with pytest.raises(ValueError, match="finite numbers, got nan; leave out what is missing"):
        bca([1.0, math.nan])


# BCa ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.expovariate(1.0),
        lambda rng: rng.random(),
        lambda rng: float(rng.choice([0, 0, 0, 0.5, 1])),
    ],
    ids=["skewed", "uniform", "tied"],
)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bca_is_scipys(draw: object, level: float) -> None:
    assert callable(draw)
    rng = random.Random(8)
    values = [draw(rng) for _ in range(150)]
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=20_000,
        batch=500,
        random_state=1,
    ).confidence_interval
    ours = bounds(bca(values, level, resamples=20_000))
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_bca_leans_to_the_side_of_the_tail() -> None:
    rng = random.Random(2)
    values = [rng.expovariate(1.0) for _ in range(100)]
    mean = math.fsum(values) / 100
    low, high = bounds(bca(values))
    assert high - mean > 1.1 * (mean - low)
    mirrored = bounds(bca([-value for value in values]))
    assert mirrored == pytest.approx((-high, -low), abs=0.02)


def test_ties_are_counted_half_so_that_symmetric_scores_have_no_bias() -> None:
    """Of 12 scores, half of them 1, 22.6 % of resamples tie; without mid-ranks z0 is -0.29."""
    values = [0.0, 1.0] * 6
    low, high = bounds(bca(values, resamples=40_000))
    assert low == pytest.approx(1 - high, abs=1e-12)
    # Fractions of tenths do not add up exactly, and must tie all the same.
    low, high = bounds(bca([0.1, 0.7] * 6, resamples=40_000))
    assert low - 0.1 == pytest.approx(0.7 - high, abs=1e-12)


@pytest.mark.parametrize("values", [[], [0.7], [1.0] * 30, [0.1 + 0.2, 0.3, 0.3]])
def test_bca_of_values_that_do_not_vary_has_no_bounds(values: list[float]) -> None:
    """The bootstrap of scipy gives NaN, others width 0."""
    assert bca(values) == Interval(None, None, "bca")


def test_bca_where_its_formula_breaks_has_no_bounds() -> None:
    assert bca([0.0, 1.0, 5.0], resamples=1, seed=1) == Interval(None, None, "bca")
    extreme = bca([0.0] * 99 + [1.0], 1 - 1e-12)
    assert (extreme.low, extreme.high) == (None, None)


@given(VALUES, st.randoms())
def test_the_order_of_values_changes_no_bit_of_bca(values: list[float], rng: random.Random) -> None:
    assert bca(values, resamples=200) == bca(rng.sample(values, len(values)), resamples=200)


@given(VALUES)
def test_bca_stays_among_the_values_seen(values: list[float]) -> None:
    interval = bca(values, resamples=200)
    if interval.low is not None and interval.high is not None:
        assert min(values) - 1e-12 <= interval.low <= interval.high <= max(values) + 1e-12


# Simultaneous bands -------------------------------------------------------------------------------


def test_the_critical_value_of_unrelated_pairs_is_between_none_and_bonferroni() -> None:
    rng = np.random.default_rng(5)
    unrelated = max_t_bands(rng.standard_normal((20, 2000)).tolist())
    # Of 20 independent normal values: P(max |Z| <= c) = 0.95.
    exact = NormalDist().inv_cdf((1 + 0.95 ** (1 / 20)) / 2)
    assert unrelated.critical == pytest.approx(exact, abs=0.06)
    assert unrelated.pairs == 20
    same = rng.standard_normal(2000).tolist()
    assert max_t_bands([same] * 20).critical == pytest.approx(1.96, abs=0.06)


def test_one_pair_alone_has_its_t_interval() -> None:
    rng = random.Random(11)
    differences = [rng.gauss(0.1, 1) for _ in range(25)]
    bands = max_t_bands([differences], resamples=100_000)
    low, high = bounds(paired_t_interval(differences))
    assert bounds(bands.intervals[0]) == pytest.approx((low, high), abs=0.03 * (high - low))
    assert bands.intervals[0].method == "max-t"


def test_bands_are_wider_than_single_intervals_and_centred_on_the_mean() -> None:
    rng = random.Random(1)
    columns = [[rng.choice([-1.0, 0.0, 0.0, 0.5]) for _ in range(80)] for _ in range(6)]
    for column, band in zip(columns, max_t_bands(columns).intervals, strict=True):
        low, high = bounds(band)
        t_low, t_high = bounds(paired_t_interval(column))
        assert low < t_low < t_high < high
        assert (low + high) / 2 == pytest.approx(math.fsum(column) / 80)


def test_pairs_that_do_not_vary_have_no_band_and_change_no_other() -> None:
    rng = random.Random(1)
    varied: list[float | None] = [rng.random() for _ in range(30)]
    constant: list[float | None] = [0.1] * 30
    single: list[float | None] = [0.4, *[None] * 29]
    alone = max_t_bands([varied])
    bands = max_t_bands([constant, varied, single])
    nothing = Interval(None, None, "max-t")
    assert bands.intervals == (nothing, alone.intervals[0], nothing)
    assert (bands.critical, bands.pairs) == (alone.critical, 1)
    assert max_t_bands([constant]).critical is None
    assert max_t_bands([]).intervals == ()
    assert max_t_bands([[], []]).intervals == (nothing, nothing)


def test_an_item_that_a_pair_lacks_is_left_out_of_that_pair_only() -> None:
    rng = random.Random(9)
    whole: list[float | None] = [rng.gauss(0, 1) for _ in range(60)]
    part: list[float | None] = [rng.gauss(0, 1) if i % 3 else None for i in range(60)]
    bands = max_t_bands([whole, part])
    present = [each for each in part if each is not None]
    low, high = bounds(bands.intervals[1])
    assert (low + high) / 2 == pytest.approx(math.fsum(present) / 40)
    t_low, t_high = bounds(paired_t_interval(present))
    assert high - low > t_high - t_low


@given(st.integers(0, 1000), st.randoms())
def test_the_order_of_items_changes_no_bit_of_the_bands(seed: int, rng: random.Random) -> None:
    values = random.Random(seed)
    columns = [[values.choice([-1.0, 0.0, 0.3]) for _ in range(20)] for _ in range(3)]
    order = rng.sample(range(20), 20)
    moved = [[column[place] for place in order] for column in columns]
    assert max_t_bands(columns, resamples=100) == max_t_bands(moved, resamples=100)


def test_a_level_in_percent_is_refused() -> None:
    for call in (lambda: max_t_bands([[0.0, 1.0]], 95), lambda: bca([0.0, 1.0], 95)):
        with pytest.raises(ValueError, match="level lies between 0 and 1, got 95"):
            call()


def test_all_bands_hold_together_in_95_percent_of_cases() -> None:
    """Five conditions of equal quality, ten pairs, 30 items; single t intervals hold in 71 %."""
    rng = np.random.default_rng(12)
    hits = 0
    for seed in range(300):
        scores = rng.standard_normal((5, 30))
        columns = [(a - b).tolist() for a, b in itertools.combinations(scores, 2)]
        bands = max_t_bands(columns, resamples=500, seed=seed)
        hits += all(low <= 0 <= high for low, high in map(bounds, bands.intervals))
    assert 0.91 <= hits / 300 <= 0.99
