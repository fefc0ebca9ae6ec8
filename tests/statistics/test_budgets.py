"""Gates on latency, tokens and failures: verdicts and their words."""

from __future__ import annotations

import pytest

from pytest_llmeval.statistics import (
    failures_at_most,
    latency_at_most,
    quantile_interval,
    t_interval,
    tokens_at_most,
)
from pytest_llmeval.statistics.budgets import Costs


def costs(*values: float | None) -> Costs:
    """One trial for each item."""
    return {f"item-{n}": [value] for n, value in enumerate(values)}


SPREAD = [100.0 + n for n in range(200)]


# Latency ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(296, "pass"), (295.9, "inconclusive"), (283, "inconclusive"), (282.9, "fail")],
)
def test_a_latency_is_decided_by_the_interval_of_its_percentile(limit: float, verdict: str) -> None:
    interval = quantile_interval(SPREAD, 0.95)
    assert (interval.low, interval.high) == (283, 296)
    found = latency_at_most(costs(*SPREAD), limit, 95)
    assert found.verdict == verdict
    assert found.message == (
        f"latency at most {limit:g} ms at the 95th percentile: 289 ms [283 ms, 296 ms] "
        "over 200 answers"
    )


def test_the_numbers_of_a_latency_are_in_milliseconds() -> None:
    evidence = latency_at_most(costs(*SPREAD), 2000, 50).evidence
    assert evidence is not None
    assert (evidence.value, evidence.n, evidence.interval.method) == (199, 200, "order statistics")


def test_seconds_are_told_in_seconds() -> None:
    found = latency_at_most(costs(*[1234.0] * 80), 2500, 95)
    assert found.message.startswith("latency at most 2.5 s at the 95th percentile: 1.23 s [1.23 s")


@pytest.mark.parametrize(
    ("percentile", "word"),
    [(50, "50th"), (1, "1st"), (92, "92nd"), (93, "93rd"), (11, "11th"), (99.9, "99.9th")],
)
def test_a_percentile_is_told_as_one_says_it(percentile: float, word: str) -> None:
    assert f"at the {word} percentile" in latency_at_most({}, 1, percentile).message


def test_few_answers_have_no_upper_bound_and_say_how_many_it_takes() -> None:
    verdict, message, _ = latency_at_most(costs(*SPREAD[:12]), 2000, 95)
    assert verdict == "inconclusive"
    assert message.endswith(
        "[109 ms, none] over 12 answers; an upper bound needs at least 72 items"
    )


def test_few_answers_may_be_enough_to_fail() -> None:
    assert latency_at_most(costs(*SPREAD[:12]), 50, 95).verdict == "fail"


def test_repeats_are_no_further_answers_to_the_interval() -> None:
    repeated = {f"item-{n}": [value] * 10 for n, value in enumerate(SPREAD[:20])}
    assert latency_at_most(repeated, 2000, 95).verdict == "inconclusive"


def test_answers_that_never_came_could_have_been_slow() -> None:
    verdict, message, _ = latency_at_most(costs(*SPREAD, *[None] * 10), 2000, 95)
    assert verdict == "inconclusive"
    assert message.endswith(
        "over 200 answers, but 10 trials of 210 without an answer: "
        "5 of them slow would undo the pass"
    )
    verdict, message, _ = latency_at_most(costs(*SPREAD, *[None] * 3), 2000, 95)
    assert verdict == "pass"
    assert message.endswith("(even with 3 trials of 203 without an answer all slow)")


def test_answers_that_never_came_could_have_been_fast() -> None:
    verdict, message, _ = latency_at_most(costs(*SPREAD, *[None] * 3), 200, 95)
    assert verdict == "fail"
    assert message.endswith("(even with 3 trials of 203 without an answer all fast)")


def test_no_answer_at_all_decides_nothing() -> None:
    words = "latency at most 2 s at the 95th percentile: nothing to measure in 2 trials"
    assert latency_at_most(costs(None, None), 2000, 95)[:2] == ("inconclusive", words)
    assert latency_at_most({}, 2000, 95).message.endswith("nothing was asked")


