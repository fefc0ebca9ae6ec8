"""Batch jobs, written down before they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.jobs import BatchJob, read_jobs, write_jobs


def test_jobs_come_back_as_they_were_written(tmp_path: Path) -> None:
    jobs = (
        BatchJob("llmeval-1", ("s::m::a", "s::m::b"), "job-1", "gone"),
        BatchJob("llmeval-2", ("s::m::b",)),
    )
    write_jobs(tmp_path / "part-0001.jobs.json", jobs)
    assert read_jobs(tmp_path / "part-0001.jobs.json") == jobs


def test_a_part_without_a_file_has_no_jobs(tmp_path: Path) -> None:
    assert read_jobs(tmp_path / "part-0001.jobs.json") == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobs": [{"name": 4}]}', '{"jobs": 7}'])
def test_a_file_that_holds_no_jobs_says_what_deleting_it_means(tmp_path: Path, text: str) -> None:
    path = tmp_path / "part-0001.jobs.json"
    path.write_text(text, encoding="utf-8", newline="\n")
    with pytest.raises(RunError) as refused:
        read_jobs(path)
    assert str(refused.value).startswith(f"{path}: holds no batch jobs (")
    assert "delete it: what is not answered yet is then asked by new jobs" in str(refused.value)
