"""`exact: true`: two runs give the same bytes, whether xdist shows them or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tools.real_runs import MODELS, Project, shipped

TIMES = ("queued_ms", "first_token_ms", "service_ms", "total_ms", "started")
"""Keys and columns that no two runs share."""


@dataclass(frozen=True)
class ExactRun:
    """A run that has ended, and what it said."""

    project: Project
    status: int
    text: str

    def without_times(self, table: str) -> list[dict[str, str]]:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in self.project.rows(table)
        ]

    def json(self, name: str) -> Any:
        return json.loads((self.project.folder / name).read_bytes())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, ExactRun]]:
    """The same suites asked twice: in one process, and with four workers."""
    projects = {workers: Project(tmp_path_factory.mktemp(f"n{workers}")) for workers in "04"}
    yield {workers: exact_run(project, workers) for workers, project in projects.items()}
    for project in projects.values():
        project.end()


def exact_run(project: Project, workers: str) -> ExactRun:
    project.config(
        models={name: {**model, "exact": True} for name, model in MODELS.items()},
        sampling={"temperature": 0.8, "max_tokens": 24, "seed": 7, "repeats": 2},
    )
    for suite, prompt in (
        ("capitals", "{{ question }}"),
        ("compare", "Which is larger, {{ a }} or {{ b }}?"),
    ):
        gate = {"only": "tiny-l/plain", "metric": "exact", "at_least": 0.01}
        items, prompts = shipped(suite, 8), {"plain": prompt, "loud": f"{prompt}!"}
        project.suite(suite, items=items, prompts=prompts, score="exact", gates=[gate])
    session = project.start("-n", workers)
    return ExactRun(project, session.wait(300), session.text)


def test_both_runs_have_the_same_exit_status_and_outcomes(runs: Mapping[str, ExactRun]) -> None:
    alone, shared = runs["0"], runs["4"]
    assert alone.status == shared.status == 0, shared.text
    counts = alone.text.splitlines()[-1].partition(" in ")[0].strip("= ")
    assert counts
    assert counts in shared.text.splitlines()[-1]


def test_answers_are_bit_equal(runs: Mapping[str, ExactRun]) -> None:
    alone, shared = (runs[workers].without_times("predictions") for workers in "04")
    assert len(alone) == 2 * 2 * 2 * 8 * 2
    assert alone == shared
    repeats = {(row["text"], row["repeat"]) for row in alone}
    assert len({text for text, _ in repeats}) > 8  # sampled warm: they have something to differ in


@pytest.mark.parametrize("workers", ["0", "4"])
def test_each_models_server_is_started_once(runs: Mapping[str, ExactRun], workers: str) -> None:
    run = runs[workers]
    for model in MODELS:
        log = (run.project.folder / "logs" / f"{model}.log").read_text("utf-8", "replace")
        assert log.count("=== llmeval: ") == 1


def test_scores_and_significance_are_equal(runs: Mapping[str, ExactRun]) -> None:
    alone, shared = runs["0"], runs["4"]
    assert alone.project.rows("per_item_scores") == shared.project.rows("per_item_scores")
    said = [{**run.json("significance.json"), "run": ""} for run in (alone, shared)]
    assert said[0] == said[1]


def test_requests_are_equal_byte_for_byte(runs: Mapping[str, ExactRun]) -> None:
    asked = [
        {path.parts[-3:]: path.read_bytes() for path in run.project.folder.glob("*/parts/*.req*")}
        for run in runs.values()
    ]
    assert len(asked[0]) == 4
    assert asked[0] == asked[1]


def test_combined_results_are_equal_but_for_times(runs: Mapping[str, ExactRun]) -> None:
    def untimed(line: str) -> Any:
        content = json.loads(line)
        ours = {key: value for key, value in content["llmeval"].items() if key not in TIMES}
        ours["attempts"] = [{**attempt, "ms": 0} for attempt in ours["attempts"]]
        return {**content, "llmeval": ours}

    combined = [
        {
            path.parent.name: [untimed(line) for line in path.read_text("utf-8").splitlines()]
            for path in run.project.folder.glob("*/results_combined.jsonl")
        }
        for run in runs.values()
    ]
    assert combined[0]
    assert combined[0] == combined[1]


def test_manifests_are_equal_but_for_names_and_times(runs: Mapping[str, ExactRun]) -> None:
    told = [run.project.manifest() for run in runs.values()]
    for manifest in told:
        for key in ("id", "started", "finished"):
            assert manifest.pop(key)
        manifest["models"].sort(key=lambda model: str(model["name"]))
    assert told[0] == told[1]


def test_token_counts_are_equal(runs: Mapping[str, ExactRun]) -> None:
    totals = [run.json("costs.json")["total"] for run in runs.values()]
    assert totals[0] == totals[1]


def test_the_folders_hold_the_same_files(runs: Mapping[str, ExactRun]) -> None:
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        for folder in (run.project.folder for run in runs.values())
    ]
    assert names[0] == names[1]
