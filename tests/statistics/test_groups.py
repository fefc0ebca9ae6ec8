"""Several datasets as one number: both weightings, their errors, intervals at the ceiling."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    GroupMean,
    Stratum,
    macro_mean,
    micro_mean,
    scaled_wilson,
    wilson,
)

Average = Callable[[Mapping[str, Stratum]], GroupMean]

TWO = {"sums": Stratum(0.9, 0.02, 300), "texts": Stratum(0.6, 0.05, 100)}


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def test_micro_weighs_by_items() -> None:
    found = micro_mean(TWO)
    assert (found.weighting, found.weights) == ("micro", {"sums": 0.75, "texts": 0.25})
    assert found.mean == pytest.approx(0.825)
    error = math.sqrt((0.75 * 0.02) ** 2 + (0.25 * 0.05) ** 2)
    assert found.standard_error == pytest.approx(error)
    assert bounds(found.interval) == pytest.approx(
        (0.825 - 1.959964 * error, 0.825 + 1.959964 * error)
    )


def test_macro_weighs_datasets_the_same() -> None:
    found = macro_mean(TWO)
    assert (found.weighting, found.weights) == ("macro", {"sums": 0.5, "texts": 0.5})
    assert found.mean == pytest.approx(0.75)
    error = math.sqrt(0.02**2 + 0.05**2) / 2
    assert found.standard_error == pytest.approx(error)
    assert bounds(found.interval)[0] == pytest.approx(0.75 - 1.959964 * error)


def test_equally_large_datasets_have_one_mean() -> None:
    datasets = {name: Stratum(mean, 0.03, 50) for name, mean in (("a", 0.2), ("b", 0.7))}
    micro, macro = micro_mean(datasets), macro_mean(datasets)
    assert (micro.mean, micro.standard_error) == (macro.mean, macro.standard_error)


def test_stratified_is_narrower_than_pooled_where_datasets_differ() -> None:
    """The pooled error of all items also counts how far the datasets lie apart."""
    rng = random.Random(2)
    scores = {
        name: [float(rng.random() < mean) for _ in range(200)]
        for name, mean in (("easy", 0.95), ("hard", 0.1))
    }
    found = micro_mean(
        {
            name: Stratum(statistics.fmean(each), statistics.stdev(each) / math.sqrt(200), 200)
            for name, each in scores.items()
        }
    )
    everything = [score for each in scores.values() for score in each]
    pooled = statistics.stdev(everything) / math.sqrt(400)
    assert found.mean == pytest.approx(statistics.fmean(everything))
    assert found.standard_error is not None
    assert found.standard_error < 0.6 * pooled


def test_datasets_with_intervals_of_their_own_lend_them() -> None:
    one = {"sums": Stratum(1.0, 0.0, 30, wilson(30, 30))}
    for average in (micro_mean, macro_mean):
        assert bounds(average(one).interval) == pytest.approx(bounds(wilson(30, 30)))
    two = {**one, "texts": Stratum(0.5, 0.09, 30, wilson(15, 30))}
    low, high = bounds(macro_mean(two).interval)
    below = math.hypot(1 - bounds(wilson(30, 30))[0], 0.5 - bounds(wilson(15, 30))[0]) / 2
    above = (bounds(wilson(15, 30))[1] - 0.5) / 2
    assert (low, high) == pytest.approx((0.75 - below, 0.75 + above))


def test_all_right_has_width_with_intervals_and_no_bounds_without() -> None:
    right = {name: Stratum(1.0, 0.0, 20, wilson(20, 20)) for name in "ab"}
    low, high = bounds(macro_mean(right).interval)
    assert bounds(wilson(20, 20))[0] < low < high == 1.0
    bare = macro_mean({name: Stratum(1.0, 0.0, 20) for name in "ab"})
    assert (bare.standard_error, bare.interval.low, bare.interval.high) == (0.0, None, None)


@pytest.mark.parametrize("average", [micro_mean, macro_mean])
def test_what_a_dataset_lacks_the_group_lacks(average: Average) -> None:
    empty = average({})
    assert (empty.mean, empty.standard_error, empty.interval.low) == (None, None, None)
    unmeasured = average({**TWO, "none": Stratum(None, None, 0)})
    assert (unmeasured.mean, unmeasured.standard_error) == (None, None)
    assert (unmeasured.interval.low, unmeasured.interval.high) == (None, None)
    single = average({**TWO, "one": Stratum(1.0, None, 1)})
    assert single.mean is not None
    assert (single.standard_error, single.interval.low) == (None, None)
    lent = average({"sums": TWO["sums"], "one": Stratum(1.0, None, 1, wilson(1, 1))})
    assert (lent.standard_error, lent.interval.low is None) == (None, False)


def test_nothing_measured_anywhere_has_no_weights_to_speak_of() -> None:
    found = micro_mean({"a": Stratum(None, None, 0)})
    assert (found.weights, found.mean) == ({"a": 0.0}, None)


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="dataset a has a mean, but of 0 items"):
        micro_mean({"a": Stratum(0.5, 0.1, 0)})
    with pytest.raises(ValueError, match=r"dataset a has an interval of level 0.9, not 0.95"):
        macro_mean({"a": Stratum(0.5, 0.1, 10, wilson(5, 10, 0.9))})


def test_the_mean_over_datasets_is_covered_near_the_ceiling() -> None:
    rng = random.Random(4)
    truth = statistics.fmean([0.99, 0.95, 0.9])
    hits = 0
    for _ in range(1000):
        datasets = {}
        for name, mean in (("a", 0.99), ("b", 0.95), ("c", 0.9)):
            scores = [float(rng.random() < mean) for _ in range(40)]
            datasets[name] = Stratum(statistics.fmean(scores), None, 40, scaled_wilson(scores))
        low, high = bounds(macro_mean(datasets).interval)
        hits += low <= truth <= high
    assert hits / 1000 == pytest.approx(0.95, abs=0.03)
