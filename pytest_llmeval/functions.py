"""Marked functions: tests that a user writes in Python, asked and scheduled like a suite's trials.

    @pytest.mark.llmeval(items="capitals.jsonl", prompt="What is the capital of {{ country }}?")
    def test_capital(llm_item, llm_prediction):
        assert llm_item.target in llm_prediction.text

Pytest's own protocol runs them. Whether the test passed is the score `passed`. Parametrized beside
the mark, a function asks each trial once, and each of its tests judges the same answer: scores are
then called `passed[strict]` and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.collection import register_tags
from pytest_llmeval.errors import LlmevalError, SuiteError
from pytest_llmeval.records import Prediction, Score, Suite, Trial
from pytest_llmeval.reporting import EndedWorkers, attach
from pytest_llmeval.run import CRASHED, Evaluation, Selection, Settings, crash_scores

MARK = "llmeval"
PARAMETER = "llm_trial"
ANSWER = "llm_prediction"
PASSED = "passed"
PREDICTION = pytest.StashKey[Prediction]()
SCORES = pytest.StashKey[dict[str, Score]]()

#: How the words of pytest-timeout begin.
TIMEOUT_WORDS = ("Timeout (", "Timeout >")

#: Fixtures that need the run even when no trial does.
OF_THE_RUN = frozenset({"llm", "llm_server", "llm_run"})


def generate(metafunc: pytest.Metafunc, evaluation: Evaluation) -> None:
    """Parametrize a marked function with its trials."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        return
    settings = evaluation.settings
    try:
        suite = _suite_of(metafunc, mark, settings)
        conditions = settings.conditions(suite)
        trials = [trial for each in conditions for trial in settings.trials(suite, each)]
    except LlmevalError as error:
        settings.mistakes.append(str(error))
        raise pytest.Collector.CollectError(str(error)) from error
    register_tags(metafunc.config, suite)
    metafunc.parametrize(PARAMETER, [_parameter(trial) for trial in trials], indirect=True)


def _suite_of(metafunc: pytest.Metafunc, mark: pytest.Mark, settings: Settings) -> Suite:
    node = metafunc.definition
    line = (node.reportinfo()[1] or 0) + 1
    if not {PARAMETER, ANSWER}.issubset(metafunc.fixturenames):
        raise SuiteError(
            f"{node.name} is marked with {MARK} and does not take {ANSWER}, so that it has no "
            f"answer to judge; add {ANSWER} to its arguments, or remove the mark",
            path=node.path,
            line=line,
        )
    return settings.suite_of_marker(mark, node.nodeid, node.path, line)


def _parameter(trial: Trial) -> Any:
    tags = dict.fromkeys((*trial.suite.tags, *trial.item.tags))
    return pytest.param(trial, id=_id_of(trial), marks=[getattr(pytest.mark, tag) for tag in tags])


def _id_of(trial: Trial) -> str:
    return f"{trial.condition.name}-{trial.name}"


def trial_of(item: pytest.Item) -> Trial | None:
    """The trial behind a test made from a marked function, None for every other test."""
    callspec = getattr(item, "callspec", None)
    trial = callspec.params.get(PARAMETER) if callspec is not None else None
    return trial if isinstance(trial, Trial) else None  # pytest has a mark for an empty list


def select(item: pytest.Item, selection: Selection) -> None:
    """Add what an ordinary or marked test needs of the run."""
    trial = trial_of(item)
    if trial is not None:
        selection.trials.append(trial)
    if not OF_THE_RUN.isdisjoint(getattr(item, "fixturenames", ())):
        selection.fixtures = True


def equal_variants(items: Sequence[pytest.Item]) -> list[str]:
    """A mistake for each test whose scores would be called like those of another one.

    Pytest joins the ids of parameters with dashes, so "a-b" and "c" look like "a" and "b-c".
    """
    first: dict[tuple[str, str], pytest.Item] = {}
    mistakes = []
    for item in items:
        trial = trial_of(item)
        if trial is None or not isinstance(item, pytest.Function):
            continue
        name = _variant(item, trial)
        if first.setdefault((trial.id, name), item) is not item:
            mistakes.append(
                f"{item.nodeid}: two variants of this test are called {name!r}, and their scores "
                f"would be too; give the parameters ids that differ: parametrize(..., ids=[...])"
            )
    return mistakes


def attach_scores(
    item: pytest.Function,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    evaluation: Evaluation,
) -> None:
    """Turn the result of a marked test into its scores; a skipped test has not judged anything."""
    trial = trial_of(item)
    if trial is None or call.when == "teardown" or (call.when == "setup" and report.passed):
        return
    prediction = item.stash.get(PREDICTION, None)
    skipped = call.excinfo is not None and isinstance(call.excinfo.value, pytest.skip.Exception)
    if skipped and (prediction is None or prediction.failure is None):
        return
    own = item.stash.get(SCORES, {}).values()
    scores = [_passed_score(call, prediction), *evaluation.settings.cleaned(own)]
    if call.excinfo is not None and isinstance(call.excinfo.value, EndedWorkers):
        scores = [*crash_scores(trial, str(call.excinfo.value)), *scores]
    variant = _variant(item, trial)
    if variant:
        scores = [replace(score, scorer=f"{score.scorer}[{variant}]") for score in scores]
    if prediction is not None and trial.suite.scorers:
        scores = [*evaluation.settings.score(trial, prediction), *scores]
    attach(report, trial.id, scores, scores[0].outcome)
    del report.llm_outcome  # shown like any test: passed or failed


def _passed_score(call: pytest.CallInfo[None], prediction: Prediction | None) -> Score:
    """What the test thinks of the answer; anything but an assertion says nothing about it."""
    if call.excinfo is None:
        return Score(PASSED, "right", 1.0)
    problem = call.excinfo.value
    if isinstance(problem, EndedWorkers):
        return Score(PASSED, "failure", None, CRASHED, stages=(str(problem),))
    if _is_timeout(problem):
        return Score(PASSED, "failure", None, "timeout")
    if call.when == "call" and isinstance(problem, (AssertionError, pytest.fail.Exception)):
        return Score(PASSED, "wrong", 0.0)
    failure = prediction.failure if prediction is not None else None
    return Score(PASSED, "failure", None, failure.reason if failure else call.excinfo.typename)


def _is_timeout(problem: BaseException) -> bool:
    """Whether pytest-timeout ended the test: it does so with pytest.fail, as a judgement does."""
    words = str(problem)
    return isinstance(problem, pytest.fail.Exception) and words.startswith(TIMEOUT_WORDS)


def _variant(item: pytest.Function, trial: Trial) -> str:
    """The ids of a test's parameters other than the trial: several tests may judge one answer.

    What is left may begin or end with a dash itself, as the id of -1 does.
    """
    whole, own = item.callspec.id, _id_of(trial)
    if whole == own:
        return ""
    if whole.startswith(f"{own}-"):
        return whole[len(own) + 1 :]
    if whole.endswith(f"-{own}"):
        return whole[: -len(own) - 1]
    return whole.replace(f"-{own}-", "-", 1)
