from __future__ import annotations

import re
from pathlib import Path

from pytest_llmeval.servers.logs import TAIL_BYTES, read_tail, start_section


def test_the_tail_starts_with_the_last_section(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "server.log"
    start_section(log, "tiny")
    with log.open("a", encoding="utf-8") as file:
        file.write("an old line\n")
    start_section(log, "tiny")
    with log.open("a", encoding="utf-8") as file:
        file.write("one\n\n   \ntwo\nthree")
    assert read_tail(log, 8) == ("one", "two", "three")
    assert read_tail(log, 2) == ("two", "three")


def test_a_section_says_what_starts_and_when(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    start_section(log, "tiny", clock=lambda: 1.7e9)
    title = log.read_text(encoding="utf-8")
    assert re.fullmatch(r"=== llmeval: tiny, 2023-11-1\d \d\d:\d\d:20 [+-]\d{4} ===\n", title)


def test_the_tail_of_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    start_section(log, "tiny")
    with log.open("a", encoding="utf-8") as file:
        file.writelines(f"line {number}\n" for number in range(TAIL_BYTES))
    assert read_tail(log, 1) == (f"line {TAIL_BYTES - 1}",)
    assert read_tail(log, 10**6)[0].startswith("line ")


def test_lines_are_fit_for_any_terminal(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    start_section(log, "tiny")
    with log.open("ab") as file:
        file.write(b"\x1b[31mred\x1b[0m\r\n\xff\xfebell\x07\x00\ttab\n" + b"x" * 1000)
    red, bell, long = read_tail(log, 3)
    assert red == "red"
    assert bell == "\ufffd\ufffdbell\ttab"
    assert long == "x" * 300 + "…"


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "server.log", 8) == ()
