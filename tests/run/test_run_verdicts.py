"""What becomes of a gate, from scores and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.records import (
    GateKind,
    GateResult,
    GateSpec,
    Predictions,
    Score,
    Scores,
    Trial,
)
from pytest_llmeval.run.conclusion import worth_of
from pytest_llmeval.run.selection import SelectedGate
from pytest_llmeval.run.verdicts import Grounds, decide, in_order
from pytest_llmeval.statistics.gates import Decision
from pytest_llmeval.statistics.regression import Outcomes

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench

AT_LEAST = GateSpec("m", "exact", 0.5)


@pytest.fixture
def trials(bench: Workbench) -> list[Trial]:
    """Four sums, asked of one model."""
    return bench.trials(bench.settings(), bench.suite())


def never(_trials: Sequence[Trial], _gate: GateSpec, _outcomes: Outcomes, _gaps: str) -> Decision:
    raise AssertionError("this gate has no baseline")


def grounds(
    trials: list[Trial],
    scores: Scores | None = None,
    predictions: Predictions | None = None,
    **more: Any,
) -> Grounds:
    scores = scores or {}
    given = {"against_baseline": never, **more}
    return Grounds(trials, predictions or {}, scores, worth_of(trials, scores), **given)


def verdict(trials: list[Trial], gate: GateSpec, on: Grounds | None) -> GateResult:
    return decide(trials[0].suite, gate, on, stopped="")


def test_results_stand_as_suites_write_their_gates_whatever_ran_first(trials: list[Trial]) -> None:
    gates = (AT_LEAST, GateSpec("m", "tokens", 9, kind="tokens"))
    decided = [
        (SelectedGate("", ("", None, ""), suite, gate), GateResult(name, gate, "pass", ""))
        for name in ("b", "a")
        for suite in [replace(trials[0].suite, name=name, gates=gates)]
        for gate in reversed(gates)
    ]
    expected = [(name, gate) for name in ("a", "b") for gate in gates]
    assert [(result.suite, result.gate) for result in in_order(decided)] == expected


# At least -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "verdict_"), [(4, "pass"), (2, "inconclusive"), (0, "fail")], ids=str
)
def test_a_gate_decides_by_the_interval(
    trials: list[Trial], make: type[Make], right: int, verdict_: str
) -> None:
    scores = {t.id: (make.score(1.0 if n < right else 0.0),) for n, t in enumerate(trials)}
    result = verdict(trials, AT_LEAST, grounds(trials, scores))
    assert (result.suite, result.gate, result.verdict) == ("sums", AT_LEAST, verdict_)
    assert "at least 0.5" in result.message
    assert result.evidence is not None
    assert (result.evidence.value, result.evidence.n) == (right / 4, 4)


def test_a_gate_of_a_stopped_run_is_inconclusive_and_says_why(
    trials: list[Trial], make: type[Make]
) -> None:
    on = grounds(trials, {t.id: (make.score(1.0),) for t in trials})
    result = decide(trials[0].suite, AT_LEAST, on, stopped="the run stopped: -x")
    assert (result.verdict, result.message) == ("inconclusive", "the run stopped: -x")


@pytest.mark.parametrize("kind", ["at_least", "not_worse_than", "latency", "tokens", "failures"])
def test_a_gate_on_what_was_not_measured_is_inconclusive(
    trials: list[Trial], kind: GateKind
) -> None:
    gate = GateSpec("m/other", "exact", 0.5, kind=kind)
    for on in (grounds(trials), None):
        result = verdict(trials, gate, on)
        assert result.verdict == "inconclusive"
        assert "none of its trials was selected" in result.message


# Against a baseline -------------------------------------------------------------------------------


def test_the_baseline_is_asked_with_the_outcomes_of_the_gate_s_scorer(
    bench: Workbench, make: type[Make]
) -> None:
    trials = bench.trials(bench.settings(), bench.suite(score=["exact", "includes"], repeats=2))
    scores = {
        t.id: (make.score(0.0), make.score(1.0 if t.repeat == 1 else None, "includes"))
        for t in trials[:-2]
    }
    gate = GateSpec("m", "includes", 0.1, kind="not_worse_than")
    asked: list[tuple[Sequence[Trial], GateSpec, Outcomes, str]] = []

    def against(its: Sequence[Trial], gate: GateSpec, outcomes: Outcomes, gaps: str) -> Decision:
        asked.append((its, gate, outcomes, gaps))
        return Decision("no_change", "as before")

    result = verdict(trials, gate, grounds(trials, scores, against_baseline=against))
    assert (result.verdict, result.message) == ("no_change", "includes as before")
    given = {f"add-{n}": [1.0, None] for n in (1, 2, 3)} | {"add-4": [None, None]}
    gaps = "5 of 8 trials of the suite have no outcome (m 5)"
    assert asked == [(trials, gate, given, gaps)]


def test_the_baseline_is_told_what_the_suite_s_other_conditions_lack(
    bench: Workbench, make: type[Make]
) -> None:
    """Failed by any scorer, or never asked; another suite's trials are none of its concern."""
    prompts = {"a": "{{ a }} + 1 =", "b": "{{ a }} plus 1?"}
    path = bench.suite(prompts=prompts, prompt=None, score=["exact", "includes"])
    trials = bench.trials(bench.settings(), path, bench.suite("other"))
    scores = {
        t.id: (make.score(1.0), make.score(1.0, "includes"))
        for t in trials[:8]
        if t.id != "sums::m/b::add-1"
    }
    scores["sums::m/b::add-2"] = (make.score(1.0), make.score(None, "includes"))
    told: list[str] = []

    def against(_its: Sequence[Trial], _gate: GateSpec, _outcomes: Outcomes, gaps: str) -> Decision:
        told.append(gaps)
        return Decision("no_change", "as before")

    gate = GateSpec("m/a", "exact", 0.1, kind="not_worse_than")
    verdict(trials, gate, grounds(trials, scores, against_baseline=against))
    scores |= {t.id: (make.score(1.0), make.score(1.0, "includes")) for t in trials[:8]}
    verdict(trials, gate, grounds(trials, scores, against_baseline=against))
    assert told == ["2 of 8 trials of the suite have no outcome (m/b 2)", ""]


