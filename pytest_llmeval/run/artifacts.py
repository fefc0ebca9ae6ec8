"""Everything that is written when a run ends: tables, significance, costs, reports, archive."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pytest_llmeval.atomic import write_text
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.datasets import item_hash
from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.records import GateResult, Message, Prediction, Predictions, Scores, Trial
from pytest_llmeval.results.costs import Prices, write_costs
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.manifest import Manifest
from pytest_llmeval.results.markdown import markdown_report
from pytest_llmeval.results.report import (
    JudgeFigures,
    RunReport,
    StoppedSuite,
    asked_again,
    condition_figures,
    select_examples,
)
from pytest_llmeval.results.rows import outcome_of
from pytest_llmeval.results.significance import write_significance
from pytest_llmeval.results.step_summary import append_step_summary
from pytest_llmeval.results.tables import TABLES, Work, tables_of
from pytest_llmeval.results.telemetry import PartKey, part_loads, read_telemetry
from pytest_llmeval.results.trust import trust_warnings
from pytest_llmeval.run.conclusion import Worth, has_failed, slots_busy
from pytest_llmeval.run.corpora import corpora_of
from pytest_llmeval.statistics.comparisons import SEED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: its trials, what was answered, how it was judged, what that is worth.

    `unneeded` trials count nowhere; `stopping` names the suites that might stop early. `judges` is
    what became of the second wave. `prices` are those of a million tokens, read and written, by
    model; a model without one has no price. `parts` holds the predictions of each part of a
    condition, where the machine was watched.
    """

    trials: Sequence[Trial]
    predictions: Predictions
    scores: Scores
    worth: Worth
    gates: tuple[GateResult, ...]
    seconds: float
    unneeded: Collection[str] = ()
    stopping: Collection[str] = ()
    judges: tuple[JudgeFigures, ...] = ()
    prices: Mapping[str, Prices] = field(default_factory=dict)
    parts: Mapping[PartKey, Sequence[Prediction]] = field(default_factory=dict)


def report_of(
    folder: RunFolder, manifest: Manifest, outcome: Outcome, root: Path, here: Path
) -> RunReport:
    """Everything that the terminal and the reports say; paths below `root` are shown from `here`,
    where the next command is given.
    """
    busy = _slots_busy(manifest, outcome)
    counts = _outcomes(outcome)
    return RunReport(
        id=folder.id,
        started=manifest.started,
        seconds=outcome.seconds,
        folder=_shown_path(folder.path, root, here),
        path=_shown_path(folder.html_report, root, here),
        plan=manifest.plan,
        models=manifest.models,
        versions=manifest.versions,
        metrics=outcome.worth.metrics,
        comparisons=outcome.worth.comparisons,
        gates=outcome.gates,
        figures=condition_figures(outcome.trials, outcome.predictions, busy),
        wrong=counts["wrong"],
        no_answer=counts["no_answer"],
        failed=counts["failure"],
        slots_busy=_mean(list(busy.values())),
        warnings=(*manifest.warnings, *trust_warnings(manifest.models, manifest.doubts)),
        doubts=manifest.doubts,
        examples=select_examples(
            _telling(outcome), outcome.predictions, outcome.scores, _prompt_of
        ),
        stopped=_stopped(outcome),
        judges=outcome.judges,
        parts=manifest.parts,
        corpora=corpora_of(_needed(outcome), outcome.predictions),
        asked_again=asked_again(_wanted(outcome)),
    )


def _telling(outcome: Outcome) -> list[Trial]:
    """The trials whose score says something: not the ties of what others are held against."""
    given = {(c.suite, c.condition) for c in outcome.worth.cells if c.headline and c.given}
    return [
        trial
        for trial in _needed(outcome)
        if (trial.suite.name, trial.condition.name) not in given
        or trial.id not in outcome.predictions
        or has_failed(outcome.predictions[trial.id], outcome.scores.get(trial.id, ()))
    ]


def _needed(outcome: Outcome) -> list[Trial]:
    return [trial for trial in outcome.trials if trial.id not in outcome.unneeded]


def _wanted(outcome: Outcome) -> list[Prediction]:
    """What came back of the trials that somebody needed."""
    known = outcome.predictions
    return [known[trial.id] for trial in _needed(outcome) if trial.id in known]


def _stopped(outcome: Outcome) -> tuple[StoppedSuite, ...]:
    by_suite: dict[str, list[Trial]] = {}
    for trial in outcome.trials:
        if trial.suite.name in outcome.stopping:
            by_suite.setdefault(trial.suite.name, []).append(trial)
    return tuple(_stopped_suite(by_suite[name], outcome) for name in sorted(by_suite))


def _stopped_suite(trials: Sequence[Trial], outcome: Outcome) -> StoppedSuite:
    suite = trials[0].suite
    assert suite.stop is not None
    unneeded = [trial.id for trial in trials if trial.id in outcome.unneeded]
    return StoppedSuite(
        suite=suite.name,
        when=suite.stop.when,
        alpha=suite.stop.alpha,
        seed=suite.seeds["order"],
        trials=len(trials),
        not_needed=len(unneeded),
        asked_in_vain=sum(trial_id in outcome.predictions for trial_id in unneeded),
        left=sum(t.id not in outcome.unneeded and t.id not in outcome.predictions for t in trials),
    )


