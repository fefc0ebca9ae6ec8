"""What is no number, no count and no level is refused in words, wherever it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from pytest_llmeval import statistics
from pytest_llmeval.records import Interval

Function = Callable[..., Any]

COUNTS: list[tuple[Function, tuple[int, ...]]] = [
    (statistics.wilson, (3, 40)),
    (statistics.clopper_pearson, (3, 40)),
    (statistics.beta_interval, (3, 40)),
    (statistics.mcnemar_midp, (3, 100)),
    (statistics.mcnemar_exact, (3, 100)),
    (statistics.tango_interval, (3, 100, 40_000)),
    (statistics.newcombe_paired, (30_000, 100, 30_000, 30_000)),
    (statistics.newcombe_unpaired, (3, 40, 30_000, 40_000)),
    (statistics.matched_odds_ratio, (3, 40)),
    (partial(statistics.tost_paired_binary, margin=0.1), (3, 100, 40_000)),
    (partial(statistics.not_worse_verdict, margin=0.1), (3, 100, 400)),
    (statistics.pass_at_k, (200, 3, 40)),
    (statistics.pass_hat_k, (200, 150, 40)),
    (statistics.flaky_upper_bound, (3, 40)),
    (statistics.robbins_interval, (3, 40)),
    (partial(statistics.minimum_detectable_difference, 0.1), (40,)),
    (partial(statistics.smallest_provable_margin, 0.1), (40,)),
    (partial(statistics.minimum_detectable_effect, variance=0.1), (40,)),
]


@pytest.mark.parametrize(("function", "counts"), COUNTS)
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint16])
def test_numpy_s_integers_give_what_python_s_give(
    function: Function, counts: tuple[int, ...], kind: Callable[[int], object]
) -> None:
    assert function(*map(kind, counts)) == function(*counts)


def test_counts_do_not_overflow() -> None:
    assert statistics.mcnemar_exact(np.int64(3), np.int64(100)) == pytest.approx(3.593e-26, 1e-3)
    assert statistics.mcnemar_midp(np.int64(40), np.int64(60)) == statistics.mcnemar_midp(40, 60)
    assert statistics.not_worse_verdict(np.int64(3), np.int64(97), np.int64(100), 0.1) == "fail"


@pytest.mark.parametrize(("function", "counts"), COUNTS)
@pytest.mark.parametrize("count", [2.5, math.nan, "3", None])
def test_what_is_no_count_is_refused(
    function: Function, counts: tuple[int, ...], count: object
) -> None:
    for place in range(len(counts)):
        given = [*counts[:place], count, *counts[place + 1 :]]
        with pytest.raises(ValueError, match=f"counts are whole numbers, got {count!r}"):
            function(*given)


@pytest.mark.parametrize(("function", "counts"), COUNTS)
def test_negative_counts_are_refused(function: Function, counts: tuple[int, ...]) -> None:
    for place in range(len(counts)):
        with pytest.raises(
            ValueError, match=r"between|cannot be negative|do not fit|0 items or more"
        ):
            function(*counts[:place], -7, *counts[place + 1 :])


@pytest.mark.parametrize("table", [(1, 1, -1, 5), (1, 1, 5, -1), (-1, 1, 5, 5), (1, -1, 5, 5)])
def test_a_paired_table_has_no_negative_count(table: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"cannot be negative, got -1|do not fit"):
        statistics.newcombe_paired(*table)


# Scores -------------------------------------------------------------------------------------------

OF_VALUES: list[Function] = [
    statistics.t_interval,
    statistics.scaled_wilson,
    statistics.bca,
    statistics.paired_t_interval,
    statistics.sign_flip_test,
    statistics.cohen_d_z,
    lambda values: statistics.tost_paired(values, 0.1),
    lambda values: statistics.welch_test(values, [0.0, 1.0]),
    lambda values: statistics.welch_interval([0.0, 1.0], values),
    lambda values: statistics.cr1_interval(values, range(len(values))),
    lambda values: statistics.cluster_interval(values, range(len(values))),
    lambda values: statistics.paired_cluster_interval(values, range(len(values))),
    lambda values: statistics.cluster_sign_flip_test(values, range(len(values))),
    lambda values: statistics.repeats_interval([values, [1.0]]),
    lambda values: statistics.fixed_set_difference([values], [[1.0]]),
    lambda values: statistics.bootstrap_means([values]),
    statistics.running_anytime_p,
    lambda values: statistics.quantile(values, 0.5),
    lambda values: statistics.quantile_interval(values, 0.5),
]


@pytest.mark.parametrize("function", OF_VALUES)
@pytest.mark.parametrize("value", [math.nan, None])
def test_what_is_missing_among_scores_is_refused(function: Function, value: object) -> None:
    with pytest.raises(ValueError, match=rf"got {value!r}|{value!r} is neither large nor small"):
        function([value, 1.0, 0.5])
    with pytest.raises(ValueError, match="leave out what is missing"):
        function([0.5, 1.0, value])


def test_the_sign_flip_test_of_many_refuses_what_is_not_finite() -> None:
    differences = [0.5 + n / 100 for n in range(40)]
    for value in (math.nan, math.inf, -math.inf, None):
        with pytest.raises(ValueError, match="scores are finite numbers, got"):
            statistics.sign_flip_test([*differences, value])  # type: ignore[list-item]


def test_a_missing_score_is_told_with_its_item() -> None:
    scores: Any = {"a": {"i": 1.0, "j": None}, "b": {"i": 0.5, "j": 1.0}}
    with pytest.raises(ValueError, match="item j under a: None is not between 0 and 1"):
        statistics.compare_all("s", "x", scores, binary=())


# Levels, power, resamples -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        partial(statistics.wilson, 0, 0),
        partial(statistics.clopper_pearson, 0, 0),
        partial(statistics.beta_interval, 0, 0),
        partial(statistics.scaled_wilson, []),
        partial(statistics.t_interval, [1.0]),
        partial(statistics.bca, []),
        partial(statistics.max_t_bands, []),
        partial(statistics.tango_interval, 0, 0, 0),
        partial(statistics.newcombe_paired, 0, 0, 0, 0),
        partial(statistics.newcombe_unpaired, 0, 0, 0, 0),
        partial(statistics.welch_interval, [], []),
        partial(statistics.cluster_interval, [], []),
        partial(statistics.cr1_interval, [], []),
        partial(statistics.repeats_interval, []),
        partial(statistics.fixed_set_difference, [], []),
        partial(statistics.quantile_interval, [], 0.5),
        partial(statistics.micro_mean, {}),
        partial(statistics.brier, [], []),
        partial(statistics.log_loss, [], []),
        partial(statistics.ece, [], []),
        partial(statistics.flaky_upper_bound, 0, 0),
        partial(statistics.items_for_gate, 0.5, 0.5),
    ],
)
def test_a_level_of_95_is_refused_even_where_there_is_nothing(function: Function) -> None:
    with pytest.raises(ValueError, match="a confidence level lies between 0 and 1, got 95"):
        function(level=95)


PLANS: list[Function] = [
    partial(statistics.items_for_paired_binary, 0.1, 0.0),
    partial(statistics.items_for_paired_binary, 0.1, 0.02),
    partial(statistics.minimum_detectable_difference, 0.1, 100),
    partial(statistics.items_general, 0.02, variance=0.1),
    partial(statistics.minimum_detectable_effect, 0, variance=0.1),
    partial(statistics.items_unpaired_binary, 0.7, 0.7),
    partial(statistics.smallest_provable_margin, 0.1, 0),
    partial(statistics.items_for_margin, 0.1, 0.0, 0.03),
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_power_of_80_and_an_alpha_of_5_are_refused(plan: Function) -> None:
    with pytest.raises(ValueError, match=r"power lies between 0 and 1, such as 0\.8; got 80"):
        plan(power=80)
    with pytest.raises(ValueError, match=r"alpha lies between 0 and 1, such as 0\.05; got 1\.5"):
        plan(alpha=1.5)


def test_spreads_that_cannot_be_are_refused() -> None:
    for variance in (math.nan, math.inf, -0.1):
        with pytest.raises(ValueError, match=f"a variance is at least 0 .*, got {variance:g} and"):
            statistics.items_general(0.02, variance=variance)
        with pytest.raises(ValueError, match="discordance is a share of items of at least 0, got"):
            statistics.smallest_provable_margin(variance, 100)
        with pytest.raises(ValueError, match="discordance is a share of items of at least 0, got"):
            statistics.items_for_margin(variance, 0.0, 0.03)
    with pytest.raises(ValueError, match="there are 0 items or more, got -3"):
        statistics.minimum_detectable_effect(-3, variance=0.1)


@pytest.mark.parametrize("figure", [statistics.brier, statistics.log_loss, statistics.ece])
def test_no_resamples_are_refused(figure: Function) -> None:
    with pytest.raises(ValueError, match="at least one resample is needed, got 0"):
        figure([0.5, 0.9], [True, False], resamples=0)
    with pytest.raises(ValueError, match="at least one resample is needed, got 0"):
        statistics.sign_flip_test([0.1, 0.2], resamples=0)


def test_weights_and_scales_that_are_none_are_refused_with_those_that_are() -> None:
    unknown: Any = "cubic"
    with pytest.raises(ValueError, match="weights are 'linear', 'quadratic' or None, got 'cubic'"):
        statistics.cohen_kappa([1, 2], [1, 2], unknown)
    with pytest.raises(ValueError, match="'nominal', 'ordinal' or 'interval', got 'cubic'"):
        statistics.krippendorff_alpha([[1, 2], [2, 2]], unknown)


@pytest.mark.parametrize("average", [statistics.micro_mean, statistics.macro_mean])
def test_a_dataset_without_a_number_is_none_and_not_nan(average: Function) -> None:
    for stratum, words in (
        (statistics.Stratum(math.nan, 0.1, 10), "dataset sums has the mean nan"),
        (statistics.Stratum(0.5, math.nan, 10), "dataset sums has the standard error nan"),
        (statistics.Stratum(0.5, 0.1, 10, Interval(math.nan, 0.7, "t")), "the lower bound nan"),
    ):
        with pytest.raises(ValueError, match=f"{words}: what is undefined is None"):
            average({"sums": stratum})
