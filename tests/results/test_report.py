"""What a run has to tell, gathered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.records import Attempt, Failure, Message, Prediction, Score, Trial
from pytest_llmeval.results.report import asked_again, condition_figures, select_examples


def prompt_of(trial: Trial) -> tuple[Message, ...]:
    return (Message("user", f"asked {trial.item.id}"),)


def test_examples_are_what_was_not_right_with_the_prompt_it_was_asked(samples: Any) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["right", "wrong", "failed", "unjudged"]))
    predictions = {t.id: samples.answered(t.id, "41") for t in trials}
    predictions[trials[2].id] = samples.failed(trials[2].id)
    scores = {trials[0].id: samples.right(), trials[1].id: samples.wrong()}
    found = select_examples(trials, predictions, scores, prompt_of)
    assert [(e.name, e.outcome, e.reason, e.answer, e.target) for e in found] == [
        ("wrong", "wrong", "", "41", "target of wrong"),
        ("failed", "failure", "timeout", "no answer in 60 s", "target of failed"),
    ]
    assert found[0].prompt == (Message("user", "asked wrong"),)


def test_each_suite_and_condition_gives_at_most_so_many_examples(samples: Any) -> None:
    suites = [samples.suite_of(name, ["1", "2", "3"]) for name in ("a", "b")]
    trials = [t for suite in suites for t in samples.trials_of(suite, ("m", "l"))]
    predictions = {t.id: samples.answered(t.id) for t in trials}
    scores = {t.id: samples.wrong() for t in trials}
    found = select_examples(trials, predictions, scores, prompt_of, limit=2)
    assert [(e.suite, e.condition, e.name) for e in found] == [
        (suite, condition, name)
        for suite in ("a", "b")
        for condition in ("l/plain", "m/plain")
        for name in ("1", "2")
    ]


def test_no_answer_and_graded_scores_are_examples_too(samples: Any) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["1", "2"]))
    predictions = {t.id: samples.answered(t.id, "") for t in trials}
    scores = {
        trials[0].id: (Score("exact", "no_answer", 0.0, "empty"),),
        trials[1].id: (Score("f1", "graded", 0.4),),
    }
    found = select_examples(trials, predictions, scores, prompt_of)
    assert [(e.outcome, e.reason) for e in found] == [("no_answer", "empty"), ("graded", "")]


def test_the_prompt_cache_is_rated_over_all_tokens_that_were_asked(samples: Any) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["1", "2"]), ("m", "l"))
    predictions = {t.id: samples.answered(t.id) for t in trials}
    report = samples.report(figures=condition_figures(trials, predictions))
    assert report.cache_hit == pytest.approx(12 / 31)
    assert report.tokens == 160
    assert samples.report(figures=()).cache_hit is None


def test_answers_that_took_more_than_one_request_are_counted_by_what_came_of_the_first(
    samples: Any,
) -> None:
    def after(*attempts: Attempt) -> Prediction:
        found: Prediction = replace(samples.answered("s"), attempts=attempts)
        return found

    busy, cut, good = Attempt(1, "busy", 503), Attempt(1, "reset"), Attempt(1)
    lost = Prediction("s", None, Failure("reset", "it was reset"), (cut, cut))
    found = [after(good), after(busy, good), after(busy, cut, good), after(cut, good), lost]
    assert asked_again(found) == {"HTTP 503": 2, "no response": 1}


def test_time_counts_while_a_request_is_under_way_and_overlaps_count_once(samples: Any) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["1", "2", "3"]))
    starts = dict(zip(trials, (10.0, 0.0, 0.01), strict=True))
    predictions = {
        trial.id: samples.answered(trial.id, started=start) for trial, start in starts.items()
    }
    (figures,) = condition_figures(trials, predictions)
    assert figures.seconds == pytest.approx(0.0315 + 0.0215)
    assert figures.tokens_per_second == pytest.approx(27 / 0.053)


def test_what_was_never_asked_has_no_figures(samples: Any) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["1"]), ("m", "l"))
    figures = condition_figures(trials, {trials[0].id: samples.failed(trials[0].id)})
    assert [(f.condition, f.tokens, f.tokens_per_second) for f in figures] == [("m/plain", 0, None)]