def write_artifacts(
    folder: RunFolder, outcome: Outcome, report: RunReport, questions: Iterable[Work] = ()
) -> list[str]:
    """Write all files that follow from predictions and scores; say which could not be written.

    One that another program holds open, as Windows allows, or that a full disk has no room for,
    must not cost the others. `questions` are files with what judges were asked, and what writes
    them.
    """
    works: tuple[Work, ...] = (
        *questions,
        *tables_of(
            folder,
            outcome.trials,
            outcome.predictions,
            outcome.scores,
            outcome.unneeded,
            _item_hashes(outcome.trials),
        ),
        (folder.costs, lambda: _write_costs(folder, outcome, report)),
        (folder.significance, lambda: _write_significance(folder, outcome, report)),
        *(
            (path, partial(_write_report, path, words, report))
            for path, words in _reports(folder).items()
        ),
    )
    return list(_problems(works))


def archive(folder: RunFolder) -> str:
    """Zip the run's folder beside itself, whole or not at all; why that could not be, "" if it was.

    For when all is written: it is a copy of the run.
    """
    path = Path(f"{folder.path}.zip")
    return next(_problems([(path, partial(_archive, folder.path))]), "")


def add_step_summary(path: Path, report: RunReport) -> str:
    """Show the report in short with a workflow's step; why that could not be, "" if it was."""
    return next(_problems([(path, partial(append_step_summary, path, report))]), "")


def remove_artifacts(folder: RunFolder) -> None:
    """Take away what an earlier session has made of its answers: there will be more of them.

    What cannot be deleted, because a program has it open, is replaced in the end.
    """
    made = [folder.costs, folder.significance, *_reports(folder)]
    made += [place / name for place in folder.path.iterdir() for name in TABLES if place.is_dir()]
    for path in made:
        with contextlib.suppress(OSError):
            path.unlink()


def _problems(works: Iterable[Work]) -> Iterator[str]:
    for path, work in works:
        try:
            work()
        except OSError as error:
            yield f"{path} could not be written: {error.strerror or error}"


def _reports(folder: RunFolder) -> dict[Path, Callable[[RunReport], str]]:
    return {
        folder.markdown_report: markdown_report,
        folder.html_report: html_report,
    }


def _write_report(path: Path, words: Callable[[RunReport], str], report: RunReport) -> None:
    write_text(path, words(report))


def _write_significance(folder: RunFolder, outcome: Outcome, report: RunReport) -> None:
    worth = outcome.worth
    write_significance(
        folder.significance,
        folder.id,
        worth.metrics,
        worth.comparisons,
        outcome.gates,
        stopped=report.stopped,
        doubts=report.doubts,
        corpora=report.corpora,
        seed=SEED,
    )


def prices_of(config: Config) -> dict[str, Prices]:
    """What a million tokens cost, read and written, of each model that has a price."""
    priced = {name: model.price for name, model in config.models.items()}
    return {name: (p.prompt, p.completion) for name, p in priced.items() if p is not None}


def _write_costs(folder: RunFolder, outcome: Outcome, report: RunReport) -> None:
    models = {trial.condition.name: trial.condition.model for trial in outcome.trials}
    write_costs(
        folder.costs,
        report.figures,
        prices={
            condition: outcome.prices[model]
            for condition, model in models.items()
            if model in outcome.prices
        },
        loads=part_loads(read_telemetry(folder.path), outcome.parts),
        judges=report.judges,
        judge_prices=outcome.prices,
    )


def _item_hashes(trials: Sequence[Trial]) -> dict[tuple[str, str], str]:
    """The hash of every item, by suite and id; each is computed once."""
    items = {(trial.suite.name, trial.item.id): trial.item for trial in trials}
    return {key: item_hash(item) for key, item in items.items()}


def _archive(run: Path) -> None:
    """Zip the run's folder beside it, whole or not at all."""
    unfinished = Path(f"{run}.unfinished.zip")
    try:
        shutil.make_archive(str(unfinished.with_suffix("")), "zip", run.parent, run.name)
        unfinished.replace(f"{run}.zip")
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _outcomes(outcome: Outcome) -> Counter[str]:
    """How many trials have each outcome, by their headline score."""
    return Counter(
        outcome_of(
            outcome.predictions.get(trial.id), next(iter(outcome.scores.get(trial.id, ())), None)
        )[0]
        for trial in _needed(outcome)
    )


def _slots_busy(manifest: Manifest, outcome: Outcome) -> dict[str, float]:
    by_model: dict[str, list[Prediction]] = {}
    for trial in outcome.trials:
        if trial.id in outcome.predictions:
            by_model.setdefault(trial.condition.model, []).append(outcome.predictions[trial.id])
    told = {facts.name: facts.slots for facts in manifest.models}
    asked_for = manifest.plan.config["models"]
    shares = {
        model: slots_busy(its, told.get(model) or asked_for[model]["slots"])
        for model, its in by_model.items()
    }
    return {model: share for model, share in shares.items() if share is not None}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _prompt_of(trial: Trial) -> tuple[Message, ...]:
    return render(trial.condition.prompt, trial.item)


def _shown_path(path: Path, root: Path, here: Path) -> str:
    if not (path.is_relative_to(root) and here.is_relative_to(root)):
        return str(path)
    return Path(os.path.relpath(path, here)).as_posix()
