"""What the scores are of a trial whose test ended xdist's workers: nobody may call it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_llmeval.records import Predictions, Score, Trial

#: Why a trial has no outcome but a failure whose test ended workers.
CRASHED = "crashed"


def crash_scores(trial: Trial, words: str) -> tuple[Score, ...]:
    """Failures of all its scorers; the words become their only stage."""
    names = [scorer.name for scorer in trial.suite.scorers]
    return tuple(Score(name, "failure", None, CRASHED, stages=(words,)) for name in names)


def scores_of_crashed(
    trials: Iterable[Trial], predictions: Predictions, crashed: Mapping[str, str]
) -> dict[str, tuple[Score, ...]]:
    """The scores of those trials that have an answer, by trial id; `crashed` are their words."""
    found = {}
    for trial in trials:
        prediction = predictions.get(trial.id)
        if trial.id in crashed and prediction is not None and prediction.failure is None:
            found[trial.id] = crash_scores(trial, crashed[trial.id])
    return found
