"""New scorers on old predictions: the answers of a run are judged again, and no model is asked.

What comes out is a run of its own, with a copy of the answers, so that everything that reads a run
reads it, and so that the first one may be deleted. The first one is never written to.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import (
    Doubt,
    GateResult,
    Item,
    Prediction,
    Predictions,
    Score,
    Scores,
    Trial,
)
from pytest_llmeval.redaction import Redactor
from pytest_llmeval.results.built import refuse_changed
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import CUT_OFF, DRY_RUN, Manifest, read_manifest
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.results.report import RunReport, end_of
from pytest_llmeval.run.artifacts import Outcome, report_of, write_artifacts
from pytest_llmeval.run.baselines import Baselines, weights_of
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.run.cleaning import clean_score, redactor_for
from pytest_llmeval.run.conclusion import picked, worth_of
from pytest_llmeval.run.judge_figures import judge_figures
from pytest_llmeval.run.old_questions import OldQuestions, judged_otherwise, old_questions
from pytest_llmeval.run.old_verdicts import OldVerdicts, old_verdicts
from pytest_llmeval.run.rescored_folder import Judged, fill, is_finished
from pytest_llmeval.run.settings import Options
from pytest_llmeval.run.stopping import unneeded_of
from pytest_llmeval.run.validity import doubts_of, explained
from pytest_llmeval.run.verdicts import Grounds, decide
from pytest_llmeval.running.plan import item_by_item, up_to_a_gap
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.scorer import Scorer

#: What stands for the config in a command that has one: a run does not keep its file's name.
CONFIG = "CONFIG.yaml"


@dataclass(frozen=True, slots=True)
class Rescored:
    """The run that came of it, and from which. `notes` say what is judged otherwise, and what was
    left out. `comparison` is what shows the difference; "" where the two have no scorer in common.
    """

    origin: str
    folder: RunFolder
    report: RunReport
    notes: tuple[str, ...]
    comparison: str


def rescore(
    run: Path,
    *,
    run_dir: Path,
    root: Path,
    now: datetime,
    suite_files: Sequence[Path] = (),
    data_roots: Sequence[Path] = (),
) -> Rescored:
    """Judge the answers of `run` with the suites as they are now, into a new run in `run_dir`.

    Suite files are found from `root`, as the run names them; each of `suite_files` takes the place
    of the one of its name. They name files below `root` and `data_roots`. Only scorers, gates and a
    suite's tags may differ from what was asked.
    Raises RunError, InputError.
    """
    if is_being_written(run):
        raise RunError(f"the run {run.name} is being written; judge it again when it has ended")
    origin = read_manifest(run)  # only now: its last words may just have been written
    refuse_changed(run, origin.built)
    questions = old_questions(run, origin, root, suite_files, data_roots)
    judged = _judge(questions, read_run(run), root, run_dir)
    conditions = {trial.condition.name: None for trial in questions.trials}
    folder = RunFolder.create(run_dir, now.astimezone(), conditions)
    try:
        manifest = fill(folder, run, judged, now)
        report = report_of(folder, manifest, judged.outcome, root, root)
        problems = write_artifacts(folder, judged.outcome, report)
        if problems:  # it asks nothing, so that there is nothing to go on with
            raise RunError("; ".join(problems))  # noqa: TRY301
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError):
            raise RunError(f"the run's folder cannot be written: {error}") from error
        raise
    otherwise = judged_otherwise(origin.plan, judged.plan)
    comparison = _comparison(origin, manifest)
    return Rescored(origin.id, folder, report, (*otherwise, *questions.left_out), comparison)


def _comparison(before: Manifest, after: Manifest) -> str:
    """The command; it names a scorer where the headlines differ, one that every suite has."""
    runs = [
        {suite.name: [scorer.name for scorer in suite.scorers] for suite in run.plan.suites}
        for run in (before, after)
    ]
    command = f"llmeval compare {before.id} {after.id}"
    both = [(runs[0][name], runs[1][name]) for name in runs[0].keys() & runs[1].keys()]
    if all(old[:1] == new[:1] for old, new in both):
        return command
    shared = (name for name in both[0][0] if all(name in old and name in new for old, new in both))
    return next((f"{command} --scorer {name}" for name in shared), "")


def _judge(questions: OldQuestions, known: Predictions, root: Path, run_dir: Path) -> Judged:
    """Score what is known of the trials, and say what that is worth."""
    origin, trials = questions.origin, questions.trials
    bench = Bench.of_canonical(origin.plan.config, dry_run=DRY_RUN in origin.warnings)
    verdicts = old_verdicts(origin, trials, known, bench)
    ids = {trial.id for trial in trials}
    predictions = {trial_id: known[trial_id] for trial_id in known if trial_id in ids}
    scores = _scores(questions, predictions, verdicts)
    unneeded = _not_needed(origin, trials, predictions, scores)
    needed = [trial for trial in trials if trial.id not in unneeded]
    doubts: tuple[Doubt, ...] = ()
    if DRY_RUN not in origin.warnings:
        scores = explained(needed, predictions, scores)
        doubts = tuple(doubts_of(needed, predictions, scores))
    stopping = {suite.name for suite in questions.suites} & set(origin.stopping)
    worth = worth_of(needed, scores, stopping)
    options = Options(CONFIG, root, root, run_dir, limit=origin.plan.limit)
    versions = questions.scorer_versions
    baselines = Baselines(options, lambda _: versions, weights_of(origin), bench)
    grounds = Grounds(needed, predictions, scores, worth, baselines.decide)
    outcome = Outcome(
        trials,
        predictions,
        scores,
        worth,
        tuple(_gates(questions, grounds)),
        max(map(end_of, predictions.values()), default=0.0),
        unneeded,
        stopping,
        judge_figures(verdicts.wave, verdicts.predictions, scores, _slots(origin)),
    )
    plan = questions.plan(verdicts.wave.trials)
    return Judged(dataclasses.replace(origin, doubts=doubts), questions, verdicts, plan, outcome)


def _scores(questions: OldQuestions, predictions: Predictions, verdicts: OldVerdicts) -> Scores:
    """The new scores of all trials that have a prediction, with the old verdicts of judges."""
    models = questions.origin.plan.config["models"].values()
    redactor = redactor_for(model.get("api_key_env") for model in models)
    return {
        trial.id: verdicts.wave.complete(
            trial,
            verdicts.predictions,
            _scored(
                questions.scorers[trial.suite.name], predictions[trial.id], trial.item, redactor
            ),
        )
        for trial in questions.trials
        if trial.id in predictions
    }


def _scored(
    scorers: Iterable[Scorer], prediction: Prediction, item: Item, redactor: Redactor
) -> list[Score]:
    scores = score_prediction(scorers, prediction, item)
    return [clean_score(score, redactor) for score in scores]


def _slots(origin: Manifest) -> dict[str, int]:
    asked_for = origin.plan.config["models"]
    return {m.name: m.slots or asked_for[m.name]["slots"] for m in origin.models}


def _not_needed(
    origin: Manifest, trials: Sequence[Trial], predictions: Predictions, scores: Scores
) -> set[str]:
    """The trials that the suites which might stop did not need, each by its id.

    Those that the scores as they are now do without. And, where these would have asked for more
    than a finished run has, what comes behind the first item that it did not ask: figures rest on
    items in their random order.
    """
    unneeded: set[str] = set()
    for suite in origin.stopping:
        its = [trial for trial in trials if trial.suite.name == suite]
        if its:
            unneeded |= unneeded_of(its, origin.rotation, predictions, scores)
        for condition in dict.fromkeys(trial.condition.name for trial in its):
            asked = item_by_item([trial for trial in its if trial.condition.name == condition])
            if is_finished(origin):
                unneeded.update(trial.id for trial in asked[up_to_a_gap(asked, predictions) :])
    return unneeded


def _gates(questions: OldQuestions, grounds: Grounds) -> Iterator[GateResult]:
    origin = questions.origin
    stopped = "" if is_finished(origin) else f"the run stopped: {origin.exit_reason or CUT_OFF}"
    if DRY_RUN in origin.warnings:
        stopped = "a dry run measures nothing"
    for suite in questions.suites:
        for gate in suite.gates:
            why = stopped or picked(suite, gate, questions.trials)
            yield decide(suite, gate, grounds, stopped=why)
