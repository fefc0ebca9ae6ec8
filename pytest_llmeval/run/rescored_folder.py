"""What a rescored run is filled with: the questions and answers of the old one, told as its own."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest_llmeval import __version__
from pytest_llmeval.records import Prediction, Predictions, Trial
from pytest_llmeval.results.folder import ENVIRONMENT, RunFolder
from pytest_llmeval.results.jobs import read_jobs
from pytest_llmeval.results.journal import Journal, write_requests
from pytest_llmeval.results.manifest import Manifest, write_manifest
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.results.plan import RunPlan, plan_hash
from pytest_llmeval.results.strays import together
from pytest_llmeval.run.artifacts import Outcome
from pytest_llmeval.run.conclusion import selected_parts
from pytest_llmeval.run.old_questions import OldQuestions
from pytest_llmeval.run.old_verdicts import OldVerdicts, copy_questions


@dataclass(frozen=True, slots=True)
class Judged:
    """Old answers with their new scores. `origin` has the doubts about these."""

    origin: Manifest
    questions: OldQuestions
    verdicts: OldVerdicts
    plan: RunPlan
    outcome: Outcome


def fill(folder: RunFolder, run: Path, judged: Judged, now: datetime) -> Manifest:
    """Write questions, answers and manifest into the new run's folder. Raises OSError."""
    by_condition: dict[str, list[Trial]] = {}
    for trial in judged.outcome.trials:
        by_condition.setdefault(trial.condition.name, []).append(trial)
    requests = judged.questions.requests
    for condition, trials in by_condition.items():
        bodies = ((trial.id, requests[trial.id]) for trial in trials)
        write_requests(folder.requests(condition), bodies)
    with closing(Journal(folder)) as journal:
        for prediction in (*judged.outcome.predictions.values(), *judged.verdicts.replies):
            journal.append(prediction)
    copy_questions(judged.origin, run, folder)
    if (run / ENVIRONMENT).is_file():
        shutil.copyfile(run / ENVIRONMENT, folder.environment)
    manifest = _manifest(folder, judged, tuple(_parts(run, judged, by_condition)), now)
    write_manifest(folder.path, manifest)
    return manifest


def is_finished(origin: Manifest) -> bool:
    """Whether the old run came to its end."""
    return origin.exit_reason == "finished"


def _parts(
    run: Path, judged: Judged, by_condition: Mapping[str, Sequence[Trial]]
) -> Iterator[PartFacts]:
    """One part for each condition, with what the old run's batch jobs brought for nobody."""
    old = RunFolder(run, {each.name: each.folder for each in judged.origin.plan.conditions})
    outcome = judged.outcome
    for condition, trials in by_condition.items():
        yield settle_part(
            PartFacts(condition, 1, len(trials)),
            _of(trials, outcome.predictions),
            not_needed=sum(
                t.id in outcome.unneeded and t.id not in outcome.predictions for t in trials
            ),
            ended=is_finished(judged.origin),
            odd=together(
                job.odd
                for part in judged.origin.parts
                if part.condition == condition
                for job in read_jobs(old.jobs(condition, part.number))
            ),
        )


def _of(trials: Sequence[Trial], predictions: Predictions) -> Iterator[Prediction]:
    return (predictions[trial.id] for trial in trials if trial.id in predictions)


def _manifest(
    folder: RunFolder, judged: Judged, parts: tuple[PartFacts, ...], now: datetime
) -> Manifest:
    """The first run's manifest, but for what scoring has changed."""
    origin = judged.origin
    source = origin.rescored_from or origin.id
    warnings = (
        *origin.warnings,
        *selected_parts(judged.outcome.trials),
        f"the answers are those of the run {source}, judged again",
    )
    return dataclasses.replace(
        origin,
        id=folder.id,
        started=now.isoformat(),
        finished=now.isoformat(),
        plan=judged.plan,
        plan_hash=plan_hash(judged.plan),
        versions={**origin.versions, "judged by pytest-llmeval-local": __version__},
        parts=parts,
        second_wave=judged.verdicts.parts(ended=is_finished(origin)),
        warnings=tuple(dict.fromkeys(warnings)),
        rescored_from=source,
        built={},
    )
