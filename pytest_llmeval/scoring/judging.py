"""Judging a stored prediction with scorers, whatever a scorer of somebody else's does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any, get_args

from pytest_llmeval.records import Answer, Item, NoAnswerReason, Outcome, Prediction, Score
from pytest_llmeval.scoring.leftovers import marker_in
from pytest_llmeval.scoring.scorer import TIME_LIMIT, NeedsModelError, Scorer, is_built_in
from pytest_llmeval.scoring.time_limits import LeftBehindError, within

#: After so many answers on which a scorer took too long it is not asked any more: every time it may
#: leave a thread behind, and the run waits for its whole limit.
MOST_TIMEOUTS = 5

#: The reason of a wrong answer that holds tokens of a chat template.
TEMPLATE_MARKERS = "template_markers"

#: How often scorers took too long, by their name, since scorers were last closed.
_timeouts: Counter[str] = Counter()


class _RaisedError(Exception):
    """What a scorer raised that is no Exception (pytest.fail(), sys.exit()), in words."""


def score_prediction(
    scorers: Iterable[Scorer], prediction: Prediction, item: Item
) -> tuple[Score, ...]:
    """Judge one stored prediction with every scorer, in their order.

    A failed prediction is a failure under every scorer, with its own reason. A scorer that raises,
    that gives something which is no score, or that takes longer than its time limit, is a failure
    with the reason `scorer`: it says nothing about the answer. What went wrong is the last of the
    score's stages. Only what ends the whole run goes on: Ctrl-C, and pytest.exit(). What only a
    model can say is left out: it comes when the run ends.
    """
    scores = (_score(scorer, prediction, item) for scorer in scorers)
    return tuple(score for score in scores if score is not None)


def close_scorers(scorers: Iterable[Scorer]) -> None:
    """Let go of what scorers of this package keep beside themselves, such as a process."""
    _timeouts.clear()
    for scorer in scorers:
        if is_built_in(scorer) and hasattr(scorer, "close"):
            scorer.close()


def _score(scorer: Scorer, prediction: Prediction, item: Item) -> Score | None:
    if prediction.answer is None:
        failure = prediction.failure
        reason, message = (failure.reason, failure.message) if failure else ("error", "no answer")
        return Score(scorer.name, "failure", None, reason, stages=(message,))
    try:
        score = checked(_called(scorer, prediction.answer, item), scorer.name)
        return _explained(score, prediction.answer)
    except NeedsModelError:
        return None
    except Exception as error:
        if _ends_the_run(error):
            raise
        return Score(scorer.name, "failure", None, "scorer", stages=(_told(error),))


def _explained(score: Score, answer: Answer) -> Score:
    """The score, with the reason why an answer is wrong that is not the model's doing."""
    if score.outcome == "wrong" and not score.reason and marker_in(answer.text):
        return replace(score, reason=TEMPLATE_MARKERS)
    return score


# Calling ------------------------------------------------------------------------------------------


def _called(scorer: Scorer, answer: Answer, item: Item) -> Score:
    """What a scorer says; one of somebody else's within its time limit.

    Those of this package are bounded by themselves, and spared the thread.
    """
    if is_built_in(scorer):
        return scorer(answer, item)
    limit = getattr(scorer, "time_limit", TIME_LIMIT)
    if limit is None:
        return _contained(scorer, answer, item)
    took = f"took longer than its time_limit of {limit:g} s"
    if _timeouts[scorer.name] >= MOST_TIMEOUTS:
        what = f"scorer {scorer.name} was not asked any more: it {took} {MOST_TIMEOUTS} times"
        raise TimeoutError(f"{what}; mend it, or raise its time_limit, and score again")
    try:
        return within(
            limit, partial(_contained, scorer, answer, item), f"scorer {scorer.name} {took}"
        )
    except LeftBehindError as error:
        _timeouts[scorer.name] += 1
        raise TimeoutError(str(error)) from None


def _contained(scorer: Scorer, answer: Answer, item: Item) -> Score:
    """Call a scorer where nobody else's exceptions arrive, and keep what it raises in bounds.

    That is its thread: what a time limit for the test raises (pytest-timeout's) comes to the main
    one, and is none of the scorer's.
    """
    try:
        return scorer(answer, item)
    except BaseException as error:
        if isinstance(error, Exception) or _ends_the_run(error):
            raise
        raise _RaisedError(_told(error)) from error


def _ends_the_run(error: BaseException) -> bool:
    """Ctrl-C, and pytest.exit(), known by its name: this room knows nothing of pytest."""
    return isinstance(error, KeyboardInterrupt) or any(
        (each.__module__, each.__name__) == ("_pytest.outcomes", "Exit")
        for each in type(error).__mro__
    )


def _told(error: BaseException) -> str:
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - it may raise anything
        words = "(its words cannot be had: its __str__ raises)"
    return words if isinstance(error, _RaisedError) else f"{type(error).__name__}: {words}"


# Checking what came back --------------------------------------------------------------------------


def checked(score: Any, scorer: str) -> Score:
    """A score of this scorer, its value a float; refused is what would corrupt a record or a mean.

    Raises:
        TypeError: it is no Score, or a part of it has another type.
        ValueError: it is another scorer's, has an unknown word, or a value that denies its outcome.

    """
    if not isinstance(score, Score):
        raise TypeError(f"a scorer gives a Score, got {score!r}")
    if score.scorer != scorer:
        raise ValueError(f"a Score of {scorer} is named so, got {score.scorer!r}")
    _check_words(score)
    value = score.value
    if value is not None and not isinstance(value, Real):
        raise TypeError(f"the value of a Score is a number, or None for a failure, got {value!r}")
    if not _agrees(score.outcome, value):
        raise ValueError(f"outcome {score.outcome} does not go with the value {value!r}")
    return score if value is None or type(value) is float else replace(score, value=float(value))


def _check_words(score: Score) -> None:
    outcomes, reasons = get_args(Outcome), get_args(NoAnswerReason)
    if score.outcome not in outcomes:
        raise ValueError(f"an outcome is one of {', '.join(outcomes)}, got {score.outcome!r}")
    if score.outcome == "no_answer" and score.reason not in reasons:
        allowed = ", ".join(reasons)
        raise ValueError(f"the reason of no_answer is one of {allowed}, got {score.reason!r}")
    if not isinstance(score.reason, str):
        raise TypeError(f"the reason of a Score is text, got {score.reason!r}")
    if not (score.extracted is None or isinstance(score.extracted, str)):
        raise TypeError(f"what a Score has extracted is text or None, got {score.extracted!r}")
    stages = score.stages
    if not (isinstance(stages, tuple) and all(isinstance(each, str) for each in stages)):
        raise TypeError(f"the stages of a Score are a tuple of texts, got {stages!r}")


def _agrees(outcome: Outcome, value: float | None) -> bool:
    if outcome == "failure" or value is None:
        return outcome == "failure" and value is None
    if outcome == "graded":
        return 0.0 < value < 1.0
    return value == (1.0 if outcome == "right" else 0.0)
