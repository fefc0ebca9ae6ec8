"""Marked functions: tests that a user writes in Python, asked and scheduled like a suite's trials.

    @pytest.mark.llmeval(items="capitals.jsonl", prompt="What is the capital of {{ country }}?")
    def test_capital(llm_item, llm_prediction):
        assert llm_item.target in llm_prediction.text

Pytest's own protocol runs them. Whether the test passed is the score `passed`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.records import Prediction, Score, Trial
from pytest_llmeval.reporting import attach
from pytest_llmeval.run import Evaluation, Selection

MARK = "llmeval"
PARAMETER = "llm_trial"
PREDICTION = pytest.StashKey[Prediction]()
SCORES = pytest.StashKey[list[Score]]()


def generate(metafunc: pytest.Metafunc, evaluation: Evaluation) -> None:
    """Parametrize a marked function with its trials."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        return
    if PARAMETER not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid} is marked with {MARK} and takes neither llm_item nor "
            f"llm_prediction; add one of them to its arguments, or remove the mark"
        )
    trials = list(_trials(metafunc, mark, evaluation))
    metafunc.parametrize(
        PARAMETER, trials, indirect=True, ids=[f"{t.condition.name}-{t.name}" for t in trials]
    )


def _trials(
    metafunc: pytest.Metafunc, mark: pytest.Mark, evaluation: Evaluation
) -> Iterator[Trial]:
    node, settings = metafunc.definition, evaluation.settings
    try:
        line = node.function.__code__.co_firstlineno
        suite = settings.suite_of_marker(mark, node.nodeid, node.path, line)
        for condition in settings.conditions(suite):
            yield from settings.trials(suite, condition)
    except LlmevalError as error:
        settings.mistakes.append(str(error))
        raise pytest.Collector.CollectError(str(error)) from error


def trial_of(item: pytest.Item) -> Trial | None:
    """The trial behind a test made from a marked function, None for every other test."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(PARAMETER) if callspec is not None else None


def select(item: pytest.Item, selection: Selection) -> None:
    """Add what an ordinary or marked test needs of the run."""
    trial = trial_of(item)
    if trial is not None:
        selection.trials.append(trial)
    if {"llm", "llm_server"} & set(getattr(item, "fixturenames", ())):
        selection.fixtures = True


def attach_scores(
    item: pytest.Function,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    evaluation: Evaluation,
) -> None:
    """Turn the result of a marked test into its scores."""
    trial = trial_of(item)
    if trial is None or call.when == "teardown" or (call.when == "setup" and report.passed):
        return
    scores = [_passed_score(call), *item.stash.get(SCORES, [])]
    prediction = item.stash.get(PREDICTION, None)
    if prediction is not None and trial.suite.scorers:
        scores = [*evaluation.settings.score(trial, prediction), *scores]
    attach(report, trial.id, scores)
    del report.llm_outcome  # shown like any test: passed or failed


def _passed_score(call: pytest.CallInfo[None]) -> Score:
    if call.excinfo is None:
        return Score("passed", "right", 1.0)
    if call.when == "call" and isinstance(call.excinfo.value, AssertionError):
        return Score("passed", "wrong", 0.0)
    return Score("passed", "failure", None, reason=call.excinfo.typename)
