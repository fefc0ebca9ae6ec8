"""What suites that stop early decide: rules fed item by item, and the figures at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Evidence, Score
from pytest_llmeval.statistics import (
    anytime_interval,
    anytime_p,
    at_least_anytime,
    betting_interval,
    compare_anytime,
    items_for_paired_binary,
    measure,
    robbins_interval,
)
from pytest_llmeval.statistics.anytime import GateRule, PairRule, Winnings
from pytest_llmeval.statistics.gates import Decision

UNIT = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
OFTEN_BINARY = st.one_of(st.sampled_from([0.0, 1.0]), UNIT)


def judged(values: Sequence[float | None]) -> list[tuple[str, int, Score]]:
    """One repeat of each item; None is a failure."""
    return [(f"i{place}", 1, score(value)) for place, value in enumerate(values)]


def score(value: float | None) -> Score:
    if value is None:
        return Score("exact", "failure", None, "timeout")
    outcome = {0.0: "wrong", 1.0: "right"}.get(value, "graded")
    return Score("exact", outcome, value)  # type: ignore[arg-type] # one of the outcomes


def decision(
    values: Sequence[float | None], threshold: float, alpha: float = 0.05, planned: int = 0
) -> Decision:
    scores = judged(values)
    metric = measure(
        "s", "m", "exact", headline=True, planned=planned or len(scores), scores=scores
    )
    return at_least_anytime(metric, threshold, scores, alpha)


# The mean -----------------------------------------------------------------------------------------


def test_right_and_wrong_is_robbins_and_anything_else_bets() -> None:
    assert anytime_interval([1, 0, 1, 1], 0.05) == robbins_interval(3, 4)
    assert anytime_interval([], 0.05).low is None
    graded = anytime_interval([0.5, *[0.7, 0.8] * 30], 0.05)
    rest = betting_interval([0.7, 0.8] * 30)
    assert graded.method == "betting"
    assert graded.low == pytest.approx(rest.low, abs=0.03)
    assert graded.high == pytest.approx(rest.high, abs=0.03)


def test_what_robbins_has_won_is_kept_when_a_graded_score_comes() -> None:
    before = anytime_interval([1.0] * 100, 0.05)
    after = anytime_interval([*[1.0] * 100, 0.9], 0.05)
    assert before.low is not None
    assert after.low is not None
    # Half of the capital goes to the bets on either side.
    assert before.low - 0.02 < after.low < before.low


@given(
    st.lists(OFTEN_BINARY, min_size=1, max_size=60),
    st.integers(50, 950).map(lambda t: t / 1000 + 1e-4),
)
def test_a_rule_decides_exactly_where_the_interval_leaves_the_threshold(
    scores: list[float], threshold: float
) -> None:
    rule = GateRule(threshold, 0.05)
    for n, value in enumerate(scores, 1):
        interval = anytime_interval(scores[:n], 0.05)
        assert interval.low is not None
        assert interval.high is not None
        if min(abs(interval.low - threshold), abs(interval.high - threshold)) < 1e-9:
            return  # on the edge, where the last bit decides
        rule.add([value])
        where = "pass" if interval.low > threshold else "fail" if interval.high < threshold else ""
        assert rule.verdict == (where or "inconclusive")
        if where:
            return


@given(st.lists(OFTEN_BINARY, min_size=1, max_size=60))
def test_the_evidence_never_rises_with_the_mean_it_speaks_against(scores: list[float]) -> None:
    found = []
    for m in (0.05, 0.2, 0.5, 0.8, 0.95):
        evidence = Winnings(m, 0.05)
        for value in scores:
            evidence.add(value)
        found.append(evidence.log)
    for lower, higher in zip(found[1:], found, strict=False):
        assert lower <= higher + 1e-9


def test_a_verdict_stays() -> None:
    rule = GateRule(0.5, 0.05)
    decided = [rule.add([1.0]) for _ in range(20)]
    assert decided.index(True) + 1 == rule.items
    for _ in range(100):
        assert rule.add([0.0])
    assert rule.verdict == "pass"


def test_what_has_no_outcome_counts_against_both_verdicts() -> None:
    for values, threshold in (([1.0], 0.5), ([0.0], 0.5)):
        certain, doubtful = GateRule(threshold, 0.05), GateRule(threshold, 0.05)
        doubtful.add([None])
        for _ in range(12):
            certain.add(values)
            doubtful.add(values)
        assert certain.items < doubtful.items


def test_repeats_are_one_item_and_a_missing_one_is_filled() -> None:
    rule = GateRule(0.5, 0.05)
    while not rule.add([1.0, 1.0, None]):
        assert rule.items < 100
    assert rule.verdict == "pass"
    assert rule.items > 3


@pytest.mark.parametrize(
    ("threshold", "value", "verdict"),
    [(0.0, 0.0, "pass"), (1.0, 0.0, "fail"), (1.0, 1.0, "inconclusive")],
)
def test_a_threshold_at_the_end_of_the_scale(threshold: float, value: float, verdict: str) -> None:
    rule = GateRule(threshold, 0.05)
    for _ in range(200):
        rule.add([value])
    assert rule.verdict == verdict


@pytest.mark.parametrize("mean", [0.5, 0.85])
def test_a_gate_at_its_threshold_is_rarely_decided_although_every_item_is_looked_at(
    mean: float,
) -> None:
    """Scores that are 0, 1 or between, so that the evidence changes its kind in mid-sequence."""
    rng = np.random.default_rng(21)
    wrong = 0
    for _ in range(400):
        between = rng.random(300) < 0.02
        scores = np.where(between, mean, rng.random(300) < mean)
        rule = GateRule(mean, 0.05)
        wrong += any(rule.add([float(value)]) for value in scores)
    assert wrong / 400 <= 0.05


# What a gate says at the end ----------------------------------------------------------------------


def test_a_pass_names_its_bound_and_the_item_that_decided() -> None:
    verdict, message, _ = decision([1.0] * 60, 0.8)
    assert verdict == "pass"
    assert message == "at least 0.8: lower bound 0.802, mean 1.000, decided after 29 items"


def test_a_fail_names_its_bound_and_the_item_that_decided() -> None:
    verdict, message, _ = decision([0.0] * 60, 0.8)
    assert verdict == "fail"
    assert message == "at least 0.8: upper bound 0.768, mean 0.000, decided after 3 items"


def test_what_stays_open_says_so_with_the_metrics_interval() -> None:
    scores = judged([1.0, 0.0] * 10)
    metric = measure("s", "m", "exact", headline=True, planned=20, scores=scores)
    metric = replace(metric, interval=robbins_interval(10, 20))
    found = at_least_anytime(metric, 0.5, scores, 0.05)
    assert found.verdict == "inconclusive"
    assert found.message == "at least 0.5: 0.500 [0.204, 0.796], 20 items leave it open"
    assert found.evidence == Evidence(0.5, robbins_interval(10, 20), 20)


def test_trials_without_an_outcome_are_named_with_the_way_they_were_counted() -> None:
    verdict, message, _ = decision([None, *[1.0] * 40], 0.5)
    assert verdict == "pass"
    assert message.endswith("items (1 without an outcome counted wrong)")
    verdict, message, _ = decision([None, *[0.0] * 40], 0.5)
    assert verdict == "fail"
    assert message.endswith("items (1 without an outcome counted right)")
    verdict, message, _ = decision([None, 1.0, 0.0], 0.5)
    assert message.endswith("(1 of 3 trials without an outcome count against it)")


def test_nothing_answered_decides_nothing() -> None:
    verdict, message, _ = decision([None, None], 0.5)
    assert (verdict, message) == ("inconclusive", "at least 0.5: nothing was answered")
    assert decision([], 0.5, planned=3).verdict == "inconclusive"


# Pairs --------------------------------------------------------------------------------------------


def test_a_pair_is_decided_by_the_e_process_with_its_part_of_alpha() -> None:
    alone, among_six = PairRule(0.05, 1), PairRule(0.05, 6)
    decided = [(alone.add([1.0], [0.0]), among_six.add([1.0], [0.0])) for _ in range(20)]
    first = next(n for n in range(1, 21) if anytime_p(n, 0) < 0.05)
    sixth = next(n for n in range(1, 21) if anytime_p(n, 0) < 0.05 / 6)
    assert [pair.index(True) + 1 for pair in zip(*decided, strict=True)] == [first, sixth]
    assert alone.add([0.0], [1.0])


def test_items_that_one_side_has_no_outcome_for_are_left_out() -> None:
    rule = PairRule(0.05, 1)
    assert not any(rule.add([1.0], [None]) for _ in range(50))
    assert not any(rule.add([1.0, None], [1.0, 1.0]) for _ in range(50))


def test_a_comparison_of_stopped_conditions_names_the_e_process() -> None:
    items = [f"i{n}" for n in range(13)]
    scores: dict[str, dict[str, float | None]] = {
        "a": {**dict.fromkeys(items, 1.0), "i0": None},
        "b": {**dict.fromkeys(items[:12], 0.0), "i0": None, "i1": None},
    }
    (found,) = compare_anytime("s", "exact", scores, 0.05, binary={"a", "b"})
    assert (found.test, found.correction, found.family, found.interval.method) == (
        *("e-process", "holm", 1, "betting"),
    )
    assert (found.items, found.only_first, found.only_second) == (10, 10, 0)
    assert found.dropped == 1  # the last one b was never asked, and the first neither has
    assert found.p == found.p_adjusted == anytime_p(10, 0)
    assert found.real
    assert found.difference == 1.0
    assert found.interval.low is not None
    assert found.interval.low > 0
    assert found.interval.high == 1.0


def test_what_a_pair_has_decided_stays_real_however_it_goes_on() -> None:
    items = [f"i{n:02}" for n in range(30)]
    first = {item: 1.0 if place < 9 else 0.0 for place, item in enumerate(items)}
    second = {item: 0.0 if place < 9 else 1.0 for place, item in enumerate(items[:18])}
    (found,) = compare_anytime("s", "exact", {"a": first, "b": second}, 0.05, binary=first)
    assert found.p == anytime_p(9, 0)


def test_alpha_says_what_is_real() -> None:
    scores = {"a": dict.fromkeys("uvwxyz", 1.0), "b": dict.fromkeys("uvwxyz", 0.0)}
    verdicts = [compare_anytime("s", "x", scores, alpha, binary={})[0] for alpha in (0.05, 0.2)]
    assert [found.real for found in verdicts] == [False, True]
    assert verdicts[0].only_first is None


def test_a_pair_without_a_common_item_has_no_p_and_no_place_in_the_family() -> None:
    scores = {"a": {"x": 1.0}, "b": {"x": 0.0}, "c": {"y": 1.0}}
    found = compare_anytime("s", "exact", scores, 0.05, binary=scores)
    assert [(c.first, c.second, c.p is None, c.family) for c in found] == [
        ("a", "b", False, 1),
        ("a", "c", True, 1),
        ("b", "c", True, 1),
    ]
    assert found[1].difference is None
    assert found[1].interval.low is None


@given(st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=40), st.integers(1, 6))
def test_a_decided_pair_is_real_at_the_end(values: list[tuple[float, float]], others: int) -> None:
    """Holm's correction can only add to what the rules have found by Bonferroni's."""
    rule = PairRule(0.05, others)
    for one, other in values:
        rule.add([one], [other])
    first = {str(place): one for place, (one, _) in enumerate(values)}
    second = {str(place): other for place, (_, other) in enumerate(values)}
    (found,) = compare_anytime("s", "exact", {"a": first, "b": second}, 0.05, binary={})
    assert found.p is not None
    assert rule.decided == (others * found.p < 0.05)


# What it saves ------------------------------------------------------------------------------------


def test_at_twice_the_planned_effect_half_of_the_items_are_saved_and_the_error_is_kept() -> None:
    """The short form of benchmarks/stopping.py: psi 0.3, planned for 10 points, 20 in truth."""
    planned = items_for_paired_binary(0.3, 0.1)
    assert planned == 234
    rng = np.random.default_rng(23)

    def stops_at(difference: float) -> int:
        rule, draws = PairRule(0.05, 1), rng.random(planned)
        for n, draw in enumerate(draws, 1):
            first = 1.0 if draw < (0.3 + difference) / 2 else 0.0
            second = 1.0 if (0.3 + difference) / 2 <= draw < 0.3 else 0.0
            if rule.add([first], [second]):
                return n
        return planned + 1

    saved = [max(0, planned - stops_at(0.2)) / planned for _ in range(300)]
    assert np.median(saved) >= 0.5
    assert sum(stops_at(0.0) <= planned for _ in range(400)) / 400 <= 0.05


def test_a_gate_saves_as_much() -> None:
    """At least 0.85, planned for 0.90, in truth 0.95: 363 items at 80 % power."""
    rng = np.random.default_rng(29)
    saved = []
    for _ in range(300):
        rule = GateRule(0.85, 0.05)
        for value in rng.random(363) < 0.95:
            if rule.add([float(value)]):
                break
        saved.append((363 - rule.items) / 363)
    assert np.median(saved) >= 0.5


def test_the_limit_of_the_evidence_is_one_over_alpha() -> None:
    evidence = Winnings(0.5, 0.05)
    for _ in range(6):
        evidence.add(1.0)
    assert math.exp(evidence.log) == pytest.approx(2**6 / 7)
