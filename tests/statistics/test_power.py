"""How many items a question needs."""

from __future__ import annotations

import random
from functools import partial

import pytest

from pytest_llmeval.statistics import (
    items_for_gate,
    items_for_paired_binary,
    items_general,
    items_unpaired_binary,
    mcnemar_midp,
    minimum_detectable_difference,
    minimum_detectable_effect,
    smallest_provable_margin,
    wilson,
)


@pytest.mark.parametrize(("psi", "items"), [(0.05, 979), (0.10, 1960), (0.20, 3923), (0.30, 5885)])
def test_items_to_see_two_points(psi: float, items: int) -> None:
    assert items_for_paired_binary(psi, 0.02) == items
    assert items_for_paired_binary(psi, -0.02) == items


def test_no_number_of_items_shows_a_difference_of_zero() -> None:
    assert items_for_paired_binary(0.2, 0.0) is None


@pytest.mark.parametrize(("psi", "delta"), [(0.01, 0.2), (1.5, 0.1), (0.5, 1.2)])
def test_a_difference_cannot_exceed_the_discordance(psi: float, delta: float) -> None:
    with pytest.raises(ValueError, match="needs more discordance"):
        items_for_paired_binary(psi, delta)


def test_more_power_and_a_stricter_level_need_more_items() -> None:
    usual = items_for_paired_binary(0.2, 0.05)
    assert usual is not None
    for stricter in ({"power": 0.9}, {"alpha": 0.01}):
        needed = items_for_paired_binary(0.2, 0.05, **stricter)
        assert needed is not None
        assert needed > usual


def test_the_power_promised_is_the_power_found() -> None:
    n = items_for_paired_binary(0.2, 0.1)
    assert n is not None
    rng = random.Random(11)
    seen = 0
    for _ in range(1000):
        draws = [rng.random() for _ in range(n)]
        b, c = sum(d < 0.15 for d in draws), sum(0.15 <= d < 0.2 for d in draws)
        seen += mcnemar_midp(b, c) < 0.05
    assert seen / 1000 == pytest.approx(0.8, abs=0.04)


def test_the_smallest_margin_that_a_suite_can_prove() -> None:
    assert smallest_provable_margin(0.1, 100) == pytest.approx(0.0786, abs=1e-4)
    assert smallest_provable_margin(0.1, 0) is None


@pytest.mark.parametrize(("mean", "threshold"), [(0.9, 0.85), (0.5, 0.6), (0.75, 0.7)])
def test_a_gate_is_decided_at_the_number_of_items_forecast(mean: float, threshold: float) -> None:
    n = items_for_gate(mean, threshold)
    assert n is not None
    twenties = n // 20
    for size, decided in ((20 * (twenties + 1), True), (20 * (twenties - 1), False)):
        interval = wilson(round(mean * size), size)
        assert interval.low is not None
        assert interval.high is not None
        assert (interval.low >= threshold or interval.high < threshold) == decided


def test_no_number_of_items_decides_at_the_threshold() -> None:
    assert items_for_gate(0.85, 0.85) is None
    assert items_for_gate(0.9, 0.8, variance_ratio=4.0) == 16


# Miller's, Connor's the other way round, different items ------------------------------------------


def test_items_for_three_points_without_noise_between_askings() -> None:
    """Miller 2024: w^2 = 1/9."""
    assert items_general(0.03, variance=1 / 9) == 969
    assert items_general(-0.03, variance=1 / 9) == 969


def test_repeats_reduce_the_noise_and_not_the_variance_of_the_items() -> None:
    noisy = partial(items_general, 0.03, variance=1 / 9, noise_first=1 / 6, noise_second=1 / 6)
    once = noisy()
    often = noisy(repeats_first=1000, repeats_second=1000)
    one_side = noisy(repeats_first=1000)
    assert once is not None
    assert often is not None
    assert one_side is not None
    assert often == pytest.approx(969, abs=5)
    assert often < one_side < once == pytest.approx(969 * 4, abs=3)


def test_the_minimum_detectable_effect_is_the_same_formula_the_other_way_round() -> None:
    asked = {"repeats_first": 4, "repeats_second": 2}
    effect = minimum_detectable_effect(
        500, variance=0.1, noise_first=0.05, noise_second=0.02, **asked
    )
    assert effect == pytest.approx(2.801585 * ((0.1 + 0.05 / 4 + 0.02 / 2) / 500) ** 0.5)
    assert effect is not None
    again = items_general(effect, variance=0.1, noise_first=0.05, noise_second=0.02, **asked)
    assert again == 500
    assert minimum_detectable_effect(969, variance=1 / 9) == pytest.approx(0.03, abs=1e-5)


def test_edges_of_millers_formula() -> None:
    assert items_general(0, variance=0.1) is None
    assert items_general(0.5, variance=0) == 1
    assert minimum_detectable_effect(0, variance=0.1) is None
    assert minimum_detectable_effect(1, variance=1.0) == pytest.approx(2.8016, abs=1e-4)
    for variance, noise in ((-1.0, 0.0), (1.0, -0.1)):
        with pytest.raises(ValueError, match="a variance is at least 0"):
            items_general(0.1, variance=variance, noise_first=noise)
    with pytest.raises(ValueError, match="repeats at least 1, got 0 and 0"):
        items_general(0.1, variance=0.1, repeats_first=0)


@pytest.mark.parametrize(("psi", "items"), [(0.05, 979), (0.10, 1960), (0.20, 3923), (0.30, 5885)])
def test_so_many_items_show_two_points_and_no_less(psi: float, items: int) -> None:
    assert minimum_detectable_difference(psi, items) == pytest.approx(0.02, abs=1e-5)


@pytest.mark.parametrize("power", [0.3, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("psi", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("n", [5, 30, 4000])
def test_the_minimum_detectable_difference_inverts_connor(psi: float, n: int, power: float) -> None:
    difference = minimum_detectable_difference(psi, n, power=power)
    assert difference is not None
    assert items_for_paired_binary(psi, difference, power=power) == n


def test_three_items_show_no_difference_at_all() -> None:
    assert minimum_detectable_difference(0.3, 3) is None
    assert minimum_detectable_difference(0.3, 0) is None
    assert minimum_detectable_difference(0.0, 100) == 0.0
    with pytest.raises(ValueError, match="between 0 and 1, got 20"):
        minimum_detectable_difference(20, 100)


def test_different_items_for_each_cost_four_times_as_many() -> None:
    assert items_unpaired_binary(0.70, 0.72) == 8080
    assert items_unpaired_binary(0.72, 0.70) == 8080
    assert items_unpaired_binary(0.7, 0.7) is None
    with pytest.raises(ValueError, match="lie between 0 and 1, got 70"):
        items_unpaired_binary(70, 72)
