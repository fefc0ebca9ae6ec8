"""A step's summary stays within what GitHub shows, and says when something is cut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.results.step_summary import MOST_BYTES, append_step_summary, fitting

if TYPE_CHECKING:
    from tests.results.conftest import Samples

NOTE = b"\nCut: GitHub shows no more. The whole report is r.html\n"


def test_what_fits_is_left_as_it_is() -> None:
    assert fitting("ä\n", 3, "r.html") == "ä\n".encode()


def test_what_does_not_fit_is_cut_behind_a_whole_line_and_says_so() -> None:
    text = "| one |\n| two |\n" + "| many |\n" * 9
    for room in range(len(NOTE) + 16, len(NOTE) + 24):
        assert fitting(text, room, "r.html") == b"| one |\n| two |\n" + NOTE
    assert fitting(text, len(NOTE) + 25, "r.html").count(b"\n") == 5


def test_a_letter_of_several_bytes_is_never_cut_in_two() -> None:
    text = "äöü\n" * 50
    for room in range(len(NOTE), len(text.encode()) + 2):
        found = fitting(text, room, "r.html")
        assert len(found) <= room
        assert set(found.removesuffix(NOTE).decode("utf-8").splitlines()) <= {"äöü"}


@pytest.mark.parametrize("room", [-5, 0, 10])
def test_without_room_for_a_word_there_is_none(room: int) -> None:
    assert fitting("| one |\n" * 9, room, "r.html") == b""


def test_half_a_character_is_written_as_its_escape() -> None:
    assert fitting("a\ud800\n", 99, "r.html") == b"a\\ud800\n"


def test_a_large_report_stays_within_githubs_limit_with_all_that_is_there(
    tmp_path: Path, samples: type[Samples]
) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * 1000)
    pair = samples.comparison_of("arithmetic", "tiny-l/plain", "tiny-s/plain")
    report = samples.report(comparisons=(pair,) * 20_000)
    append_step_summary(path, report)
    found = path.read_bytes()
    assert MOST_BYTES - 300 < len(found) <= MOST_BYTES
    assert found.startswith(b"x" * 1000 + b"\n## llmeval: run ")
    assert found.endswith(
        b"\nCut: GitHub shows no more. The whole report is "
        b"runs/2026-11-23-0412/reports/report.html\n"
    )
    assert b"**PASS** arithmetic" in found


def test_a_full_summary_is_left_alone(tmp_path: Path, samples: type[Samples]) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * MOST_BYTES)
    append_step_summary(path, samples.report())
    assert path.stat().st_size == MOST_BYTES
