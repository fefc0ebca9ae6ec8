"""Brier score, log loss and expected calibration error."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import brier, ece, log_loss

STATED = [0.9, 0.8, 0.3, 0.6]
RIGHT = [True, True, False, False]


def test_the_brier_score_is_the_mean_squared_distance() -> None:
    assert brier(STATED, RIGHT).value == pytest.approx((0.01 + 0.04 + 0.09 + 0.36) / 4)
    assert brier([1.0, 0.0], [True, False]).value == 0.0
    assert brier([1.0, 0.0], [False, True]).value == 1.0


def test_the_log_loss_is_the_mean_surprise() -> None:
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.7) + math.log(0.4)) / 4
    assert log_loss(STATED, RIGHT).value == pytest.approx(expected)


def test_a_wrong_certainty_costs_the_clip_and_not_infinity() -> None:
    assert log_loss([1.0], [False]).value == pytest.approx(-math.log(1e-15))
    assert log_loss([0.0], [True]).value == pytest.approx(34.539, abs=1e-3)


def test_both_ends_are_clipped_as_the_formula_says() -> None:
    """A certainty that is right costs the clip too, as if it were not quite certain."""
    assert log_loss([1.0], [True]).value == -math.log(1 - 1e-15) > 0
    assert log_loss([0.0], [False]).value == log_loss([1.0], [True]).value


def test_the_calibration_error_is_weighed_over_the_bins() -> None:
    """Bins (0.2, 0.3], (0.5, 0.6], (0.7, 0.8], (0.8, 0.9]: gaps 0.3, 0.6, 0.2, 0.1."""
    found = ece(STATED, RIGHT)
    assert found.value == pytest.approx((0.3 + 0.6 + 0.2 + 0.1) / 4)
    coarse = ece(STATED, RIGHT, bins=2)
    assert coarse.value == pytest.approx(0.75 * abs(2 / 3 - 2.3 / 3) + 0.25 * 0.3)


def test_the_table_of_bins_has_each_item_once_and_none_where_a_bin_is_empty() -> None:
    found = ece([0.0, 0.1, 0.100001, 1.0], [False, True, True, True], bins=10).bins
    assert [each.n for each in found] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (found[0].low, found[0].high) == (0.0, 0.1)
    assert found[0].stated == pytest.approx(0.05)
    assert found[0].right == 0.5
    assert (found[2].stated, found[2].right) == (None, None)
    assert found[-1].high == 1.0


@pytest.mark.parametrize("tenths", range(1, 11))
def test_an_edge_belongs_to_the_bin_below(tenths: int) -> None:
    (filled,) = [each for each in ece([tenths / 10], [True]).bins if each.n]
    assert filled.high == tenths / 10


def calibrated(n: int, seed: int) -> tuple[list[float], list[bool]]:
    rng = random.Random(seed)
    stated = [rng.random() for _ in range(n)]
    return stated, [rng.random() < p for p in stated]


@pytest.mark.parametrize("figure", [brier, log_loss])
def test_the_bootstrap_interval_of_a_mean_is_about_the_normal_one(figure: object) -> None:
    assert callable(figure)
    stated, right = calibrated(400, 3)
    found = figure(stated, right, seed=1)
    losses = [figure([p], [y]).value for p, y in zip(stated, right, strict=True)]
    mean = math.fsum(losses) / 400
    reach = 1.96 * math.sqrt(math.fsum((x - mean) ** 2 for x in losses) / 399 / 400)
    assert found.interval.low == pytest.approx(mean - reach, abs=0.15 * reach)
    assert found.interval.high == pytest.approx(mean + reach, abs=0.15 * reach)
    assert found.interval.method == "percentile bootstrap"


def test_the_calibration_error_of_a_calibrated_model_shrinks_with_its_interval() -> None:
    few, many = ece(*calibrated(100, 5)), ece(*calibrated(4000, 5))
    assert few.value is not None
    assert many.value is not None
    assert many.value < few.value
    assert many.interval.high is not None
    assert few.interval.high is not None
    assert many.interval.high < few.interval.high


def test_an_interval_depends_on_its_seed_and_not_on_the_order_of_the_items() -> None:
    stated, right = calibrated(60, 8)
    turned = ece(stated[::-1], right[::-1], seed=4)
    assert ece(stated, right, seed=4) == turned
    assert ece(stated, right, seed=5).interval != turned.interval
    assert brier(stated, right) == brier(stated[::-1], right[::-1])


def test_no_items_have_no_figure_and_one_has_no_bounds() -> None:
    nothing = Interval(None, None, "percentile bootstrap")
    for figure in (brier, log_loss, ece):
        none, one = figure([], []), figure([0.8], [True])
        assert (none.n, none.value, none.interval) == (0, None, nothing)
        assert one.value is not None
        assert one.interval == nothing


def test_losses_that_are_all_the_same_have_no_width_to_speak_of() -> None:
    assert brier([1.0] * 30, [True] * 30).interval == Interval(None, None, "percentile bootstrap")


@pytest.mark.parametrize(
    ("stated", "right", "words"),
    [
        ([0.5], [], "got 1 probabilities and 0 outcomes"),
        ([1.2], [True], "a probability lies between 0 and 1, got 1.2"),
        ([float("nan")], [True], "a probability lies between 0 and 1, got nan"),
        ([0.5], [0.5], "an outcome is right or not, True or False; got 0.5"),
    ],
)
def test_what_is_no_probability_or_no_outcome_is_told(
    stated: list[float], right: list[bool], words: str
) -> None:
    for figure in (brier, log_loss, ece):
        with pytest.raises(ValueError, match=words):
            figure(stated, right)


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 bin, got 0"):
        ece(STATED, RIGHT, bins=0)
