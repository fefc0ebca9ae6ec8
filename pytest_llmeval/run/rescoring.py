"""New scorers on old predictions: the answers of a run are judged again, and no model is asked.

What comes out is a run of its own, with a copy of the answers, so that everything that reads a run
reads it, and so that the first one may be deleted. The first one is never written to.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_llmeval import __version__
from pytest_llmeval.errors import RunError, ScorerError, SuiteError
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.inputs.suites import load_suite
from pytest_llmeval.records import (
    Doubt,
    GateResult,
    Item,
    JudgeTrial,
    Prediction,
    Sampling,
    Score,
    Suite,
    Trial,
)
from pytest_llmeval.redaction import Redactor
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import (
    Journal,
    read_requests,
    read_run,
    write_requests,
)
from pytest_llmeval.results.manifest import (
    DRY_RUN,
    Manifest,
    PartFacts,
    RunPlan,
    plan_hash,
    plan_of,
    read_manifest,
    settle_part,
    write_manifest,
)
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.results.report import RunReport, end_of
from pytest_llmeval.results.resume import questions_changed
from pytest_llmeval.results.wording import scorer_words
from pytest_llmeval.run.artifacts import Outcome, report_of, write_artifacts
from pytest_llmeval.run.baselines import Baselines, weights_of
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.run.cleaning import clean_score, redactor_for
from pytest_llmeval.run.conclusion import picked, selected_parts, worth_of
from pytest_llmeval.run.judge_figures import judge_figures
from pytest_llmeval.run.old_verdicts import OldVerdicts, copy_questions, old_verdicts
from pytest_llmeval.run.settings import Options, version_of
from pytest_llmeval.run.stopping import unneeded_of
from pytest_llmeval.run.validity import doubts_of, explained
from pytest_llmeval.run.verdicts import Grounds, decide
from pytest_llmeval.running.plan import (
    NamedSampling,
    check_gates,
    conditions_of,
    item_by_item,
    trials_of,
    up_to_a_gap,
)
from pytest_llmeval.scoring.asking import with_continuations
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.scorer import (
    BUILT_IN,
    Scorer,
    check_targets,
    make_scorers,
)

ENVIRONMENT = "environment.json"

#: What stands for the config in a command that has one: a run does not keep its file's name.
CONFIG = "CONFIG.yaml"


@dataclass(frozen=True, slots=True)
class Rescored:
    """The run that came of it, and from which. `notes` say what is judged otherwise, and what was
    left out.
    """

    origin: str
    folder: RunFolder
    report: RunReport
    notes: tuple[str, ...]


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
    origin = read_manifest(run)
    if is_being_written(run):
        raise RunError(f"the run {origin.id} is being written; judge it again when it has ended")
    requests = read_requests(run)
    _require_requests(origin, requests)
    suites, left_out = _suites(origin, root, suite_files, data_roots)
    scorers = {suite.name: _scorers(suite, root) for suite in suites}
    suites = [with_continuations(suite, scorers[suite.name]) for suite in suites]
    trials = [trial for suite in suites for trial in _asked(suite, origin.plan, requests)]
    _refuse_other_questions(origin, _plan(origin.plan, trials, scorers))
    known = read_run(run)
    bench = Bench.of_canonical(origin.plan.config, dry_run=DRY_RUN in origin.warnings)
    judged = old_verdicts(origin, trials, known, bench)
    plan = _plan(origin.plan, trials, scorers, judged.wave.trials)
    ids = {trial.id for trial in trials}
    predictions = {trial_id: known[trial_id] for trial_id in known if trial_id in ids}
    models = origin.plan.config["models"].values()
    redactor = redactor_for(model.get("api_key_env") for model in models)
    scores = {
        trial.id: judged.wave.complete(
            trial,
            judged.predictions,
            _scored(scorers[trial.suite.name], predictions[trial.id], trial.item, redactor),
        )
        for trial in trials
        if trial.id in predictions
    }
    options = Options(CONFIG, root, run_dir, limit=origin.plan.limit)
    baselines = Baselines(options, lambda _: _versions(scorers), weights_of(origin), bench)
    stopping = {suite.name for suite in suites} & set(origin.stopping)
    unneeded = _not_needed(origin, trials, predictions, scores)
    needed = [trial for trial in trials if trial.id not in unneeded]
    doubts: tuple[Doubt, ...] = ()
    if DRY_RUN not in origin.warnings:
        scores = explained(needed, predictions, scores)
        doubts = tuple(doubts_of(needed, predictions, scores))
    worth = worth_of(needed, scores, stopping)
    grounds = Grounds(needed, predictions, scores, worth, baselines.decide)
    outcome = Outcome(
        trials,
        predictions,
        scores,
        worth,
        tuple(_gates(origin, suites, trials, grounds)),
        max(map(end_of, predictions.values()), default=0.0),
        unneeded,
        stopping,
        judge_figures(judged.wave, judged.predictions, scores, _slots(origin)),
    )
    conditions = {trial.condition.name: None for trial in trials}
    folder = RunFolder.create(run_dir, now.astimezone(), conditions)
    try:
        before = dataclasses.replace(origin, doubts=doubts)
        manifest = _write(folder, run, before, plan, now, outcome, requests, judged)
        report = report_of(folder, manifest, outcome, root)
        problems = write_artifacts(folder, outcome, report)
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError):
            raise RunError(f"the run's folder cannot be written: {error}") from error
        raise
    notes = (*_judged_otherwise(origin.plan, plan), *left_out, *problems)
    return Rescored(origin.id, folder, report, notes)


# What was asked -----------------------------------------------------------------------------------


def _require_requests(origin: Manifest, requests: Collection[str]) -> None:
    """Raise RunError unless there is a request for every trial: they say what was asked."""
    missing = origin.plan.trials - len(requests)
    if missing > 0:
        raise RunError(
            f"the run {origin.id} cannot be judged again: its requests are gone "
            f"({missing:,} of {origin.plan.trials:,}), and they say what its answers are to. Put "
            f"<condition>/parts/*.requests.jsonl back, or ask again"
        )


def _suites(
    origin: Manifest, root: Path, suite_files: Sequence[Path], data_roots: Sequence[Path]
) -> tuple[list[Suite], list[str]]:
    """The run's suites as they are now, and a note for each that is a function of pytest's."""
    files = {path.stem: path for path in suite_files}
    plans = {suite.name: suite for suite in origin.plan.suites}
    for name, path in files.items():
        if name not in plans:
            raise RunError(f"--suite-file {path}: {unknown('suite', name, plans)}")
    _refuse_outside(origin, root, files)
    left_out = [suite.origin for suite in plans.values() if "::" in suite.origin]
    suites = [
        _load(files.get(suite.name, root / suite.origin), root, origin.plan.limit, data_roots)
        for suite in plans.values()
        if suite.origin not in left_out
    ]
    if not suites:
        raise RunError(
            f"the run {origin.id} has only marked functions, which are judged by pytest itself: "
            f"change them and ask again"
        )
    return suites, [f"left out: {name} is a function, judged by pytest itself" for name in left_out]


def _refuse_outside(origin: Manifest, root: Path, named: Collection[str]) -> None:
    """A run may come from somebody else, and what it calls its suite would be read."""
    real = root.resolve()
    for suite in origin.plan.suites:
        place = (root / suite.origin.partition("::")[0]).resolve()
        if suite.name not in named and not place.is_relative_to(real):
            raise RunError(
                f"the run {origin.id} says that its suite {suite.name} is {suite.origin!r}, which "
                f"is outside of {root}: name the file yourself with --suite-file FILE"
            )


def _load(path: Path, root: Path, limit: int | None, data_roots: Sequence[Path]) -> Suite:
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    if not path.is_file():
        raise SuiteError(
            "no such file; run this where the suites were run (pytest's rootdir), or name the file "
            "of that name with --suite-file FILE",
            path=path,
        )
    return load_suite(path, shown.as_posix(), limit=limit, roots=(root, *data_roots))


def _scorers(suite: Suite, root: Path) -> tuple[Scorer, ...]:
    try:
        scorers = make_scorers(suite.scorers, suite.origin)
    except ScorerError as error:
        if all(spec.name in BUILT_IN for spec in suite.scorers):
            raise
        message = f"{error.message} One of your own is loaded with --scorers {_own(suite, root)}"
        raise ScorerError(message, path=error.path, line=error.line) from None
    check_targets(scorers, suite.items, suite.origin)
    return scorers


def _own(suite: Suite, root: Path) -> str:
    """The conftest.py that pytest would read for a suite, as an example; the nearest one."""
    for folder in Path(suite.origin).parents:
        if (root / folder / "conftest.py").is_file():
            return (folder / "conftest.py").as_posix()
    return "FILE.py"


def _asked(suite: Suite, plan: RunPlan, asked: Collection[str]) -> list[Trial]:
    """The trials of a suite that the run has asked.

    Where that is none all are given, so that what has changed can be told.
    """
    samplings = [_named_sampling(name, keys) for name, keys in plan.config["sampling"].items()]
    conditions = conditions_of(suite, tuple(plan.config["models"]), samplings)
    check_gates(suite, conditions)
    trials = [trial for condition in conditions for trial in trials_of(suite, condition)]
    return [trial for trial in trials if trial.id in asked] or trials


def _named_sampling(name: str, keys: Mapping[str, Any]) -> NamedSampling:
    """A sampling as the config said it, with the repeats beside its own keys."""
    sampling = {key: value for key, value in keys.items() if key != "repeats"}
    return NamedSampling(
        name, Sampling(**{**sampling, "stop": tuple(sampling["stop"])}), keys["repeats"]
    )


def _slots(origin: Manifest) -> dict[str, int]:
    asked_for = origin.plan.config["models"]
    return {m.name: m.slots or asked_for[m.name]["slots"] for m in origin.models}


def _plan(
    before: RunPlan,
    trials: Sequence[Trial],
    scorers: Mapping[str, Sequence[Scorer]],
    judged: Sequence[JudgeTrial] = (),
) -> RunPlan:
    return plan_of(
        before.config,
        trials,
        before.seeds,
        limit=before.limit,
        scorer_versions=_versions(scorers),
        judged=judged,
    )


def _versions(scorers: Mapping[str, Sequence[Scorer]]) -> dict[str, str]:
    return {scorer.name: version_of(scorer) for each in scorers.values() for scorer in each}


def _refuse_other_questions(origin: Manifest, plan: RunPlan) -> None:
    names = {suite.name for suite in plan.suites}
    before = dataclasses.replace(
        origin.plan,
        suites=tuple(suite for suite in origin.plan.suites if suite.name in names),
        asked=tuple(asked for asked in origin.plan.asked if asked.suite in names),
    )
    differences = questions_changed(before, plan)
    if differences:
        raise RunError(
            f"the answers of the run {origin.id} are to other questions: "
            f"{'; '.join(differences)}. Only scorers, gates and a suite's tags may change. Undo "
            f"that, name the suite as it was with --suite-file FILE, or ask again"
        )


def _judged_otherwise(before: RunPlan, now: RunPlan) -> Iterator[str]:
    old = {suite.name: suite.scorers for suite in before.suites}
    for suite in now.suites:
        if suite.scorers != old[suite.name]:
            told = ["; ".join(map(scorer_words, each)) for each in (old[suite.name], suite.scorers)]
            yield f"{suite.name}: was scored by {told[0]}; now by {told[1]}"


def _scored(
    scorers: Iterable[Scorer], prediction: Prediction, item: Item, redactor: Redactor
) -> list[Score]:
    scores = score_prediction(scorers, prediction, item)
    return [clean_score(score, redactor) for score in scores]


# What it is worth, and where it is kept -----------------------------------------------------------


def _not_needed(
    origin: Manifest,
    trials: Sequence[Trial],
    predictions: Mapping[str, Prediction],
    scores: Mapping[str, tuple[Score, ...]],
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
            if _finished(origin):
                unneeded.update(trial.id for trial in asked[up_to_a_gap(asked, predictions) :])
    return unneeded


def _gates(
    origin: Manifest, suites: Sequence[Suite], trials: Sequence[Trial], grounds: Grounds
) -> Iterator[GateResult]:
    stopped = "" if _finished(origin) else f"the run stopped: {origin.exit_reason or 'killed'}"
    if DRY_RUN in origin.warnings:
        stopped = "a dry run measures nothing"
    for suite in suites:
        for gate in suite.gates:
            why = stopped or picked(suite, gate, trials)
            yield decide(suite, gate, grounds, stopped=why)


def _finished(origin: Manifest) -> bool:
    return origin.exit_reason == "finished"


def _write(
    folder: RunFolder,
    run: Path,
    origin: Manifest,
    plan: RunPlan,
    now: datetime,
    outcome: Outcome,
    requests: Mapping[str, Mapping[str, Any]],
    judged: OldVerdicts,
) -> Manifest:
    """Fill the new run's folder with the questions and answers it rests on."""
    by_condition: dict[str, list[Trial]] = {}
    for trial in outcome.trials:
        by_condition.setdefault(trial.condition.name, []).append(trial)
    for condition, trials in by_condition.items():
        bodies = ((trial.id, requests[trial.id]) for trial in trials)
        write_requests(folder.requests(condition), bodies)
    with closing(Journal(folder)) as journal:
        for prediction in (*outcome.predictions.values(), *judged.replies):
            journal.append(prediction)
    copy_questions(origin, run, folder)
    if (run / ENVIRONMENT).is_file():
        shutil.copyfile(run / ENVIRONMENT, folder.path / ENVIRONMENT)
    parts = tuple(
        settle_part(
            PartFacts(condition, 1, len(trials)),
            _of(trials, outcome.predictions),
            not_needed=sum(
                t.id in outcome.unneeded and t.id not in outcome.predictions for t in trials
            ),
            ended=_finished(origin),
        )
        for condition, trials in by_condition.items()
    )
    manifest = dataclasses.replace(
        _manifest(folder, origin, plan, parts, now, outcome.trials),
        second_wave=judged.parts(ended=_finished(origin)),
    )
    write_manifest(folder.path, manifest)
    return manifest


def _of(trials: Sequence[Trial], predictions: Mapping[str, Prediction]) -> Iterator[Prediction]:
    return (predictions[trial.id] for trial in trials if trial.id in predictions)


def _manifest(
    folder: RunFolder,
    origin: Manifest,
    plan: RunPlan,
    parts: tuple[PartFacts, ...],
    now: datetime,
    trials: Sequence[Trial],
) -> Manifest:
    """The first run's manifest, but for what scoring has changed."""
    source = origin.rescored_from or origin.id
    warnings = (
        *origin.warnings,
        *selected_parts(trials),
        f"the answers are those of the run {source}, judged again",
    )
    return dataclasses.replace(
        origin,
        id=folder.id,
        started=now.isoformat(),
        finished=now.isoformat(),
        plan=plan,
        plan_hash=plan_hash(plan),
        versions={**origin.versions, "judged by pytest-llmeval-local": __version__},
        parts=parts,
        warnings=tuple(dict.fromkeys(warnings)),
        rescored_from=source,
    )
