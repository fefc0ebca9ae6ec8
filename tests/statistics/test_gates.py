"""What a gate decides, and its words."""

from __future__ import annotations

import pytest

from pytest_llmeval.records import GateVerdict, Interval, Score
from pytest_llmeval.statistics import at_least, measure, scaled_wilson, wilson
from pytest_llmeval.statistics.gates import Decision, verdict_of
from pytest_llmeval.statistics.metrics import Judged

RIGHT = Score("s", "right", 1.0)
WRONG = Score("s", "wrong", 0.0)
EMPTY = Score("s", "no_answer", 0.0, "empty")
TIMEOUT = Score("s", "failure", None, "timeout")


def trials(right: int, wrong: int, failed: int = 0) -> list[Judged]:
    outcomes = [RIGHT] * right + [WRONG] * wrong + [TIMEOUT] * failed
    return [(f"item-{number}", 1, score) for number, score in enumerate(outcomes)]


def decided(threshold: float, scores: list[Judged], planned: int | None = None) -> Decision:
    count = len(scores) if planned is None else planned
    metric = measure("sums", "tiny", "s", headline=True, planned=count, scores=scores)
    return at_least(metric, threshold, scores)


def test_a_gate_passes_when_the_lower_bound_reaches_the_threshold() -> None:
    assert decided(0.85, trials(188, 12))[:2] == ("pass", "at least 0.85: lower bound 0.898")


def test_a_gate_fails_when_the_upper_bound_stays_below() -> None:
    assert decided(0.85, trials(118, 82))[:2] == (
        "fail",
        "at least 0.85: upper bound 0.656, mean 0.590",
    )


def test_anything_between_is_inconclusive_and_says_how_many_items_would_decide() -> None:
    assert decided(0.85, trials(176, 24))[:2] == (
        "inconclusive",
        (
            "at least 0.85: 0.880 [0.827, 0.919], 200 items leave it open; "
            "at this rate about 550 items would decide"
        ),
    )


def test_at_the_threshold_no_number_of_items_decides() -> None:
    verdict, message, _ = decided(0.85, trials(170, 30))
    assert verdict == "inconclusive"
    assert message.endswith("exactly at the threshold, no number of items decides")


def test_one_item_leaves_everything_open() -> None:
    verdict, message, _ = decided(0.5, trials(1, 0))
    assert verdict == "inconclusive"
    assert "1.000 [0.206, 1.000], 1 item leaves it open" in message


def test_all_right_of_few_does_not_pass_a_high_gate() -> None:
    assert decided(0.9, trials(12, 0)).verdict == "inconclusive"
    assert decided(0.9, trials(40, 0)).verdict == "pass"


def test_bounds_are_rounded_outwards() -> None:
    low = wilson(19, 20).low
    assert low is not None
    _, message, _ = decided(low + 1e-5, trials(19, 1))
    assert f"[{int(low * 1000) / 1000:.3f}, " in message


def test_no_answer_counts_against_the_gate() -> None:
    scores = [(f"item-{n}", 1, RIGHT if n < 150 else EMPTY) for n in range(200)]
    assert decided(0.85, scores).verdict == "fail"


def test_failures_that_cannot_change_the_verdict_are_named() -> None:
    assert decided(0.85, trials(187, 10, failed=3))[:2] == (
        "pass",
        "at least 0.85: lower bound 0.909 (even with 3 trials of 200 without an outcome all wrong)",
    )
    verdict, message, _ = decided(0.85, trials(100, 97), planned=200)
    assert verdict == "fail"
    assert message.endswith("(even with 3 trials of 200 without an outcome all right)")


def test_failures_that_could_undo_a_pass_make_it_inconclusive() -> None:
    verdict, message, _ = decided(0.85, trials(177, 13, failed=10))
    assert verdict == "inconclusive"
    assert message == (
        "at least 0.85: lower bound 0.886, but 10 trials of 200 without an outcome: "
        "8 of them wrong would undo the pass"
    )


