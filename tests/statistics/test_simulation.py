"""The default procedures hold what is promised of them, and the measuring of it is right."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from pytest_llmeval.statistics import measured_rates, not_worse_verdict, wilson
from pytest_llmeval.statistics.simulation import Rate
from pytest_llmeval.statistics.simulation.alarms import (
    family_alarms,
    mcnemar_alarms,
    sign_flip_alarms,
)
from pytest_llmeval.statistics.simulation.coverage import binary_coverage, graded_coverage
from pytest_llmeval.statistics.simulation.gate import (
    MARGINS,
    gate_errors,
    graded_gate_errors,
    shaped_gate_errors,
)
from pytest_llmeval.statistics.simulation.truth import DISCORDANCES, binomial, generator, shapes


def named(rates: list[Rate]) -> dict[tuple[int, str, str], float]:
    return {(rate.items, rate.method, rate.setting): rate.rate for rate in rates}


@lru_cache
def measured() -> tuple[Rate, ...]:
    return tuple(measured_rates(simulations=2000, seed=7))


def test_every_promise_is_kept() -> None:
    promised = [rate for rate in measured() if rate.kept is not None]
    assert len(promised) == 55
    assert [rate for rate in promised if not rate.kept] == []


def test_the_defaults_are_measured_where_the_promises_were_made() -> None:
    sizes = {
        method: {rate.items for rate in measured() if rate.method == method and rate.at_least}
        for method in ("wilson", "scaled wilson")
    }
    assert sizes == {"wilson": {10, 30, 100, 1000}, "scaled wilson": {10, 30, 100, 1000}}
    assert {rate.at_least for rate in measured()} == {0.945, None}
    assert {rate.at_most for rate in measured()} == {0.055, None}


def test_what_is_no_default_stands_beside_without_a_promise() -> None:
    others = [rate for rate in measured() if rate.method in ("t", "clopper-pearson")]
    assert {rate.kept for rate in others} == {None}
    found = named(list(others))
    assert found[10, "t", "92 % ones"] < 0.6  # that is why it is none
    assert found[30, "t", "worst"] < 0.15


# Coverage -----------------------------------------------------------------------------------------


def test_the_coverage_of_shares_is_that_of_an_independent_count() -> None:
    """Counted for a coarse grid of p in [0.5, 0.995], hence the tolerance."""
    found = named(list(binary_coverage([20, 30, 100, 300])))
    expected = {
        "wilson": (0.953, 0.952, 0.951, 0.950),
        "clopper-pearson": (0.977, 0.973, 0.964, 0.959),
        "t": (0.868, 0.892, 0.932, 0.944),
    }
    for method, rates in expected.items():
        for n, rate in zip((20, 30, 100, 300), rates, strict=True):
            assert found[n, method, "average"] == pytest.approx(rate, abs=3e-3)


def test_average_and_worst_agree_with_a_fine_grid() -> None:
    n = 12
    held = []
    for p in np.linspace(0.5, 0.995, 4951):
        chances = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        covers = [
            (interval.low or 0.0) <= p <= (interval.high or 0.0)
            for interval in (wilson(k, n) for k in range(n + 1))
        ]
        held.append(sum(c for c, inside in zip(chances, covers, strict=True) if inside))
    found = named(list(binary_coverage([n])))
    assert found[n, "wilson", "average"] == pytest.approx(sum(held) / len(held), abs=3e-4)
    assert min(held) - 2e-3 < found[n, "wilson", "worst"] <= min(held)


def test_clopper_pearson_covers_at_least_95_percent_everywhere() -> None:
    found = named(list(binary_coverage([7, 40])))
    assert found[7, "clopper-pearson", "worst"] > 0.95
    assert found[40, "clopper-pearson", "worst"] > 0.95


def test_each_shape_has_the_mean_it_claims() -> None:
    for place, (mean, draw) in enumerate(shapes().values()):
        scores = draw(generator(1, place), (1, 200_000))
        assert scores.mean() == pytest.approx(mean, abs=4e-3)
        assert scores.min() >= 0
        assert scores.max() <= 1


def test_scaled_wilson_covers_where_t_does_not() -> None:
    found = named(list(graded_coverage(1000, 3, [10])))
    assert found[10, "scaled wilson", "92 % ones"] > 0.94
    assert found[10, "t", "92 % ones"] < 0.60
    averaged = [found[10, "t", shape] for shape in shapes()]
    assert found[10, "t", "average"] == pytest.approx(sum(averaged) / 4)


def test_a_seed_gives_the_same_rates_and_another_seed_others() -> None:
    one = list(graded_coverage(200, 3, [30]))
    assert list(graded_coverage(200, 3, [30])) == one
    assert list(graded_coverage(200, 4, [30])) != one


# False alarms -------------------------------------------------------------------------------------


def test_the_false_alarms_of_the_midp_are_those_of_the_binomial_written_out() -> None:
    found = named(list(mcnemar_alarms([30, 500])))
    assert found[30, "mcnemar mid-p", "20 %"] == pytest.approx(0.031, abs=5e-4)
    assert found[500, "mcnemar mid-p", "10 %"] == pytest.approx(0.049, abs=5e-4)


def test_the_sign_flip_test_alarms_at_most_as_often_as_it_says() -> None:
    for rate in sign_flip_alarms(600, 5, [12]):
        assert rate.rate < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_equal_conditions_are_real_no_more_often_however_many_there_are() -> None:
    rates = [rate.rate for rate in family_alarms(800, 5, [60])]
    assert len(rates) == 3
    assert max(rates) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)
    assert rates[0] > 0.01


# The gate -----------------------------------------------------------------------------------------


def every_table(n: int, psi: float, delta: float, margin: float) -> Counter[str]:
    """The chance of each verdict, from every table there is."""
    gain, loss = (psi + delta) / 2, max(0.0, (psi - delta) / 2)
    chances: Counter[str] = Counter()
    for b in range(n + 1):
        for c in range(n + 1 - b):
            ways = math.comb(n, b) * math.comb(n - b, c)
            chance = ways * gain**b * loss**c * (1 - psi) ** (n - b - c)
            chances[not_worse_verdict(b, c, n, margin)] += chance  # type: ignore[assignment]
    return chances


def test_the_gate_is_measured_right_by_every_table_of_20_items() -> None:
    found = named(list(gate_errors([20])))
    settings = [(psi, m) for psi in DISCORDANCES for m in MARGINS]
    fails = [every_table(20, psi, 0.0, m)["fail"] for psi, m in settings]
    assert found[20, "tango", "false fail"] == pytest.approx(max(fails), abs=1e-7)
    through = {}
    for psi, m in settings:
        if psi >= m:
            chances = every_table(20, psi, -m, m)
            through[psi, m] = chances["pass"] + chances["no_change"]
    beside = max(rate for (psi, m), rate in through.items() if psi == m and psi >= 0.05)
    inside = max(rate for (psi, m), rate in through.items() if psi > m and psi >= 0.05)
    for psi in (0.02, 0.03):
        rare = max(rate for (each, _), rate in through.items() if each == psi)
        assert found[20, "tango", f"{100 * psi:g} % change"] == pytest.approx(rare, abs=1e-7)
    assert found[20, "tango", "only losses"] == pytest.approx(beside, abs=1e-7)
    assert found[20, "tango", "false pass"] == pytest.approx(inside, abs=1e-7)


def test_where_fewer_items_change_the_rate_stands_beside_without_a_promise() -> None:
    rare = {r.setting: r for r in gate_errors([100]) if r.setting.endswith("% change")}
    assert {setting: round(rate.rate, 3) for setting, rate in rare.items()} == {
        "2 % change": 0.133,  # 0.98 to the 100: that no item changes
        "3 % change": 0.083,
    }
    assert {rate.kept for rate in rare.values()} == {None}


def test_the_gate_of_graded_scores_errs_no_more_than_that_of_right_and_wrong() -> None:
    rates = list(graded_gate_errors([100, 300]))
    promised = [rate for rate in rates if rate.at_most is not None]
    assert len(promised) == 4
    assert all(rate.kept for rate in promised)
    found = named(rates)
    assert min(found[n, "skewed wilson", "false pass"] for n in (100, 300)) > 0.05  # not idle
    assert max(found[n, "skewed wilson", "only losses"] for n in (100, 300)) < 0.06


def test_the_gate_of_graded_scores_is_measured_for_each_shape() -> None:
    rates = list(shaped_gate_errors(300, 3))
    settings = [rate.setting for rate in rates]
    assert settings == ["fails", *shapes(), "average"]
    assert [rate.setting for rate in rates if rate.kept] == ["fails", "average"]
    shaped = [rate.rate for rate in rates[1:-1]]
    assert rates[-1].rate == pytest.approx(sum(shaped) / 4)


@pytest.mark.parametrize(("n", "psi", "margin"), [(200, 0.1, 0.03), (500, 0.2, 0.05)])
def test_the_gate_errs_at_most_5_5_percent_in_10_000_simulated_runs(
    n: int, psi: float, margin: float
) -> None:
    verdict = lru_cache(maxsize=None)(not_worse_verdict)
    random = generator(7, n)
    unchanged = random.multinomial(n, [psi / 2, psi / 2, 1 - psi], 10_000)
    worse = random.multinomial(n, [(psi - margin) / 2, (psi + margin) / 2, 1 - psi], 10_000)
    fails = sum(verdict(int(b), int(c), n, margin) == "fail" for b, c, _ in unchanged)
    through = sum(verdict(int(b), int(c), n, margin) in ("pass", "no_change") for b, c, _ in worse)
    assert fails <= 550
    assert 400 < through <= 550  # a gate that never passed would err less, and be of no use


def test_the_binomial_sums_to_one_at_its_edges_too() -> None:
    for p in (0.0, 0.3, 1.0):
        assert binomial(40, p).sum() == pytest.approx(1.0)
