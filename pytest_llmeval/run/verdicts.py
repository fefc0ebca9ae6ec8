"""What becomes of each gate, from scores and predictions. Pure, but for the baselines given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_llmeval.records import (
    GateResult,
    GateSpec,
    Prediction,
    Predictions,
    Score,
    Scores,
    Suite,
    Trial,
)
from pytest_llmeval.results.rows import outcome_of
from pytest_llmeval.run.conclusion import Worth, has_failed, picked
from pytest_llmeval.run.selection import SelectedGate, Selection
from pytest_llmeval.run.settings import Options
from pytest_llmeval.statistics.anytime import at_least_anytime
from pytest_llmeval.statistics.budgets import (
    Costs,
    failures_at_most,
    latency_at_most,
    tokens_at_most,
)
from pytest_llmeval.statistics.gates import Decision, at_least
from pytest_llmeval.statistics.regression import Outcomes


@dataclass(frozen=True, slots=True)
class Grounds:
    """What gates are decided on; `scores` and `predictions` go by trial id.

    `against_baseline` decides a gate `not_worse_than: baseline` from the outcomes of its scorer; it
    is told which trials of the suite lack an outcome.
    """

    trials: Sequence[Trial]
    predictions: Predictions
    scores: Scores
    worth: Worth
    against_baseline: Callable[[Sequence[Trial], GateSpec, Outcomes, str], Decision]


def decide_all(
    selection: Selection, grounds: Grounds | None, options: Options, stopped: str
) -> list[tuple[SelectedGate, GateResult]]:
    """The verdicts of the selected gates; `stopped` says why a run broke off, "" when it did not.

    No gate decides anything in a run that broke off or was dry, or on trials that were picked.
    """
    reason = f"the run stopped: {stopped}" if stopped else ""
    if options.dry_run:
        reason = "a dry run measures nothing"
    decided = []
    for selected in selection.gates:
        suite, gate = selected.suite, selected.gate
        why = reason or picked(suite, gate, selection.trials)
        if why and gate.kind == "not_worse_than" and options.accept_baselines:
            why += "; no baseline was accepted"
        if options.dry_run:  # nobody expects of it that anything is decided
            gate = replace(gate, inconclusive="skip")
        decided.append((selected, decide(suite, gate, grounds, stopped=why)))
    return decided


def decide(suite: Suite, gate: GateSpec, grounds: Grounds | None, *, stopped: str) -> GateResult:
    """The verdict of one gate; without grounds, for nothing was asked, it is inconclusive.

    `stopped` says why the run measured less than it should, "" when it did not: then the gate is
    inconclusive.
    """
    if stopped:
        return GateResult(suite.name, gate, "inconclusive", stopped)
    trials = grounds.trials if grounds is not None else ()
    its = [t for t in trials if (t.suite.name, t.condition.name) == (suite.name, gate.only)]
    if grounds is None or not its:
        message = "was not measured: none of its trials was selected"
        return GateResult(suite.name, gate, "inconclusive", message)
    verdict, message, evidence = _DECISIONS[gate.kind](gate, its, grounds)
    return GateResult(suite.name, gate, verdict, _of_which(suite, gate) + message, evidence)


def _of_which(suite: Suite, gate: GateSpec) -> str:
    """The scorer's name, where it is not the one whose figures the table shows."""
    headline = suite.scorers[0].name if suite.scorers else gate.metric
    of_a_scorer = gate.kind in ("at_least", "not_worse_than")
    return f"{gate.metric} " if of_a_scorer and not gate.detail and gate.metric != headline else ""


def in_order(decided: Iterable[tuple[SelectedGate, GateResult]]) -> tuple[GateResult, ...]:
    """The results by suite and then as the suite writes its gates, in whatever order they ran."""

    def place(entry: tuple[SelectedGate, GateResult]) -> tuple[str, int]:
        suite = entry[0].suite
        return suite.name, suite.gates.index(entry[0].gate)

    return tuple(result for _, result in sorted(decided, key=place))


def _at_least(gate: GateSpec, trials: Sequence[Trial], grounds: Grounds) -> Decision:
    suite = trials[0].suite
    for cell, metric in zip(grounds.worth.cells, grounds.worth.metrics, strict=True):
        if (cell.suite, cell.condition, cell.scorer) == (suite.name, gate.only, gate.metric):
            if cell.alpha is not None:
                return at_least_anytime(metric, gate.limit, cell.scores, cell.alpha)
            return at_least(metric, gate.limit, cell.scores)
    raise LookupError(
        f"{gate.metric} is no scorer of {suite.name}: reading the suite has seen to it"
    )


