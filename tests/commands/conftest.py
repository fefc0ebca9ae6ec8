"""Finished runs in a folder, as the commands find them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pytest_llmeval.records import (
    Answer,
    Condition,
    Failure,
    Item,
    Message,
    Prediction,
    PromptVariant,
    Sampling,
    Score,
    ScorerSpec,
    Suite,
    Trial,
)
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import Journal, write_requests
from pytest_llmeval.results.manifest import (
    Manifest,
    PartFacts,
    plan_hash,
    plan_of,
    read_manifest,
    settle_part,
    write_manifest,
)
from pytest_llmeval.results.tables import write_tables

MakeRun = Callable[[datetime], Path]

PROMPT = PromptVariant("plain", (Message("user", "Capital of {{ id }}?"),), "hash")
OUTCOMES = {
    "France": Answer("Paris\nof course", "stop"),
    "Spain": Answer("Lisbon \x1b[2J", "stop"),
    "Italy": Answer("", "stop"),
    "Chile": None,
}
SCORES = {
    "France": Score("exact", "right", 1.0, extracted="Paris"),
    "Spain": Score("exact", "wrong", 0.0, extracted="Lisbon"),
    "Italy": Score("exact", "no_answer", 0.0, "empty"),
}


def trials_of(model: str) -> list[Trial]:
    items = tuple(Item(name, name, {}, f"the capital of {name}") for name in OUTCOMES)
    suite = Suite(
        "capitals", "suites/capitals.yaml", items, "dataset", (PROMPT,), (ScorerSpec("exact"),)
    )
    condition = Condition(f"{model}/plain", model, PROMPT, Sampling(8))
    return [
        Trial(suite, condition, item, 1, item.slug, f"capitals::{condition.name}::{item.slug}")
        for item in items
    ]


def prediction_of(trial: Trial) -> Prediction:
    answer = OUTCOMES[trial.item.id]
    failure = None if answer else Failure("timeout", "no answer in 60 s")
    return Prediction(trial.id, answer, failure)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a complete run of two models into `runs/`, begun at a given time."""

    def make(started: datetime) -> Path:
        trials = [trial for model in ("m", "l") for trial in trials_of(model)]
        names = {trial.condition.name for trial in trials}
        folder = RunFolder.create(tmp_path / "runs", started, names)
        predictions = {trial.id: prediction_of(trial) for trial in trials}
        with closing(Journal(folder)) as journal:
            for prediction in predictions.values():
                journal.append(prediction)
        for name in names:
            asked = [t for t in trials if t.condition.name == name]
            bodies = [
                (t.id, {"messages": [{"role": "user", "content": f"Capital of {t.item.id}?"}]})
                for t in asked
            ]
            write_requests(folder.requests(name), bodies)
        scores = {t.id: (SCORES[t.item.id],) for t in trials if t.item.id in SCORES}
        write_tables(folder, trials, predictions, scores)
        write_manifest(folder.path, _manifest(folder, trials, predictions, started))
        return folder.path

    return make


def _manifest(
    folder: RunFolder, trials: list[Trial], predictions: dict[str, Prediction], started: datetime
) -> Manifest:
    plan = plan_of({}, trials, {})
    parts = tuple(
        settle_part(
            PartFacts(name, 1, len(OUTCOMES)),
            [p for p in predictions.values() if f"::{name}::" in p.trial_id],
            ended=True,
        )
        for name in folder.slugs
    )
    return Manifest(folder.id, started.isoformat(), plan, plan_hash(plan), {}, parts)


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    """One run."""
    return make_run(datetime(2026, 11, 23, 4, 12, tzinfo=timezone.utc))


@pytest.fixture
def stopped(make_run: MakeRun) -> Path:
    """A run that was killed: its manifest says running, and it has no tables."""
    path = make_run(datetime(2026, 11, 24, 4, 12, tzinfo=timezone.utc))
    manifest = read_manifest(path)
    parts = tuple(dataclasses.replace(p, job_status="running") for p in manifest.parts)
    write_manifest(path, dataclasses.replace(manifest, parts=parts))
    for table in path.glob("*/*.csv"):
        table.unlink()
    return path
