"""What scores are worth: cells, metrics, comparisons, gates, failures, busy slots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.records import Attempt, GateSpec, Prediction, Score, Trial
from pytest_llmeval.run.conclusion import (
    count_failures,
    picked,
    selected_parts,
    slots_busy,
    worth_of,
)

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench

TWO_MODELS = {"l": {"engine": "fake"}, "s": {"engine": "fake"}}


@pytest.fixture
def trials(bench: Workbench) -> list[Trial]:
    """Four sums, asked of one model."""
    return bench.trials(bench.settings(), bench.suite())


# Cells and metrics --------------------------------------------------------------------------------


def test_an_empty_list_has_no_mean(trials: list[Trial]) -> None:
    (metric,) = worth_of(trials, {}).metrics
    assert (metric.trials, metric.answered, metric.mean) == (4, 0, None)
    assert metric.interval.low is None
    assert metric.incomplete


def test_nothing_selected_is_worth_nothing() -> None:
    worth = worth_of((), {})
    assert (worth.cells, worth.metrics, worth.comparisons) == ((), (), ())


def test_a_failure_is_no_score(trials: list[Trial], make: type[Make]) -> None:
    values = (1.0, 1.0, 0.0, None)
    scores = {t.id: (make.score(v),) for t, v in zip(trials, values, strict=True)}
    (metric,) = worth_of(trials, scores).metrics
    assert (metric.trials, metric.answered, metric.right) == (4, 3, 2)
    assert metric.mean == pytest.approx(2 / 3)
    assert metric.failures == {"unreachable": 1}


def test_a_trial_that_was_never_judged_makes_its_metric_incomplete(
    trials: list[Trial], make: type[Make]
) -> None:
    (metric,) = worth_of(trials, {t.id: (make.score(1.0),) for t in trials[:3]}).metrics
    assert (metric.answered, metric.mean, metric.incomplete) == (3, 1.0, True)


def test_each_scorer_is_a_metric_and_the_first_is_the_headline(
    bench: Workbench, make: type[Make]
) -> None:
    trials = bench.trials(bench.settings(), bench.suite(score=["exact", "includes"]))
    scores = {t.id: (make.score(0.0), make.score(1.0, "includes")) for t in trials}
    exact, includes = worth_of(trials, scores).metrics
    assert (exact.scorer, exact.headline, exact.mean) == ("exact", True, 0.0)
    assert (includes.scorer, includes.headline, includes.mean) == ("includes", False, 1.0)


def test_metrics_are_read_by_suite_although_trials_are_sent_by_model(
    bench: Workbench, make: type[Make]
) -> None:
    bench.config(models=TWO_MODELS)
    collected = bench.trials(bench.settings(), bench.suite("one"), bench.suite("two"))
    sent = sorted(collected, key=lambda trial: trial.condition.model)
    worth = worth_of(sent, {t.id: (make.score(1.0),) for t in sent})
    assert [(m.suite, m.condition) for m in worth.metrics] == [
        *(("one", "l"), ("one", "s")),
        *(("two", "l"), ("two", "s")),
    ]


def test_scores_that_only_a_test_gave_are_measured_too(
    trials: list[Trial], make: type[Make]
) -> None:
    suite = replace(trials[0].suite, scorers=(), is_function=True)
    marked = [replace(trial, suite=suite) for trial in trials]
    (metric,) = worth_of(marked, {t.id: (make.score(1.0, "passed"),) for t in marked}).metrics
    assert (metric.scorer, metric.headline, metric.mean) == ("passed", True, 1.0)


# Comparisons --------------------------------------------------------------------------------------


@pytest.fixture
def pair(bench: Workbench) -> list[Trial]:
    """Four sums, asked of two models."""
    bench.config(models=TWO_MODELS)
    return bench.trials(bench.settings(), bench.suite())


def test_conditions_are_compared_on_the_items_that_both_answered(
    pair: list[Trial], make: type[Make]
) -> None:
    scores = {t.id: (make.score(1.0 if t.condition.model == "l" else 0.0),) for t in pair}
    scores[pair[0].id] = (make.score(None),)
    (comparison,) = worth_of(pair, scores).comparisons
    assert (comparison.first, comparison.second) == ("l", "s")
    assert (comparison.items, comparison.dropped, comparison.difference) == (3, 1, 1.0)
    assert (comparison.only_first, comparison.only_second) == (3, 0)


def test_a_comparison_is_read_again_under_what_the_unjudged_may_have_been(
    pair: list[Trial], make: type[Make]
) -> None:
    scores = {t.id: (make.score(1.0 if t.condition.model == "l" else 0.0),) for t in pair}
    (whole,) = worth_of(pair, scores).comparisons
    assert whole.sensitivity is None
    scores[pair[0].id] = (make.score(None),)
    scores[pair[1].id] = (Score("exact", "no_answer", 0.0, "empty"),)
    (comparison,) = worth_of(pair, scores).comparisons
    found = comparison.sensitivity
    assert found is not None
    assert (found.missing, found.missing_first, found.missing_second) == (2, 2, 0)
    assert (found.complete_case.items, found.missing_is_zero.difference) == (2, 0.5)
    assert found.missing_is_zero.difference != comparison.difference  # the failure left the pair


def test_an_item_that_neither_side_was_asked_is_missing_on_both(
    pair: list[Trial], make: type[Make]
) -> None:
    never = pair[0].item.id
    scores = {t.id: (make.score(1.0),) for t in pair if t.item.id != never}
    (comparison,) = worth_of(pair, scores).comparisons
    assert comparison.sensitivity is not None
    assert (comparison.sensitivity.missing, comparison.sensitivity.missing_first) == (1, 1)


def test_the_readings_are_held_to_the_level_that_the_correction_leaves(
    bench: Workbench, make: type[Make]
) -> None:
    """6 to 0 has p 0.016: real alone, and not among the six pairs of four conditions."""
    names = "abcd"
    bench.config(models={name: {"engine": "fake"} for name in names})
    items = [{"id": f"i{n}", "a": n, "answer": "x"} for n in range(8)]
    trials = bench.trials(bench.settings(), bench.suite(items=items))
    wrong = {("b", f"i{n}") for n in range(6)}
    scores = {
        t.id: (make.score(float((t.condition.model, t.item.id) not in wrong)),) for t in trials
    }
    scores[next(t.id for t in trials if t.condition.model == "a" and t.item.id == "i7")] = (
        Score("exact", "no_answer", 0.0, "empty"),
    )
    first = worth_of(trials, scores).comparisons[0]
    assert (first.first, first.second, first.real) == ("a", "b", False)
    assert first.sensitivity is not None
    assert not first.sensitivity.complete_case.significant
    assert first.sensitivity.complete_case.p == pytest.approx(0.015625)


def test_repeats_of_an_item_are_one_pair(bench: Workbench, make: type[Make]) -> None:
    bench.config(models=TWO_MODELS, repeats=3)
    trials = bench.trials(bench.settings(), bench.suite())
    # The first model is right once in three repeats; one of its repeats has failed.
    values = {1: 1.0, 2: 0.0, 3: None}
    scores = {
        t.id: (make.score(values[t.repeat] if t.condition.model == "l" else 0.0),) for t in trials
    }
    (comparison,) = worth_of(trials, scores).comparisons
    assert (comparison.items, comparison.difference) == (4, 0.5)
    assert comparison.only_first is None


def test_a_condition_with_repeats_does_not_change_the_test_of_the_others(
    bench: Workbench, make: type[Make]
) -> None:
    samplings = {"greedy": {"max_tokens": 8}, "warm": {"max_tokens": 8, "repeats": 2}}
    bench.config(models=TWO_MODELS, sampling=samplings)
    trials = bench.trials(bench.settings(), bench.suite())
    scores = {t.id: (make.score(1.0 if t.condition.model == "l" else 0.0),) for t in trials}
    comparisons = worth_of(trials, scores).comparisons
    tests = {(c.first, c.second): c.test for c in comparisons}
    assert tests.pop(("l/greedy", "s/greedy")) == "mcnemar mid-p"
    assert set(tests.values()) == {"sign-flip"}
    assert {c.family for c in comparisons} == {6}


# Gates --------------------------------------------------------------------------------------------


def test_a_gate_says_how_many_of_its_trials_were_picked(trials: list[Trial]) -> None:
    suite, gate = trials[0].suite, GateSpec("m", "exact", 0.5)
    assert picked(suite, gate, trials) == ""
    assert picked(suite, gate, trials[:3]) == "only 3 of its 4 trials were selected"
    assert picked(suite, gate, ()) == ""


# Failures -----------------------------------------------------------------------------------------


def test_failures_of_requests_and_of_headline_scorers_count(make: type[Make]) -> None:
    predictions = {"a": make.answer("a"), "b": make.failure("b"), "c": make.answer("c")}
    scores = {"a": (make.score(1.0),), "c": (make.score(None),)}
    count = count_failures(predictions, scores, 0.5)
    assert (count.failed, count.asked, count.too_many) == (2, 3, True)
    assert count.example == "b: refused"
    assert "2 of 3 trials failed, 66.7 %; the config allows 50 %" in str(count)


def test_as_many_failures_as_allowed_are_not_too_many(make: type[Make]) -> None:
    predictions = {"a": make.answer("a"), "b": make.failure("b")}
    assert not count_failures(predictions, {}, 0.5).too_many
    assert count_failures(predictions, {}, 0.49).too_many


def test_nothing_asked_is_not_too_many_failures() -> None:
    assert not count_failures({}, {}, 0.0).too_many


# Busy slots ---------------------------------------------------------------------------------------


def done(make: type[Make], started: float, ms: float, queued: float = 0) -> Prediction:
    """Answered after `ms`, of which the server says it worked all but `queued`."""
    prediction = make.answer("t", started=started, ms=ms)
    assert prediction.answer is not None
    answer = replace(prediction.answer, service_ms=ms - queued)
    return replace(prediction, answer=answer, attempts=(Attempt(ms),), queued_ms=queued)


def test_an_endpoint_that_was_not_asked_has_no_share(make: type[Make]) -> None:
    assert slots_busy([], 4) is None
    assert slots_busy([make.failure("t")], 4) is None


def test_slots_are_busy_while_they_answer(make: type[Make]) -> None:
    side_by_side = [done(make, 0, 1000), done(make, 0, 1000)]
    assert slots_busy(side_by_side, 2) == 1.0
    assert slots_busy(side_by_side, 4) == 0.5
    one_after_the_other = [done(make, 0, 1000), done(make, 1, 1000)]
    assert slots_busy(one_after_the_other, 2) == 0.5


def test_waiting_for_a_slot_is_not_work(make: type[Make]) -> None:
    one_slot = [done(make, 0, 1000), done(make, 0, 2000, queued=1000)]
    assert slots_busy(one_slot, 1) == 1.0
    assert slots_busy(one_slot, 2) == 0.5


def test_what_a_server_does_not_tell_is_not_guessed(make: type[Make]) -> None:
    assert slots_busy([make.answer("t", ms=1000)], 1) is None


def test_time_in_which_nothing_was_under_way_does_not_count(make: type[Make]) -> None:
    before_and_after_a_resume = [done(make, 0, 1000), done(make, 900, 1000)]
    assert slots_busy(before_and_after_a_resume, 1) == 1.0


def test_the_numbers_of_picked_trials_say_so(trials: list[Trial]) -> None:
    assert selected_parts(trials) == []
    [line] = selected_parts(trials[:3])
    assert line.startswith("sums: 3 of 4 trials were selected")


def test_attempts_that_failed_are_time_and_no_work(make: type[Make]) -> None:
    again = replace(done(make, 0, 1000), attempts=(Attempt(1000, "reset"), Attempt(1000)))
    assert slots_busy([again], 1) == 0.5
