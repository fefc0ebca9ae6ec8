"""A file of results beside one of requests."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Answer, Prediction
from pytest_llmeval.results.results_file import ResultsFile, results_path

ONE = Prediction("a", Answer("1", "stop"), None)
TWO = Prediction("b", Answer("2", "stop"), None)


@pytest.mark.parametrize(
    ("requests", "results", "dry"),
    [
        ("a.jsonl", "a.results.jsonl", "a.dry-run.results.jsonl"),
        ("part-0001.requests.jsonl", "part-0001.results.jsonl", "part-0001.dry-run.results.jsonl"),
        ("a.b.jsonl", "a.b.results.jsonl", "a.b.dry-run.results.jsonl"),
        ("batch", "batch.results.jsonl", "batch.dry-run.results.jsonl"),
    ],
)
def test_results_have_the_name_of_their_requests(requests: str, results: str, dry: str) -> None:
    assert results_path(Path("x") / requests) == Path("x") / results
    assert results_path(Path("x") / requests, dry_run=True) == Path("x") / dry


def test_what_was_written_is_known_to_the_next_writer_but_for_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "a.results.jsonl"
    with closing(ResultsFile(path)) as results:
        assert results.known == {}
        results.append(ONE)
        results.append(TWO)
    path.write_bytes(path.read_bytes()[:-5])
    with closing(ResultsFile(path)) as again:
        assert again.known == {"a": ONE}
        again.append(TWO)
    with closing(ResultsFile(path)) as last:
        assert last.known == {"a": ONE, "b": TWO}


def test_there_is_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.results.jsonl"
    with (
        closing(ResultsFile(path)),
        pytest.raises(RunError, match=r"a\.results\.jsonl is being written by another process"),
    ):
        ResultsFile(path)


def test_a_file_that_cannot_be_read_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "a.results.jsonl"
    path.write_bytes(b"no result\n")
    with pytest.raises(RunError, match=r"a\.results\.jsonl:1"):
        ResultsFile(path)
    path.unlink()
    ResultsFile(path).close()
