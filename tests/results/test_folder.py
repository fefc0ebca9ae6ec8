"""A run's folder: its name, its shape, and how it is found again."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.folder import RunFolder, condition_slugs, find_run, list_runs

NOW = datetime(2026, 11, 23, 4, 12, 59, tzinfo=timezone.utc)


def make_run(base: Path, run_id: str) -> Path:
    (base / run_id).mkdir(parents=True)
    (base / run_id / "manifest.json").write_text("{}", encoding="utf-8")
    return base / run_id


def test_a_run_is_called_by_its_minute_and_the_next_ones_get_numbers(tmp_path: Path) -> None:
    ids = [RunFolder.create(tmp_path / "runs", NOW, ["m"]).id for _ in range(3)]
    assert ids == ["2026-11-23-0412", "2026-11-23-0412-2", "2026-11-23-0412-3"]


def test_the_folder_of_runs_ignores_itself_in_git_and_keeps_what_the_user_wrote(
    tmp_path: Path,
) -> None:
    RunFolder.create(tmp_path, NOW, [])
    assert (tmp_path / ".gitignore").read_bytes() == b"*\n"
    (tmp_path / ".gitignore").write_text("!kept\n", encoding="utf-8")
    RunFolder.create(tmp_path, NOW, [])
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "!kept\n"


def test_the_paths_in_a_run_are_the_contract(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW, ["tiny-l/plain"])
    root = tmp_path / "2026-11-23-0412"
    parts = root / "tiny-l--plain" / "parts"
    assert folder.results("tiny-l/plain") == parts / "part-0001.results.jsonl"
    assert folder.requests("tiny-l/plain", 12) == parts / "part-0012.requests.jsonl"
    assert parts.is_dir()
    assert folder.reports.is_dir()


def test_a_resumed_run_has_the_same_paths(tmp_path: Path) -> None:
    made = RunFolder.create(tmp_path, NOW, ["A/plain", "a/plain"])
    again = RunFolder.open(made.path, ["a/plain", "A/plain"])
    assert again.results("a/plain") == made.results("a/plain")


def test_a_place_that_cannot_be_written_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(RunError, match=r"cannot make a run's folder in .*runs.*--llm-run-dir"):
        RunFolder.create(tmp_path / "runs", NOW, [])


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("tiny-l/plain", "tiny-l--plain"),
        ("llama3.1:8b", "llama3.1-8b"),
        ("con", "_con"),
        ("Nul.gguf", "_Nul.gguf"),
        ("COM1/x", "COM1--x"),
        ("reports", "_reports"),
        ("logs", "_logs"),
        ("costs.json", "_costs.json"),
        ("Significance.json", "_Significance.json"),
        ("environment.json", "_environment.json"),
        ("..", "condition"),
        ("trailing. ", "trailing"),
        ("größe", "größe"),
    ],
)
def test_a_slug_is_a_name_that_every_file_system_takes(name: str, slug: str) -> None:
    assert condition_slugs([name]) == {name: slug}


def test_names_that_differ_by_case_only_get_folders_of_their_own_in_any_order() -> None:
    one, other = condition_slugs(["Q/plain", "q/plain"]), condition_slugs(["q/plain", "Q/plain"])
    assert one == other
    assert len({slug.casefold() for slug in one.values()}) == 2


@given(st.lists(st.text(st.characters(), max_size=200), unique=True, max_size=6))
def test_slugs_are_distinct_for_any_names_and_safe(names: list[str]) -> None:
    slugs = condition_slugs(names)
    assert list(slugs) == names
    assert len({slug.casefold() for slug in slugs.values()}) == len(names)
    for slug in slugs.values():
        assert len(slug) < 100
        assert not set('<>:"/\\|?*\0\n') & set(slug)
        assert not slug.endswith((".", " "))
        assert slug[0] not in ".-"


def test_last_is_the_newest_by_id_whatever_was_touched_since(tmp_path: Path) -> None:
    runs = ["2026-11-23-0412", "2026-11-23-0412-2", "2026-11-23-0412-10", "2026-01-01-2359"]
    for run_id in runs:
        make_run(tmp_path, run_id)
    old = tmp_path / "2026-01-01-2359" / "manifest.json"
    os.utime(old, (4e9, 4e9))
    assert find_run(tmp_path, "last").name == "2026-11-23-0412-10"
    assert [run.name for run in list_runs(tmp_path)] == [runs[3], *runs[:3]]


def test_last_is_the_run_that_began_last_whatever_its_clock_said(tmp_path: Path) -> None:
    """One of Tokyo, one of UTC, and one after summer time had ended."""
    for run_id, began in (
        ("2026-11-23-1900", "2026-11-23T10:00:00+00:00"),
        ("2026-11-23-1001", "2026-11-23T10:01:00.500000+00:00"),
        ("2026-11-23-0930", "2026-11-23T03:01:00.750000-07:00"),
    ):
        manifest = make_run(tmp_path, run_id) / "manifest.json"
        text = json.dumps({"id": run_id, "started": began, "plan": {"started": "2099-01-01"}})
        manifest.write_text(text, encoding="utf-8", newline="")
    names = [run.name for run in list_runs(tmp_path)]
    assert names == ["2026-11-23-1900", "2026-11-23-1001", "2026-11-23-0930"]


def test_a_renamed_run_takes_its_place_by_the_time_of_its_manifest(tmp_path: Path) -> None:
    make_run(tmp_path, "2020-01-01-0000")
    renamed = make_run(tmp_path, "before-the-change")
    assert list_runs(tmp_path)[-1] == renamed


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, "2026-11-23-0412")
    (tmp_path / "2026-11-24-0000").mkdir()
    assert find_run(tmp_path, "last") == run


def test_a_run_whose_manifest_is_gone_is_not_called_unknown(tmp_path: Path) -> None:
    parts = tmp_path / "2026-11-24-0000" / "m" / "parts"
    parts.mkdir(parents=True)
    (parts / "part-0001.results.jsonl").touch()
    with pytest.raises(RunError, match=r"2026-11-24-0000 has no manifest\.json, .* put it back"):
        find_run(tmp_path, "2026-11-24-0000")


def test_a_run_is_found_by_its_path_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "elsewhere", "copied")
    assert find_run(tmp_path, str(run)) == run


def test_no_run_at_all_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no run in .* yet"):
        find_run(tmp_path / "runs", "last")
    with pytest.raises(RunError, match="holds no run at all"):
        find_run(tmp_path / "runs", "2026-11-23-0412")


def test_a_wrong_id_names_the_runs_that_were_perhaps_meant(tmp_path: Path) -> None:
    for run_id in ("2026-11-23-0412", "2026-11-22-1100"):
        make_run(tmp_path, run_id)
    with pytest.raises(RunError, match=r"did you mean 2026-11-23-0412"):
        find_run(tmp_path, "2026-11-23-0413")
    with pytest.raises(RunError, match=r"the newest are 2026-11-23-0412, 2026-11-22-1100"):
        find_run(tmp_path, "zzz")
