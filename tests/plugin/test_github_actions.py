"""Under GitHub Actions the page of a workflow's run shows the report in short."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

GATES = [{"only": "m/plain", "metric": "exact", "at_least": 0.9}]


@pytest.fixture
def summary(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that GitHub Actions names, empty as it makes it."""
    path = project.write("summary.md", "")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def text(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def test_it_has_the_verdicts_with_their_reasons_and_the_scores(
    project: Project, summary: Path
) -> None:
    items = [project.right(f"r{n}") for n in range(3)] + [project.wrong(f"w{n}") for n in range(9)]
    project.suite("first", items, gates=GATES)
    project.suite("second", [project.silent("Straße")])
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    found = text(summary)
    assert found.startswith(f"## llmeval: run {project.latest_run().name}\n")
    assert "- **FAIL** first m/plain at least 0.9: upper bound 0.533, mean 0.250\n" in found
    assert "| first | m/plain | exact | 3/12 | 25.0 |" in found
    assert "13 trials, 1 model, 2 suites, 9 wrong, 1 no answer, 0 failed" in found
    assert "\r" not in found
    assert "What was not right" not in found


def test_pairs_stand_in_it_too(project: Project, summary: Path) -> None:
    two = {name: {"engine": "fake", "script": "script.json"} for name in ("m", "n")}
    project.config(models=two)
    project.suite("first", [project.right("a")])
    project.run()
    assert "## Is it real?" in text(summary)
    assert "| first | m level with n, plain | exact | not shown |" in text(summary)


def test_workers_write_none_of_their_own(project: Project, summary: Path) -> None:
    project.suite("first", [project.right(f"r{n}") for n in range(8)])
    project.run("-n2").assert_outcomes(passed=8)
    assert text(summary).count("## llmeval: run ") == 1


def test_it_stands_behind_what_the_step_has_written_itself(project: Project, summary: Path) -> None:
    summary.write_text("# Mine", encoding="utf-8", newline="\n")
    project.suite("first", [project.right("a")])
    project.run()
    project.run()
    assert text(summary).startswith("# Mine\n## llmeval: run ")
    assert text(summary).count("\n## llmeval: run ") == 2


def test_one_that_cannot_be_written_is_a_line_and_no_failure(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.root / "no" / "such" / "summary.md"))
    project.suite("first", [project.right("a")])
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["llmeval: *summary.md could not be written: *"])
    assert (project.latest_run() / "reports" / "report.md").exists()


@pytest.mark.parametrize("args", [("--llm-plan",), ("--collect-only",), ("-k", "nothing")])
def test_what_asks_nothing_writes_nothing(
    project: Project, summary: Path, args: tuple[str, ...]
) -> None:
    project.suite("first", [project.right("a")])
    project.run(*args)
    assert text(summary) == ""


def test_an_empty_name_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
    project.suite("first", [project.right("a")])
    result = project.run()
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*could not be written*")
