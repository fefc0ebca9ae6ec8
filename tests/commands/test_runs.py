"""`llmeval runs` lists what there is and deletes nothing but finished runs, when told to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.commands.runs import look_at, to_prune
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import Journal

NOW = datetime(2026, 11, 23, 4, 12, tzinfo=timezone.utc)
MakeRun = Callable[[datetime], Path]


def command(*words: str) -> Result:
    return CliRunner().invoke(app, ["runs", *words])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_no_runs_yet_is_a_friendly_line(tmp_path: Path) -> None:
    found = command("list", "--run-dir", str(tmp_path / "runs"))
    assert found.exit_code == 0
    assert "yet: pytest --llm-config FILE makes the first one" in found.stdout


def test_the_list_says_when_how_much_and_whether_it_came_to_its_end(
    run: Path, stopped: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "runs" / "2026-11-25-0000"
    broken.mkdir()
    (broken / "manifest.json").write_text("{", encoding="utf-8")
    found = command("list", "--run-dir", str(tmp_path / "runs"))
    assert found.exit_code == 0
    head, *rows = (line.split() for line in found.stdout.splitlines())
    assert head == ["run", "started", "trials", "models", "suites", "status", "size"]
    assert [[row[0], *row[-6:-2]] for row in rows[:2]] == [
        ["2026-11-23-0412", "8", "2", "1", "completed"],
        ["2026-11-24-0412", "8", "2", "1", "stopped"],
    ]
    assert rows[2][:-2] == ["2026-11-25-0000", "-", "-", "-", "-", "unreadable"]


def test_a_run_whose_journal_is_held_is_running(run: Path) -> None:
    with closing(Journal(RunFolder.open(run, ["m/plain", "l/plain"]))):
        assert [facts.status for facts in look_at(run.parent)] == ["running"]


def test_prune_without_a_limit_is_a_usage_error(tmp_path: Path) -> None:
    found = command("prune", "--run-dir", str(tmp_path))
    assert found.exit_code == 2
    assert "--older-than" in found.output


def test_prune_shows_and_deletes_only_with_yes(make_run: MakeRun, tmp_path: Path) -> None:
    for days in range(3):
        make_run(NOW + timedelta(days=days))
    runs = tmp_path / "runs"
    shown = command("prune", "--keep", "1", "--run-dir", str(runs))
    assert shown.exit_code == 0
    assert shown.stdout.count("would delete") == 2
    assert "add --yes" in shown.stdout
    assert len(names(runs)) == 3
    done = command("prune", "--keep", "1", "--run-dir", str(runs), "--yes")
    assert done.exit_code == 0
    assert names(runs) == ["2026-11-25-0412"]
    again = command("prune", "--keep", "1", "--run-dir", str(runs), "--yes")
    assert again.stdout == "nothing to delete\n"


def test_both_limits_must_hold(make_run: MakeRun, tmp_path: Path) -> None:
    for days in range(4):
        make_run(NOW - timedelta(days=days))
    facts = look_at(tmp_path / "runs")
    chosen = to_prune(facts, keep=1, older_than=2, now=NOW + timedelta(hours=1))
    assert [found.path.name for found in chosen] == ["2026-11-20-0412", "2026-11-21-0412"]
    assert to_prune(facts, keep=9, older_than=0, now=NOW) == []
    assert len(to_prune(facts, keep=None, older_than=0, now=NOW + timedelta(hours=1))) == 4


def test_what_is_no_run_or_unreadable_or_being_written_stays(
    run: Path, make_run: MakeRun, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    (runs / "notes").mkdir()
    (runs / "broken").mkdir()
    (runs / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    other = make_run(NOW + timedelta(days=1))
    with closing(Journal(RunFolder.open(other, ["m/plain", "l/plain"]))):
        done = command("prune", "--keep", "0", "--run-dir", str(runs), "--yes")
    assert done.exit_code == 0
    assert names(runs) == ["2026-11-24-0412", "broken", "notes"]


def test_a_link_to_a_run_elsewhere_is_not_followed(run: Path, tmp_path: Path) -> None:
    link = tmp_path / "runs" / "linked"
    try:
        link.symlink_to(run, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links without a privilege")
    chosen = to_prune(look_at(tmp_path / "runs"), keep=0, older_than=None, now=NOW)
    assert [facts.path for facts in chosen] == [run]
