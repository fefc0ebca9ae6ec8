"""Everything that is written when a run ends: tables, significance, costs, reports, archive."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.records import GateResult, Message, Prediction, Score, Trial
from pytest_llmeval.results.atomic import write_text
from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.markdown import markdown_report
from pytest_llmeval.results.report import RunReport, condition_figures, select_examples
from pytest_llmeval.results.rows import outcome_of
from pytest_llmeval.results.significance import write_significance
from pytest_llmeval.results.tables import write_costs, write_tables
from pytest_llmeval.run.conclusion import Worth, slots_busy
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.settings import Settings


def write_artifacts(
    settings: Settings,
    ledger: Ledger,
    trials: Sequence[Trial],
    predictions: Mapping[str, Prediction],
    scores: Mapping[str, Sequence[Score]],
    worth: Worth,
    gates: tuple[GateResult, ...],
    seconds: float,
) -> RunReport:
    """Write all files of the run's folder that follow from predictions and scores."""
    folder = ledger.folder
    busy = _slots_busy(settings, trials, predictions)
    figures = condition_figures(trials, predictions, busy)
    outcomes = _outcomes(predictions, scores)
    report = RunReport(
        id=folder.id,
        started=ledger.manifest.started,
        seconds=seconds,
        path=_shown_path(settings, folder.reports / "report.html"),
        plan=ledger.manifest.plan,
        models=ledger.manifest.models,
        versions=ledger.manifest.versions,
        metrics=worth.metrics,
        comparisons=worth.comparisons,
        gates=gates,
        figures=figures,
        wrong=outcomes["wrong"],
        no_answer=outcomes["no_answer"],
        failed=outcomes["failure"],
        slots_busy=_mean(list(busy.values())),
        warnings=ledger.manifest.warnings,
        examples=select_examples(trials, predictions, scores, _prompt_of),
    )
    write_tables(folder, trials, predictions, scores)
    write_costs(folder.path / "costs.json", figures)
    significance = folder.path / "significance.json"
    write_significance(significance, folder.id, worth.metrics, worth.comparisons)
    write_text(folder.reports / "report.md", markdown_report(report))
    write_text(folder.reports / "report.html", html_report(report))
    if settings.options.archive:
        shutil.make_archive(str(folder.path), "zip", folder.path.parent, folder.path.name)
    return report


def _outcomes(
    predictions: Mapping[str, Prediction], scores: Mapping[str, Sequence[Score]]
) -> Counter[str]:
    """How many trials have each outcome, by their headline score."""
    return Counter(
        outcome_of(prediction, next(iter(scores.get(trial_id, ())), None))[0]
        for trial_id, prediction in predictions.items()
    )


def _slots_busy(
    settings: Settings, trials: Sequence[Trial], predictions: Mapping[str, Prediction]
) -> dict[str, float]:
    by_model: dict[str, list[Prediction]] = {}
    for trial in trials:
        if trial.id in predictions:
            by_model.setdefault(trial.condition.model, []).append(predictions[trial.id])
    shares = {
        model: slots_busy(its, settings.config.models[model].slots)
        for model, its in by_model.items()
    }
    return {model: share for model, share in shares.items() if share is not None}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _prompt_of(trial: Trial) -> tuple[Message, ...]:
    return render(trial.condition.prompt, trial.item)


def _shown_path(settings: Settings, path: Path) -> str:
    try:
        return path.relative_to(settings.options.root).as_posix()
    except ValueError:
        return str(path)
