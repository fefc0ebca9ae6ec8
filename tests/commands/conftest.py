"""Finished runs in a folder, as the commands find them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

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
from pytest_llmeval.results.manifest import Manifest, read_manifest, write_manifest
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.results.plan import plan_hash, plan_of
from pytest_llmeval.results.tables import tables_of
from pytest_llmeval.run import Options, Run, Selection, Settings

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
        for _, write in tables_of(folder, trials, predictions, scores):
            write()
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
    return Manifest(
        folder.id,
        started.isoformat(),
        plan,
        plan_hash(plan),
        {},
        parts,
        finished=started.isoformat(),
        exit_reason="finished",
    )


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
    killed = dataclasses.replace(manifest, parts=parts, finished=None, exit_reason=None)
    write_manifest(path, killed)
    for table in path.glob("*/*.csv"):
        table.unlink()
    return path


SUITE = """
items:
  - {id: fr, country: France, answer: Paris}
  - {id: es, country: Spain, answer: Madrid}
  - {id: it, country: Italy, answer: Rome}
  - {id: pe, country: Peru, answer: Lima}
target: answer
prompts:
  plain: "Capital of {{ country }}?"
score: exact
"""
CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Peru": "Lima"}


class Evaluate:
    """A user's folder with a suite of four capitals, and runs of it on the fake engine.

    The model `m` knows every capital, `l` is wordy, and says so of those it is told to forget.
    """

    def __init__(self, root: Path):
        self.root = root
        self.write("suites/capitals.yaml", SUITE)

    def write(self, name: str, text: str) -> Path:
        """A file of the folder, its folders made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    def __call__(self, *forgotten: str, broken: str = "", **keys: Any) -> Path:
        """Ask the suites of the folder; the run's folder.

        The models have forgotten some countries; of `broken` every request fails. `keys` replace
        those of the config.
        """
        known = {name: city for name, city in CAPITALS.items() if name not in forgotten}
        rules = {
            "m": [{"when": name, "text": city} for name, city in known.items()],
            "l": [{"when": name, "text": f"It is {city}."} for name, city in known.items()],
        }
        for model, its in rules.items():
            failing = [{"when": broken, "fail": "refused"}] if broken else []
            self.write(f"{model}.json", json.dumps([*failing, *its, {"text": "somewhere else"}]))
        models = {model: {"engine": "fake", "script": f"{model}.json"} for model in rules}
        self.write("local.yaml", json.dumps({"models": models, **keys}))
        options = Options("local.yaml", root=self.root, here=self.root, run_dir=self.root / "runs")
        settings = Settings.read(options)
        paths = sorted((self.root / "suites").glob("*.yaml"))
        suites = [settings.load_suite(p, p.relative_to(self.root).as_posix()) for p in paths]
        trials = [
            trial
            for suite in suites
            for condition in settings.conditions(suite)
            for trial in settings.trials(suite, condition)
        ]
        run = Run(settings, print)
        run.begin(Selection(trials))
        assert not settings.mistakes
        for trial in trials:
            while run.wait(trial.id) is None:
                pass
        run.finish("")
        return Path(run.describe(None)["folder"])


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    return Evaluate(tmp_path / "mine")


@pytest.fixture
def evaluated(evaluate: Evaluate) -> Path:
    """A user's folder with one run in it."""
    evaluate()
    return evaluate.root