# Tokens -------------------------------------------------------------------------------------------

LENGTHS = [10.0 + n % 5 for n in range(200)]


@pytest.mark.parametrize(
    ("limit", "verdict"), [(12.2, "pass"), (12.1, "inconclusive"), (11.7, "fail")]
)
def test_tokens_are_decided_by_the_t_interval_of_their_mean(limit: float, verdict: str) -> None:
    interval = t_interval(LENGTHS)
    assert interval.low == pytest.approx(11.802, abs=1e-3)
    assert interval.high == pytest.approx(12.198, abs=1e-3)
    found = tokens_at_most(costs(*LENGTHS), limit, 64)
    assert found.verdict == verdict
    words = f"tokens at most {limit:g} an answer: 12.0 [11.8, 12.2] over 200 items"
    assert found.message == words


def test_an_item_asked_often_is_one_mean() -> None:
    repeated = {f"item-{n}": [value, value + 2] for n, value in enumerate(LENGTHS)}
    evidence = tokens_at_most(repeated, 64, 64).evidence
    assert evidence is not None
    assert (evidence.n, evidence.value) == (200, 13)


def test_answers_of_equal_length_do_not_give_an_interval_of_width_0() -> None:
    verdict, message, evidence = tokens_at_most(costs(10, 10), 12, 64)
    assert verdict == "inconclusive"
    assert "10.0 [0.8, 47.5] over 2 items" in message
    assert evidence is not None
    assert evidence.interval.method == "scaled wilson"
    assert tokens_at_most(costs(*[10.0] * 200), 12, 64).verdict == "pass"


def test_one_answer_is_too_few_for_a_mean() -> None:
    verdict, message, _ = tokens_at_most(costs(10), 64, 64)
    assert verdict == "inconclusive"
    assert message.endswith("[none, none] over 1 item, too few to tell: at least two are needed")


def test_an_answer_without_a_count_may_have_any_length() -> None:
    assert tokens_at_most(costs(*LENGTHS, None), 13, 64).verdict == "pass"
    verdict, message, _ = tokens_at_most(costs(*LENGTHS, *[None] * 8), 13, 64)
    assert verdict == "inconclusive"
    assert "8 trials of 208 without an answer: 3 of them full would undo the pass" in message
    message = tokens_at_most(costs(*LENGTHS, None), 11, 64).message
    assert message.endswith("(even with 1 trial of 201 without an answer all empty)")


def test_an_empty_answer_could_undo_a_pass_by_the_spread_it_brings() -> None:
    alike = costs(*[60 + n % 2 / 10 for n in range(20)], None)
    verdict, message, _ = tokens_at_most(alike, 62, 64)
    assert verdict == "inconclusive"
    assert "1 trial of 21 without an answer: 1 of them empty would undo the pass" in message


def test_no_count_at_all_decides_nothing() -> None:
    verdict, message, evidence = tokens_at_most(costs(None), 64, 64)
    assert (verdict, evidence) == ("inconclusive", None)
    assert message == "tokens at most 64 an answer: nothing to measure in 1 trial"


# Failures -----------------------------------------------------------------------------------------


def test_failures_are_a_plain_count() -> None:
    assert failures_at_most({"timeout": 2}, 200, 0.01)[:2] == (
        "pass",
        "failures at most 1 %: 2 of 200 trials failed (timeout 2)",
    )
    assert failures_at_most({"timeout": 2, "error": 1}, 200, 0.01)[:2] == (
        "fail",
        "failures at most 1 %: 3 of 200 trials failed (error 1, timeout 2)",
    )
    assert failures_at_most({}, 200, 0.0).verdict == "pass"


def test_all_may_have_failed() -> None:
    found = failures_at_most({"server": 4}, 4, 0.5)
    assert found.verdict == "fail"
    assert found.evidence is not None
    assert (found.evidence.value, found.evidence.n) == (1.0, 4)
    assert found.evidence.interval.low is None


def test_nothing_asked_has_no_share_of_failures() -> None:
    assert failures_at_most({}, 0, 0.5)[:2] == (
        "inconclusive",
        "failures at most 50 %: nothing was asked",
    )
