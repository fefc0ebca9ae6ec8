"""Runs that are disturbed at random points, in short: nothing is lost, doubled or changed.

The long form is `python tools/kill_points.py --rounds 1000`.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.real_runs import REPOSITORY, Project
from tools.same_run import differences, doubled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its sessions are forked")


@pytest.mark.parametrize(
    ("world", "rounds", "seed"),
    [("fake", 4, 1), ("stopping", 2, 2), ("stub", 2, 3), ("real", 1, 4)],
)
def test_what_is_left_after_any_harm_is_what_an_undisturbed_run_leaves(
    world: str, rounds: int, seed: int
) -> None:
    command = [sys.executable, "-m", "tools.kill_points", "--world", world]
    done = subprocess.run(
        [*command, "--rounds", str(rounds), "--seed", str(seed)],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{rounds} runs disturbed at random points; 0 lost, doubled or changed" in done.stdout


# The comparison itself ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two undisturbed runs of one plan."""
    project = Project(tmp_path_factory.mktemp("pair"))
    project.config(models={"m": {"engine": "fake"}})
    project.suite(gates=[{"only": "m/plain", "metric": "numeric", "at_least": 0.1}])
    for _ in range(2):
        project.run("-p", "no:randomly")
    first, second = sorted(project.root.glob("runs/*/manifest.json"))
    return first.parent, second.parent


def test_two_undisturbed_runs_differ_in_times_alone(pair: tuple[Path, Path]) -> None:
    assert differences(*pair) == []
    assert doubled(pair[0]) == []


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_rows(path: Path, change: Callable[[list[list[str]]], object]) -> None:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)


def other_text(rows: list[list[str]]) -> None:
    rows[1][rows[0].index("text")] = "another answer"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("m--plain/predictions.csv", lambda path: edit_rows(path, other_text)),
        ("m--plain/predictions.csv", lambda path: edit_rows(path, lambda rows: rows.pop())),
        ("m--plain/per_item_scores.csv", lambda path: edit_rows(path, lambda rows: rows.pop(1))),
        ("m--plain/results_combined.jsonl", lambda path: path.write_bytes(path.read_bytes()[:0])),
        ("manifest.json", lambda path: edit_json(path, lambda it: it.update(warnings=["odd"]))),
        ("manifest.json", lambda path: edit_json(path, lambda it: it["parts"][0].pop("answered"))),
        ("costs.json", lambda path: edit_json(path, lambda it: it["total"].update(tokens=1))),
        ("reports/report.md", lambda path: path.write_text("# Run\n", encoding="utf-8")),
        ("reports/report.html", Path.unlink),
        ("m--plain/parts/part-0001.requests.jsonl", lambda path: path.write_bytes(b"")),
    ],
)
def test_whatever_is_changed_is_found(
    pair: tuple[Path, Path], name: str, change: Callable[[Path], object]
) -> None:
    path = pair[1] / name
    before = path.read_bytes()
    try:
        change(path)
        found = differences(*pair)
    finally:
        path.write_bytes(before)
    assert found
    assert all(words.startswith(name) for words in found)


def test_a_trial_with_two_answers_is_found(pair: tuple[Path, Path]) -> None:
    journal = next(pair[1].glob("*/parts/*.results.jsonl"))
    before = journal.read_bytes()
    first = before.splitlines(keepends=True)[0]
    journal.write_bytes(before + first)
    found = doubled(pair[1])
    journal.write_bytes(before)
    assert found == [json.loads(first)["custom_id"]]


def test_what_is_left_over_is_found(pair: tuple[Path, Path]) -> None:
    stray = pair[1] / ".manifest.json.0123abcd.tmp"
    stray.write_bytes(b"{")
    found = differences(*pair)
    stray.unlink()
    assert found == [f"{stray.name} is left over"]
