"""What a new run takes over from one that asked something else: answers to what both ask alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_llmeval.records import JudgeTrial, Prediction, Predictions, Trial
from pytest_llmeval.results.cassettes import question_hash, questions_of
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import Manifest, ModelFacts
from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.resume import weights_changed
from pytest_llmeval.run.going_back import Earlier, Wanted, brief
from pytest_llmeval.run.requests import request_bodies
from pytest_llmeval.run.settings import Settings

CHANGE_NO_ANSWER = frozenset({"timeout", "start_timeout", "port", "memory", "price"})
"""Settings of a model by which it is waited for, reached, placed and paid, and no more."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The answers that a new run begins with, by trial id, and the models that gave them."""

    earlier: Earlier
    known: Predictions
    models: tuple[ModelFacts, ...]

    def mark(self, manifest: Manifest) -> Manifest:
        """The manifest of the new run: whose answers it began with, and by which weights. By which
        build stands in the earlier one's: who takes over may have another by now.
        """
        models = tuple(replace(model, server=None) for model in self.models)
        return replace(manifest, models=models, taken_over_from=self.earlier.manifest.id)

    def words(self, trials: Sequence[Trial]) -> str:
        """What became of the earlier run, in a line."""
        kept = sum(trial.id in self.known for trial in trials)
        return (
            f"the run {self.earlier.path.name} asked something else: "
            f"{brief(self.earlier.differences)}. A new run takes over its answers to "
            f"{kept:,} of {len(trials):,} trials, and asks the others"
        )


def take_over(
    earlier: Earlier,
    wanted: Wanted,
    trials: Sequence[Trial],
    judged: Sequence[JudgeTrial],
    settings: Settings,
) -> TakenOver:
    """Take the answers of the earlier run that are answers to trials of this one.

    A trial's request must be the same to the last byte, and its model must be set (in all that can
    change an answer) and weigh the same. Nothing is taken over in a suite that may stop early and
    is not the same as a whole: which of its items were asked depends on all answers. Nor is what
    was kept without secrets (`redact: predictions`) where that is no longer wanted. Judges'
    verdicts carry the hash of what was asked, which the second wave checks. Failures are asked
    again.
    """
    models = tuple(_same_models(earlier, wanted))
    same = {model.name for model in models}
    changed = _changed_rules(earlier.manifest.plan, wanted.plan)
    answers = _answers(earlier, settings)
    asked_then, kept = questions_of(earlier.path), {}
    mine = [t for t in trials if t.condition.model in same and t.suite.name not in changed]
    for trial_id, body in request_bodies(mine, settings.config.models):
        if trial_id in answers and asked_then.get(trial_id) == question_hash(body):
            kept[trial_id] = answers[trial_id]
    for trial in judged:
        if trial.condition.model in same and trial.id in answers:
            kept[trial.id] = answers[trial.id]
    used = {trial.condition.model for trial in (*mine, *judged) if trial.id in kept}
    return TakenOver(earlier, kept, tuple(each for each in models if each.name in used))


def _answers(earlier: Earlier, settings: Settings) -> dict[str, Prediction]:
    """Those of the earlier run, by trial id; none where it has taken parts out of them that this
    one is to keep.
    """
    was_redacted = earlier.manifest.plan.config.get("redact") == "predictions"
    if was_redacted and not settings.config.redact_predictions:
        return {}
    return {id_: p for id_, p in read_run(earlier.path).items() if p.answer is not None}


def _same_models(earlier: Earlier, wanted: Wanted) -> list[ModelFacts]:
    """The models that are set as they were then, and have the same weights as far as is known."""
    before = _model_settings(earlier.manifest.plan)
    now = _model_settings(wanted.plan)
    return [
        model
        for model in earlier.manifest.models
        if before.get(model.name) == now.get(model.name)
        and not any(weights_changed([model], wanted.digests))
    ]


def _model_settings(plan: RunPlan) -> Mapping[str, object]:
    """What of each model's settings may change its answers."""
    settings: Mapping[str, Mapping[str, object]] = plan.config.get("models", {})
    return {
        name: {key: value for key, value in model.items() if key not in CHANGE_NO_ANSWER}
        for name, model in settings.items()
    }


def _changed_rules(before: RunPlan, now: RunPlan) -> set[str]:
    """The suites that may stop early, or might then, and are not the same."""
    old = {suite.name: suite for suite in before.suites}
    return {
        suite.name
        for suite in now.suites
        if (then := old.get(suite.name)) is not None
        and then != suite
        and (then.stop is not None or suite.stop is not None)
    }
