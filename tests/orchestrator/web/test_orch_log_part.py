"""Logs in parts: what a reader is given who asks again and again, whatever happens to the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.orchestrator.web import log_part
from pytest_llmeval.orchestrator.web.log_part import read_part


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "qwen.err.log"


def append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def test_a_log_that_is_not_there_yet_is_empty(log: Path) -> None:
    part = read_part(log, 10)
    assert (part.lines, part.rest, part.cursor) == ((), "", "")
    append(log, b"one\n")
    assert read_part(log, 10, part.cursor).lines == ("one",)


def test_the_last_lines_are_given_and_the_one_being_written(log: Path) -> None:
    append(log, b"one\r\ntwo\n\nfour\nfi")
    assert read_part(log, 3).lines == ("two", "", "four")
    assert read_part(log, 99).lines == ("one", "two", "", "four")
    assert read_part(log, 0).lines == ()
    assert read_part(log, 0).rest == "fi"


def test_a_line_that_is_being_written_comes_whole_later(log: Path) -> None:
    append(log, b"one\ntw")
    first = read_part(log, 10)
    append(log, b"o\n")
    following = read_part(log, 10, first.cursor)
    assert (following.lines, following.rest, following.fresh) == (("two",), "", False)
    assert read_part(log, 10, following.cursor).lines == ()


def test_all_that_was_added_is_given_even_when_it_is_more_than_the_tail(log: Path) -> None:
    append(log, b"one\n")
    first = read_part(log, 1)
    append(log, b"two\nthree\n")
    assert read_part(log, 1, first.cursor).lines == ("two", "three")


def test_after_a_rotation_the_new_file_is_read_from_its_beginning(log: Path) -> None:
    append(log, b"old\n" * 3)
    first = read_part(log, 10)
    log.rename(log.with_suffix(".log.1"))
    append(log, b"new\n" * 9)  # longer than the old one was
    part = read_part(log, 100, first.cursor)
    assert (part.lines, part.fresh) == (("new",) * 9, True)


def test_a_file_that_was_emptied_is_read_from_its_beginning(log: Path) -> None:
    append(log, b"old\n" * 3)
    first = read_part(log, 10)
    log.write_bytes(b"new\n")
    part = read_part(log, 10, first.cursor)
    assert (part.lines, part.fresh) == (("new",), True)


def test_a_file_that_was_written_anew_and_has_grown_is_read_from_its_beginning(log: Path) -> None:
    append(log, b"old\n" * 3)
    first = read_part(log, 10)
    log.write_bytes(b"new\n" * 9)  # under the same number
    part = read_part(log, 10, first.cursor)
    assert (part.lines, part.fresh) == (("new",) * 9, True)


@pytest.mark.parametrize("cursor", ["", "x", "-", "1-zz", "ffff-0", "-1", "0x10-5", "1-2-3"])
def test_a_cursor_that_is_none_begins_anew(log: Path, cursor: str) -> None:
    append(log, b"one\n")
    part = read_part(log, 10, cursor)
    assert (part.lines, part.fresh) == (("one",), True)


def test_of_too_much_the_end_is_given_from_a_whole_line_on(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_part, "MOST_BYTES", 20)
    append(log, b"first\n")
    first = read_part(log, 100)
    append(log, b"".join(b"line %03d\n" % number for number in range(50)))
    part = read_part(log, 100, first.cursor)
    assert (part.lines, part.fresh) == (("line 048", "line 049"), True)
    append(log, b"x" * 50)
    assert read_part(log, 100, part.cursor).rest == "x" * 20


def test_bytes_that_are_no_text_do_no_harm(log: Path) -> None:
    append(log, b"\xff\xfe\x00 \xe2\x82\n\xe2")
    part = read_part(log, 10)
    assert part.lines == ("\ufffd\ufffd\x00 \ufffd",)
    append(log, b"\x82\xac\n")
    assert read_part(log, 10, part.cursor).lines == ("€",)


@given(st.lists(st.text(alphabet="ab\n€", max_size=12).map(str.encode), max_size=12))
def test_however_it_is_written_every_line_comes_once(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes]
) -> None:
    log = tmp_path_factory.mktemp("logs") / "a.log"
    log.touch()
    part = read_part(log, 0)
    lines = list(part.lines)
    for data in writes:
        append(log, data)
        part = read_part(log, 0, part.cursor)
        assert not part.fresh
        lines += part.lines
    *whole, rest = b"".join(writes).decode().split("\n")
    assert (lines, part.rest) == (whole, rest)
