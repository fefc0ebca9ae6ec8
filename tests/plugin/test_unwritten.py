"""Runs whose end cannot be written down: nothing is lost, nothing old is left, and all say so."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.results import journal
from pytest_llmeval.results import manifest as manifests
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.run.artifacts import write_artifacts
from tests.plugin.test_judges import config as with_judge

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

RESUME = ("--llm-resume", "last")


@pytest.fixture
def half(project: Project) -> Project:
    """A run of two models, of which one has failed in one trial; now it would be answered."""
    model = {"engine": "fake", "script": "script.json"}
    project.config(models={"m": model, "n": model})
    project.suite(items=[project.right("a"), project.broken("b")])
    project.run()
    project.script([{"when": "", "text": "yes"}])
    return project


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def in_the_way_of(path: Path) -> None:
    """Nothing can take this place."""
    path.unlink()
    path.mkdir()
    (path / "stays").touch()


def test_a_table_that_cannot_be_written_costs_no_other_and_the_run_is_not_called_finished(
    half: Project,
) -> None:
    run = half.latest_run()
    in_the_way_of(run / "m--plain" / "predictions.csv")
    result = half.run(*RESUME)
    assert result.ret == 1
    words = f"{run / 'm--plain' / 'predictions.csv'} could not be written: "
    result.stdout.fnmatch_lines(
        [
            "*llmeval run*",
            f"*{words}*",
            f"llmeval: continue with --llm-resume {run.name}, and else the same command",
        ]
    )
    assert half.manifest()["exit_reason"].startswith(f"not all could be written: {words}")
    rows = {name: len(half.rows(name)) for name in ("per_item_scores",)}
    assert rows == {"per_item_scores": 4}
    assert (run / "n--plain" / "predictions.csv").is_file()

    shutil.rmtree(run / "m--plain" / "predictions.csv")
    again = half.run(*RESUME)
    assert again.ret == 0
    assert half.manifest()["exit_reason"] == "finished"
    assert {row["outcome"] for row in half.rows("predictions")} == {"right"}


@pytest.mark.parametrize("place", ["manifest", "questions", "report"])
def test_a_full_disk_at_the_end_leaves_the_numbers_on_the_screen_and_a_run_to_go_on_with(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with_judge(project)
    project.suite("kind", [project.right("a"), project.wrong("b")], score=["judge", "exact"])
    with monkeypatch.context() as full:
        if place == "manifest":

            def write_manifest(run: Path, manifest: Any, redactor: Any) -> None:
                write = no_room if manifest.exit_reason else manifests.write_manifest
                write(run, manifest, redactor)

            full.setattr("pytest_llmeval.run.kept_manifest.write_manifest", write_manifest)
        else:
            writer = "ending.write_requests" if place == "questions" else "artifacts.html_report"
            full.setattr(f"pytest_llmeval.run.{writer}", no_room)
        result = project.run()
    assert result.ret == 1
    words = ["kind * 1/2 *", f"*could not be written: {os.strerror(errno.ENOSPC)}*"]
    for each in words:
        result.stdout.fnmatch_lines([each])
    result.stdout.fnmatch_lines(["llmeval: continue with --llm-resume *"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert ("report: " in result.stdout.str()) == (place != "report")
    assert project.manifest()["exit_reason"] != "finished"
    assert project.run(*RESUME).ret == 0
    assert project.manifest()["exit_reason"] == "finished"
    assert len(project.journal()) == 4


def test_until_all_is_written_the_run_is_ours_and_has_nothing_of_an_earlier_session(
    half: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it now would take the old numbers for those of all answers."""
    run, seen = half.latest_run(), []

    def look(*args: Any) -> list[str]:
        left = [path.name for path in run.rglob("*") if path.suffix in {".csv", ".html", ".md"}]
        seen.append((is_being_written(run), half.manifest()["exit_reason"], left))
        return write_artifacts(*args)

    monkeypatch.setattr("pytest_llmeval.run.ending.write_artifacts", look)
    half.run(*RESUME)
    assert seen == [(True, None, [])]
    assert not is_being_written(run)


def test_a_run_that_breaks_off_while_judges_work_is_red(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_judge(project)
    project.suite("kind", [project.right("a"), project.right("b")], score=["judge", "exact"])
    write = journal._write_all

    def write_all(handle: Any, line: bytes) -> None:
        (no_room if b'"verdict' in line else write)(handle, line)

    with monkeypatch.context() as full:
        full.setattr(journal, "_write_all", write_all)
        result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the run broke off: *the journal cannot be written*"])
    assert project.run(*RESUME).ret == 0


def test_an_archive_that_has_no_room_leaves_no_half_of_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(base: str, *_: object) -> None:
        Path(f"{base}.zip").write_bytes(b"half")
        no_room()

    project.suite(items=[project.right("a")])
    with monkeypatch.context() as full:
        full.setattr(shutil, "make_archive", make)
        result = project.run("--llm-archive")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*{project.latest_run().name}.zip could not be written: *"])
    assert not list((project.root / "runs").glob("*.zip"))


def test_what_refuses_to_go_on_takes_nothing_away(half: Project) -> None:
    run = half.latest_run()
    (journal_file, *_) = run.glob("m--plain/parts/*.results.jsonl")
    with journal_file.open("a", encoding="utf-8") as handle:
        handle.write("no prediction\n")
    before = {path for path in run.rglob("*") if path.is_file()}
    assert half.run(*RESUME).ret == 4
    assert {path for path in run.rglob("*") if path.is_file()} == before


def test_an_archive_holds_nothing_of_the_runs_lock_but_its_name(project: Project) -> None:
    """Windows reads no locked file, so that it is zipped when nobody writes the run any more."""
    project.suite(items=[project.right("a")])
    assert project.run("--llm-archive").ret == 0
    with zipfile.ZipFile(f"{project.latest_run()}.zip") as zipped:
        assert not [name for name in zipped.namelist() if name.endswith(".journal.owner")]
        manifest = json.loads(zipped.read(f"{project.latest_run().name}/manifest.json"))
    assert manifest["exit_reason"] == "finished"
