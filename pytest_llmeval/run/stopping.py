"""What a suite that may stop early wants to know, and of which conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

from pytest_llmeval.records import GateSpec, Predictions, Scores, Suite, Trial
from pytest_llmeval.run.assembly import rotation_of
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.stopping import Question, Stopping, SuiteWatch, Wish
from pytest_llmeval.statistics.anytime import GateRule, PairRule

Rotation = Sequence[Sequence[str]]
"""The models in the order of their turns; those of one turn are loaded together."""


def stopping_of(
    settings: Settings, trials: Sequence[Trial], ledger: Ledger, warn: Callable[[str], None]
) -> Stopping:
    """Follow every suite that may stop; `warn` is told of one that says so and cannot."""
    by_suite: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.suite.stop is not None:
            by_suite.setdefault(trial.suite.name, []).append(trial)
    rotation = ledger.keep_rotation(rotation_of(settings, trials)) if by_suite else ()
    watches = []
    for name, its_trials in by_suite.items():
        reason = _why_not(settings, its_trials)
        if reason:
            warn(f"{name} is asked in full, although it has stop: {reason}")
        else:
            watches.append(SuiteWatch(its_trials, wishes_of(its_trials, rotation)))
    stopping = Stopping(watches, settings.score)
    if by_suite:
        ledger.keep_stopping(stopping.suites)
    return stopping


def unneeded_of(
    trials: Iterable[Trial], rotation: Rotation, predictions: Predictions, scores: Scores
) -> frozenset[str]:
    """Which trials of one suite that might stop were not needed, as the run itself has found it.

    By the same rules, so that with the same scores it is the same trials, whatever was under way.
    """
    its = list(trials)
    suite, conditions = its[0].suite, dict.fromkeys(trial.condition.name for trial in its)
    if not _questions(suite, list(conditions)):  # its gates are gone
        return frozenset()
    watch = SuiteWatch(its, wishes_of(its, rotation))
    stopping = Stopping([watch], lambda trial, _: scores[trial.id])
    for trial in its:
        if trial.id in predictions:
            stopping.take(predictions[trial.id])
    return stopping.unneeded


def _why_not(settings: Settings, trials: Sequence[Trial]) -> str:
    """Why a suite cannot stop early; "" when it can."""
    suite = trials[0].suite
    if not settings.can_score(suite):
        return (
            "it has a scorer that only the workers know; make it known to the controller too, "
            "in a conftest.py of the rootdir or of the folder that pytest is given"
        )
    bound = settings.scores_with_tests_only(suite)
    if bound:
        return (
            f"{', '.join(bound)} has no time_limit, so that it is called in pytest's own thread, "
            f"and what is needed is decided in another; give it a time_limit, or remove stop"
        )
    batched = {t.condition.model for t in trials if settings.config.models[t.condition.model].batch}
    if batched:
        return f"{', '.join(sorted(batched))} is asked in batches, whole parts at once"
    sizes = {t.condition.name: len(suite.items) * t.condition.repeats for t in trials}
    if len(trials) < sum(sizes.values()):
        return "only some of its trials were selected, and picked items decide nothing"
    if not _questions(suite, list(sizes)):
        return "nothing that it could decide was selected"
    return ""


def wishes_of(trials: Iterable[Trial], rotation: Rotation) -> dict[str, Wish]:
    """For each condition what it is asked for.

    With gates: its own ones, and all of the suite's where it has none; without: the pairs it is one
    of. Who is asked in an earlier turn than somebody it is waiting for is asked in full: nobody can
    know by then how much of it will be needed.
    """
    conditions = {trial.condition.name: trial for trial in trials}
    suite = next(iter(conditions.values())).suite
    turn = {model: number for number, models in enumerate(rotation) for model in models}
    turn_of = {name: turn[trial.condition.model] for name, trial in conditions.items()}
    questions = _questions(suite, list(conditions))
    wishes = {}
    for name in conditions:
        own = tuple(q for q in questions if name in q.conditions) or tuple(questions)
        wishes[name] = Wish(own, fully=_last_turn(own, turn_of) > turn_of[name])
    return wishes


def _last_turn(questions: Iterable[Question], turn_of: Mapping[str, int]) -> int:
    return max(turn_of[name] for question in questions for name in question.conditions)


def _questions(suite: Suite, conditions: Sequence[str]) -> list[Question]:
    """The gates of these conditions; where the suite has none, every pair, by the headline."""
    assert suite.stop is not None
    alpha = suite.stop.alpha
    if suite.gates:
        return [_of_gate(gate, alpha) for gate in suite.gates if gate.only in conditions]
    pairs = list(combinations(conditions, 2))
    return [_of_pair(pair, suite.scorers[0].name, alpha, len(pairs)) for pair in pairs]


def _of_gate(gate: GateSpec, alpha: float) -> Question:
    if gate.kind != "at_least":
        return Question((gate.only,), gate.metric, None)
    rule = GateRule(gate.limit, alpha)
    return Question((gate.only,), gate.metric, lambda values: rule.add(values[0]))


def _of_pair(pair: tuple[str, str], scorer: str, alpha: float, family: int) -> Question:
    rule = PairRule(alpha, family)
    return Question(pair, scorer, lambda values: rule.add(values[0], values[1]))
