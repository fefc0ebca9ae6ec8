"""`llmeval rescore` judges a run's answers again and ends like a run."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.results.manifest import read_manifest

OWN_SCORER = textwrap.dedent(
    """
    from dataclasses import dataclass
    from typing import ClassVar

    from pytest_llmeval.scoring.scorer import register, score_of

    @register("begins_with_p")
    @dataclass(frozen=True)
    class BeginsWithP:
        name: ClassVar[str]
        version: ClassVar[str] = "1"

        def __call__(self, answer, item):
            return score_of(self.name, answer.text.startswith("P"))
    """
)


@pytest.fixture
def folder(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a run of two models was made in; commands are given there."""
    monkeypatch.chdir(evaluated)
    return evaluated


def command(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], env={"COLUMNS": "100"})


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "suites" / "capitals.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def newest(folder: Path) -> Path:
    runs = [path for path in (folder / "runs").iterdir() if path.is_dir()]
    return max(runs, key=lambda path: (len(path.name), path.name))


@pytest.mark.parametrize("scorers", ["includes", "[includes, exact]"])
def test_it_ends_like_a_run_and_says_how_to_see_what_changed(folder: Path, scorers: str) -> None:
    first = newest(folder)
    rewrite(folder, "score: exact", f"score: {scorers}")
    done = command("rescore")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    second = newest(folder)
    assert lines[0].startswith("capitals: was scored by exact, version 1; now by includes, version")
    assert lines[1].strip("= ") == "llmeval: 8 trials, 2 models, 1 suite"
    assert any(line.split()[:2] == ["l/plain", "4/4"] for line in lines)
    assert any(line.startswith("Is it real?") for line in lines)
    assert f"report: runs/{second.name}/reports/report.html" in lines
    if scorers == "includes":
        assert "what changed: " not in done.stdout, "they have no scorer in common"
        return
    words = f"compare {first.name} {second.name} --scorer exact"
    assert lines[-1] == f"what changed: llmeval {words}"
    assert command(*words.split()).exit_code == 0


def test_a_gate_that_fails_now_is_said_in_the_exit_status(folder: Path) -> None:
    gate = "gates: [{only: l/plain, metric: exact, at_least: 0.9}]"
    rewrite(folder, "score: exact", f"score: exact\n{gate}")
    done = command("rescore", "last")
    assert done.exit_code == 1
    assert "FAIL          capitals l/plain at least 0.9: upper bound" in done.stdout


def test_the_new_run_can_be_shown_and_stands_in_the_list(folder: Path) -> None:
    rewrite(folder, "score: exact", "score: includes")
    command("rescore")
    shown = command("show", "last", "--wrong")
    assert f"none in {newest(folder).name}" in shown.stdout
    statuses = [line.split()[-3] for line in command("runs", "list").stdout.splitlines()[1:]]
    assert statuses == ["completed", "rescored"]


def test_a_scorer_of_ones_own_is_loaded_from_the_file_that_is_named(folder: Path) -> None:
    rewrite(folder, "score: exact", "score: begins_with_p")
    (folder / "conftest.py").write_text(OWN_SCORER, encoding="utf-8", newline="\n")
    without = command("rescore")
    assert without.exit_code == 1
    assert "no scorer is called 'begins_with_p'" in without.output
    assert "One of your own is loaded with --scorers conftest.py" in without.output
    done = command("rescore", "--scorers", "conftest.py")
    assert done.exit_code == 0, done.output
    (suite,) = read_manifest(newest(folder)).plan.suites
    assert [(scorer.name, scorer.version) for scorer in suite.scorers] == [("begins_with_p", "1")]


def test_another_suite_file_and_another_folder_of_runs_can_be_named(
    folder: Path, tmp_path: Path
) -> None:
    rewrite(folder, "score: exact", "score: includes")
    other = tmp_path / "other"
    other.mkdir()
    (folder / "suites" / "capitals.yaml").rename(other / "capitals.yaml")
    (folder / "runs").rename(other / "runs")
    assert "--suite-file FILE" in command("rescore", "--run-dir", str(other / "runs")).output
    words = ["--suite-file", str(other / "capitals.yaml"), "--run-dir", str(other / "runs")]
    done = command("rescore", *words)
    assert done.exit_code == 0, done.output
    assert len([path for path in (other / "runs").iterdir() if path.is_dir()]) == 2


def test_a_run_that_is_not_there_is_a_message(folder: Path) -> None:
    done = command("rescore", "2020-01-01-0000")
    assert done.exit_code == 1
    assert done.output.startswith("llmeval: there is no run '2020-01-01-0000' in runs; ")
