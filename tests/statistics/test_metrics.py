"""From scores to a metric."""

from __future__ import annotations

import random

import pytest

from pytest_llmeval.records import Interval, Metric, Score
from pytest_llmeval.statistics import (
    clopper_pearson,
    measure,
    repeats_interval,
    scaled_wilson,
    wilson,
)
from pytest_llmeval.statistics.metrics import Judged

RIGHT = Score("s", "right", 1.0)
WRONG = Score("s", "wrong", 0.0)
HALF = Score("s", "graded", 0.5)
EMPTY = Score("s", "no_answer", 0.0, "empty")
CUT = Score("s", "no_answer", 0.0, "truncated")
TIMEOUT = Score("s", "failure", None, "timeout")


def items(*scores: Score) -> list[Judged]:
    return [(f"item-{number}", 1, score) for number, score in enumerate(scores)]


def measured(scores: list[Judged], planned: int | None = None) -> Metric:
    count = len(scores) if planned is None else planned
    return measure("sums", "tiny/plain", "s", headline=True, planned=count, scores=scores)


def test_right_and_wrong_once_each_have_wilsons_interval() -> None:
    metric = measured(items(RIGHT, RIGHT, WRONG))
    assert (metric.suite, metric.condition, metric.scorer) == ("sums", "tiny/plain", "s")
    assert (metric.trials, metric.answered, metric.items, metric.right) == (3, 3, 3, 2)
    assert metric.mean == pytest.approx(2 / 3)
    assert metric.interval == wilson(2, 3)
    assert not metric.incomplete


@pytest.mark.parametrize(("right", "n"), [(20, 29), (0, 50), (50, 50)])
def test_few_binary_items_and_items_all_alike_have_the_exact_interval_too(
    right: int, n: int
) -> None:
    metric = measured(items(*[RIGHT] * right, *[WRONG] * (n - right)))
    assert metric.exact == clopper_pearson(right, n)
    assert metric.interval == wilson(right, n)


def test_many_items_graded_ones_and_none_have_no_exact_interval() -> None:
    assert measured(items(*[RIGHT] * 15, *[WRONG] * 15)).exact is None
    assert measured(items(HALF, RIGHT)).exact is None
    assert measured(items(TIMEOUT)).exact is None


def test_repeats_add_the_interval_for_this_fixed_set() -> None:
    scores = [(f"i{n}", k, RIGHT if n % 2 or k > 2 else WRONG) for n in range(8) for k in (1, 2, 3)]
    metric = measured(scores)
    values = [[1.0] * 3 if n % 2 else [0.0, 0.0, 1.0] for n in range(8)]
    assert metric.fixed_set == repeats_interval(values).fixed_set
    assert measured(items(RIGHT, WRONG)).fixed_set is None


def test_no_answer_counts_as_0_and_is_left_out_of_the_complete_case() -> None:
    metric = measured(items(RIGHT, RIGHT, WRONG, EMPTY, CUT, CUT))
    assert metric.mean == pytest.approx(2 / 6)
    assert metric.complete_case == pytest.approx(2 / 3)
    assert metric.interval == wilson(2, 6)
    assert metric.no_answer == {"empty": 1, "truncated": 2}
    assert not metric.incomplete


def test_failures_leave_the_denominator_and_make_the_number_incomplete() -> None:
    metric = measured(items(RIGHT, WRONG, TIMEOUT), planned=5)
    assert (metric.trials, metric.answered, metric.items) == (5, 2, 2)
    assert metric.mean == 0.5
    assert metric.interval == wilson(1, 2)
    assert metric.failures == {"timeout": 1}
    assert metric.incomplete


def test_an_empty_list_has_no_mean() -> None:
    for scores in ([], items(TIMEOUT, TIMEOUT)):
        metric = measured(scores, planned=2)
        assert (metric.mean, metric.complete_case, metric.answered) == (None, None, 0)
        assert metric.interval == Interval(None, None, "wilson")


def test_only_answers_that_could_not_be_judged_leave_no_complete_case() -> None:
    metric = measured(items(EMPTY, EMPTY))
    assert (metric.mean, metric.complete_case) == (0.0, None)
    assert metric.interval == wilson(0, 2)


def test_graded_scores_have_the_scaled_interval() -> None:
    metric = measured(items(RIGHT, HALF, WRONG, HALF))
    assert metric.mean == 0.5
    assert metric.right == 1
    assert metric.interval == scaled_wilson([1, 0.5, 0, 0.5])


def test_an_item_asked_many_times_is_one_item() -> None:
    """Eight repeats that all agree tell no more about other items than one does."""
    scores = [
        (f"item-{number}", repeat, RIGHT if number < 15 else WRONG)
        for number in range(20)
        for repeat in range(1, 9)
    ]
    metric = measured(scores)
    assert (metric.trials, metric.answered, metric.items, metric.right) == (160, 160, 20, 120)
    assert metric.interval.method == "scaled wilson"
    expected = wilson(15, 20)
    assert metric.interval.low == pytest.approx(expected.low)
    assert metric.interval.high == pytest.approx(expected.high)


def test_every_item_weighs_the_same_when_a_repeat_failed() -> None:
    metric = measured([("a", 1, RIGHT), ("a", 2, TIMEOUT), ("b", 1, WRONG), ("b", 2, WRONG)])
    assert metric.mean == 0.5
    assert (metric.answered, metric.items) == (3, 2)


def test_the_order_of_trials_changes_no_bit() -> None:
    rng = random.Random(1)
    scores = [
        (f"item-{n}", r, Score("s", "graded", rng.random() * 0.9 + 0.05))
        for n in range(50)
        for r in (1, 2, 3)
    ]
    expected = repr(measured(scores))
    for _ in range(5):
        rng.shuffle(scores)
        assert repr(measured(scores)) == expected


def test_a_trial_scored_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="item a, repeat 2 is scored more than once"):
        measured([("a", 1, RIGHT), ("a", 2, RIGHT), ("a", 2, WRONG)])


def test_more_scores_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="3 trials are scored, but 2 were planned"):
        measured(items(RIGHT, RIGHT, WRONG), planned=2)
