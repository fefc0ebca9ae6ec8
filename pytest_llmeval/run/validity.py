"""The validity sentinel: whether a number means what it seems to. Pure.

It looks at the answers of one suite under one condition together, for what is not the model's
ability but something between it and us: a template, a limit, a server that leaves things out. What
it finds is a doubt, told in the report; where a single trial is at fault, its scores say so. What
is looked at, with thresholds and their error rates, is in `looks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pytest_llmeval.records import Doubt, Predictions, Score, Scores, Trial
from pytest_llmeval.run.looks import LOOKS, Group, Judged, cut_at_a_limit, same_answers

PROMPT_TRUNCATED = "prompt_truncated"
SAME_ANSWER = "same_answer"


def doubts_of(trials: Iterable[Trial], predictions: Predictions, scores: Scores) -> Iterator[Doubt]:
    """Every reason not to believe a number, suite by suite and condition by condition."""
    for group in _groups(trials, predictions, scores):
        for looked_at in LOOKS:
            yield from looked_at(group)


def explained(
    trials: Iterable[Trial], predictions: Predictions, scores: Scores
) -> dict[str, tuple[Score, ...]]:
    """The scores with what the answers together show of a single one.

    A trial whose prompt was cut off at a limit has failed: nobody knows what the model would have
    said. A wrong answer that is the same as all others has that for a reason.
    """
    changed = dict(scores)
    for group in _groups(trials, predictions, scores):
        for trial in cut_at_a_limit(group):
            changed[trial.id] = tuple(map(_failed, scores.get(trial.id, ())))
        for judged in same_answers(group):
            changed[judged.trial.id] = tuple(map(_the_same, changed[judged.trial.id]))
    return changed


def _failed(score: Score) -> Score:
    words = "the prompt was cut off at a limit, like other long ones"
    return Score(score.scorer, "failure", None, PROMPT_TRUNCATED, stages=(words,))


def _the_same(score: Score) -> Score:
    unexplained = score.outcome == "wrong" and not score.reason
    return replace(score, reason=SAME_ANSWER) if unexplained else score


def _groups(trials: Iterable[Trial], predictions: Predictions, scores: Scores) -> Iterator[Group]:
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        grouped.setdefault((trial.suite.name, trial.condition.name), []).append(trial)
    for its in grouped.values():
        judged = list(_judged(its, predictions, scores))
        firsts = [each for each in judged if each.trial.repeat == 1]
        yield Group(its, predictions, scores, judged, firsts)


def _judged(trials: Iterable[Trial], predictions: Predictions, scores: Scores) -> Iterator[Judged]:
    for trial in trials:
        prediction = predictions.get(trial.id)
        headline = next(iter(scores.get(trial.id, ())), None)
        if prediction is None or prediction.answer is None or headline is None:
            continue
        if headline.outcome != "failure":
            yield Judged(trial, prediction.answer, headline)