def test_trials_never_asked_could_undo_a_fail() -> None:
    verdict, message, _ = decided(0.85, trials(10, 15), planned=100)
    assert verdict == "inconclusive"
    assert "75 trials of 100 without an outcome: 69 of them right would undo the fail" in message


def test_an_open_gate_mentions_what_is_missing() -> None:
    verdict, message, _ = decided(0.85, trials(17, 2, failed=1))
    assert verdict == "inconclusive"
    assert message.endswith("would decide (1 trial of 20 without an outcome)")


def test_nothing_answered_decides_nothing() -> None:
    assert decided(0.85, trials(0, 0, failed=4))[:2] == (
        "inconclusive",
        "at least 0.85: nothing was answered, 4 trials without an outcome",
    )
    assert decided(0.85, [])[:2] == ("inconclusive", "at least 0.85: nothing was asked")


@pytest.mark.parametrize(
    ("verdict", "right", "wrong"), [("pass", 188, 12), ("fail", 100, 100), ("pass", 30, 0)]
)
@pytest.mark.parametrize("missing", [1, 20, 60])
def test_the_tipping_count_is_the_fewest_that_undo_the_verdict(
    verdict: GateVerdict, right: int, wrong: int, missing: int
) -> None:
    planned = right + wrong + missing
    undoing = [
        count
        for count in range(missing + 1)
        if verdict
        != verdict_of(
            wilson(right + (missing - count if verdict == "pass" else count), planned), 0.85
        )
    ]
    _, message, _ = decided(0.85, trials(right, wrong), planned)
    assumed = "wrong" if verdict == "pass" else "right"
    words = f" {max(1, undoing[0])} of them {assumed} would" if undoing else "(even with"
    assert words in message


@pytest.mark.parametrize("items", [2, 5, 20, 200])
@pytest.mark.parametrize("mean", [0.01, 0.2, 0.5, 0.8])
def test_graded_scores_that_speak_for_a_verdict_never_undo_it(items: int, mean: float) -> None:
    """Scores of hardly any spread: a single one that is far off could only widen the interval."""
    alike = [mean + n % 3 / 1000 for n in range(items)]
    for missing in (1, 2, 4, 10):
        wrong, right = (scaled_wilson([*alike, *[value] * missing]) for value in (0.0, 1.0))
        for count in range(1, missing):
            mixed = scaled_wilson([*alike, *[0.0] * count, *[1.0] * (missing - count)])
            assert (mixed.low or 0) >= (wrong.low or 0)
            assert (mixed.high or 1) <= (right.high or 1)
        assert (right.low or 0) >= (wrong.low or 0)


def test_missing_repeats_belong_to_their_items() -> None:
    """One item of ten lost all its repeats but one: that is less than four lost items."""
    scores = [
        (f"item-{n}", repeat, TIMEOUT if n == 0 and repeat > 1 else RIGHT)
        for n in range(10)
        for repeat in range(1, 6)
    ]
    assert decided(0.6, scores).verdict == "pass"
    assert decided(0.6, trials(10, 0), planned=14).verdict == "inconclusive"


def test_repeats_never_asked_complete_items_and_then_make_up_new_ones() -> None:
    scores = [(f"item-{n}", repeat, RIGHT) for n in range(10) for repeat in (1, 2)][:-1]
    assert decided(0.65, scores, planned=20).verdict == "pass"
    assert decided(0.65, scores, planned=26).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.85, 0.9, "pass"),
        (0.7, 0.85, "inconclusive"),
        (0.7, 0.849, "fail"),
        (None, None, "inconclusive"),
    ],
)
def test_a_threshold_is_reached_when_it_is_met(
    low: float | None, high: float | None, verdict: str
) -> None:
    assert verdict_of(Interval(low, high, "wilson"), 0.85) == verdict
