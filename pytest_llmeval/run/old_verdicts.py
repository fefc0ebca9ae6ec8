"""What judges have said in an old run, as far as it still answers what would be asked today."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.errors import RunError, ScorerError
from pytest_llmeval.records import JudgeTrial, Prediction, Predictions, Trial
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.manifest import Manifest
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.run.second_wave import SecondWave


@dataclass(frozen=True, slots=True)
class OldVerdicts:
    """The second wave as it would be asked today, and the run's predictions with the replies that
    still count.
    """

    wave: SecondWave
    predictions: Predictions

    @property
    def replies(self) -> list[Prediction]:
        """The replies that still count."""
        ids = [trial.id for trial in self.wave.trials]
        return [self.predictions[id_] for id_ in ids if id_ in self.predictions]

    def parts(self, *, ended: bool) -> tuple[PartFacts, ...]:
        """How far the second wave came, by condition."""
        not_due = self.wave.not_due(self.predictions)
        by_condition: dict[str, list[JudgeTrial]] = {}
        for trial in self.wave.trials:
            by_condition.setdefault(trial.condition.name, []).append(trial)
        return tuple(
            settle_part(
                PartFacts(condition, 1, len(trials)),
                (self.predictions[t.id] for t in trials if t.id in self.predictions),
                not_needed=sum(trial.id in not_due for trial in trials),
                ended=ended,
            )
            for condition, trials in by_condition.items()
        )


def old_verdicts(
    origin: Manifest, trials: Sequence[Trial], known: Predictions, bench: Bench
) -> OldVerdicts:
    """Take the verdicts of a run for those of its suites as they are now; no model is asked.

    `bench` are the run's models. What it has not come to itself stays open. Raises RunError where a
    verdict is needed that was never given: on another rubric, by another judge, on another answer.
    """
    try:
        wave = SecondWave(trials, bench)
    except ScorerError as error:
        raise RunError(_needs_a_judge(origin.id, str(error))) from error
    current = wave.without_stale(known)
    asked_then = {(j.suite, j.condition, j.scorer): j.question_hash for j in origin.plan.judged}

    def is_new(trial: JudgeTrial) -> bool:
        key = (trial.suite.name, trial.condition.name, trial.scorer)
        same_question = asked_then.get(key) == trial.condition.prompt.hash
        return trial.id not in current and not (same_question and trial.id not in known)

    new = [trial for trial in wave.trials if is_new(trial) and wave.is_due(trial, known)]
    if new:
        words = f"{new[0].scorer} of {new[0].suite.name} asks {new[0].condition.model} what it has "
        words += f"not been asked, for {len(new):,} verdicts: another answer, rubric, prompt or "
        words += "scale, or another judge"
        raise RunError(_needs_a_judge(origin.id, words))
    return OldVerdicts(wave, current)


def copy_questions(origin: Manifest, run: Path, folder: RunFolder) -> None:
    """Take over what the judges of a run were asked, as far as `folder` has the conditions."""
    then = RunFolder(run, {each.name: each.folder for each in origin.plan.conditions})
    for condition in folder.slugs.keys() & then.slugs.keys():
        if then.judge_requests(condition).is_file():
            shutil.copyfile(then.judge_requests(condition), folder.judge_requests(condition))


def _needs_a_judge(run: str, why: str) -> str:
    return (
        f"the run {run} cannot be judged again without a model: {why}. llmeval rescore asks none. "
        f"Ask for the verdicts alone, all answers being kept: pytest --llm-config CONFIG.yaml "
        f"--llm-resume {run}; or put back what has changed"
    )