# Budgets ------------------------------------------------------------------------------------------


def test_a_latency_is_from_sending_to_the_end_without_the_wait_for_a_slot(
    trials: list[Trial], make: type[Make]
) -> None:
    predictions = {
        t.id: replace(make.answer(t.id, ms=1500), queued_ms=500 + 100 * n)
        for n, t in enumerate(trials)
    }
    gate = GateSpec("m", "latency", 1100, kind="latency", percentile=50)
    result = verdict(trials, gate, grounds(trials, {}, predictions))
    assert result.evidence is not None
    assert (result.evidence.value, result.evidence.n) == (800, 4)


def test_a_failed_trial_has_no_latency(trials: list[Trial], make: type[Make]) -> None:
    predictions = {t.id: make.answer(t.id, ms=1000) for t in trials[1:]}
    predictions[trials[0].id] = replace(make.failure(trials[0].id), total_ms=1.0)
    gate = GateSpec("m", "latency", 10, kind="latency", percentile=50)
    result = verdict(trials, gate, grounds(trials, {}, predictions))
    assert result.evidence is not None
    assert result.evidence.n == 3
    assert "1 trial of 4 without an answer" in result.message


def test_tokens_are_those_the_server_counted_in_the_answer(
    trials: list[Trial], make: type[Make]
) -> None:
    predictions = {t.id: make.answer(t.id) for t in trials}
    gate = GateSpec("m", "tokens", 64, kind="tokens")
    result = verdict(trials, gate, grounds(trials, {}, predictions))
    assert result.evidence is not None
    assert result.evidence.value == 2
    assert result.message.endswith("2.0 [0.3, 8.7] over 4 items; counted by the server")
    assert result.verdict == "pass"


def test_an_endpoint_that_tells_no_tokens_leaves_it_open(
    trials: list[Trial], make: type[Make]
) -> None:
    predictions = {}
    for trial in trials:
        answer = make.answer(trial.id).answer
        assert answer is not None
        untold = replace(answer, usage=replace(answer.usage, completion=None, source="none"))
        predictions[trial.id] = replace(make.answer(trial.id), answer=untold)
    gate = GateSpec("m", "tokens", 64, kind="tokens")
    result = verdict(trials, gate, grounds(trials, {}, predictions))
    assert result.verdict == "inconclusive"
    assert result.message.endswith("4 trials: the endpoint tells no number of tokens")


def test_where_everything_failed_no_token_was_written(
    trials: list[Trial], make: type[Make]
) -> None:
    predictions = {t.id: make.failure(t.id) for t in trials}
    gate = GateSpec("m", "tokens", 64, kind="tokens")
    result = verdict(trials, gate, grounds(trials, {}, predictions))
    assert result.verdict == "inconclusive"
    assert result.message.endswith("nothing to measure in 4 trials")


def test_failures_of_requests_and_of_the_headline_scorer_count(
    trials: list[Trial], make: type[Make]
) -> None:
    predictions = {t.id: make.answer(t.id) for t in trials}
    predictions[trials[0].id] = make.failure(trials[0].id)
    scores = {t.id: (make.score(1.0),) for t in trials}
    scores[trials[1].id] = (Score("exact", "failure", None, "scorer"),)
    for limit, expected in ((0.5, "pass"), (0.49, "fail")):
        gate = GateSpec("m", "failures", limit, kind="failures")
        result = verdict(trials, gate, grounds(trials, scores, predictions))
        assert result.verdict == expected
        assert result.message.endswith("2 of 4 trials failed (scorer 1, unreachable 1)")


def test_a_trial_that_was_never_asked_has_not_failed(trials: list[Trial], make: type[Make]) -> None:
    predictions = {t.id: make.answer(t.id) for t in trials[:2]}
    gate = GateSpec("m", "failures", 0.0, kind="failures")
    result = verdict(trials, gate, grounds(trials, {}, predictions))
    assert result.verdict == "pass"
    assert result.message.endswith("0 of 2 trials failed")