def _not_worse(gate: GateSpec, trials: Sequence[Trial], grounds: Grounds) -> Decision:
    outcomes = _outcomes(gate.metric, trials, grounds.scores)
    return grounds.against_baseline(trials, gate, outcomes, _gaps(trials[0].suite, grounds))


def _gaps(suite: Suite, grounds: Grounds) -> str:
    """Which selected trials of a suite have no outcome by some scorer, in words; "" without any."""
    trials = [trial for trial in grounds.trials if trial.suite.name == suite.name]
    lacking = Counter(
        trial.condition.name for trial in trials if not _is_judged(grounds.scores.get(trial.id, ()))
    )
    told = ", ".join(f"{condition} {count:,}" for condition, count in sorted(lacking.items()))
    words = f"{lacking.total():,} of {len(trials):,} trials of the suite have no outcome ({told})"
    return words if lacking else ""


def _is_judged(scores: Sequence[Score]) -> bool:
    return bool(scores) and all(score.value is not None for score in scores)


def _outcomes(scorer: str, trials: Sequence[Trial], scores: Scores) -> Outcomes:
    """For each item the scores of its repeats; None where the machinery broke."""
    outcomes: dict[str, list[float | None]] = {}
    for trial in trials:
        values = {score.scorer: score.value for score in scores.get(trial.id, ())}
        outcomes.setdefault(trial.item.id, []).append(values.get(scorer))
    return outcomes


def _latency(gate: GateSpec, trials: Sequence[Trial], grounds: Grounds) -> Decision:
    assert gate.percentile is not None, "reading the suite has seen to it"
    decision = latency_at_most(_costs(_milliseconds, trials, grounds), gate.limit, gate.percentile)
    found = (grounds.predictions.get(trial.id) for trial in trials)
    kept = sum(prediction is not None and prediction.is_kept for prediction in found)
    if not kept:
        return decision
    words = f"{kept:,} answers came from the cache and tell no time: cache.mode=refresh asks again"
    return decision._replace(message=f"{decision.message}; {words}")


def _tokens(gate: GateSpec, trials: Sequence[Trial], grounds: Grounds) -> Decision:
    costs = _costs(_written_tokens, trials, grounds)
    most = trials[0].condition.sampling.max_tokens
    verdict, message, evidence = tokens_at_most(costs, gate.limit, most)
    if evidence is not None:
        return Decision(verdict, f"{message}; counted by the server", evidence)
    found = (grounds.predictions.get(trial.id) for trial in trials)
    if any(prediction is not None and prediction.answer is not None for prediction in found):
        message += ": the endpoint tells no number of tokens"
    return Decision(verdict, message)


def _failures(gate: GateSpec, trials: Sequence[Trial], grounds: Grounds) -> Decision:
    reasons: Counter[str] = Counter()
    for trial in trials:
        prediction, scores = grounds.predictions.get(trial.id), grounds.scores.get(trial.id, ())
        if prediction is not None and has_failed(prediction, scores):
            reasons[outcome_of(prediction, next(iter(scores), None))[1]] += 1
    asked = sum(trial.id in grounds.predictions for trial in trials)
    return failures_at_most(reasons, asked, gate.limit)


_DECISIONS: Mapping[str, Callable[[GateSpec, Sequence[Trial], Grounds], Decision]] = {
    "at_least": _at_least,
    "not_worse_than": _not_worse,
    "latency": _latency,
    "tokens": _tokens,
    "failures": _failures,
}


def _costs(
    cost: Callable[[Prediction], float | None], trials: Sequence[Trial], grounds: Grounds
) -> Costs:
    costs: dict[str, list[float | None]] = {}
    for trial in trials:
        prediction = grounds.predictions.get(trial.id)
        costs.setdefault(trial.item.id, []).append(cost(prediction) if prediction else None)
    return costs


def _milliseconds(prediction: Prediction) -> float | None:
    """From sending to the end of the answer, without what the request waited for a free slot; None
    where nothing was sent, since the answer was kept.
    """
    if prediction.answer is None or prediction.is_kept:
        return None
    return prediction.total_ms - prediction.queued_ms


def _written_tokens(prediction: Prediction) -> float | None:
    return None if prediction.answer is None else prediction.answer.usage.completion
