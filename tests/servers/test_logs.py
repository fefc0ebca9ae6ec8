from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pytest_llmeval.servers.logs import TAIL_BYTES, is_title, read_tail, start_section


def test_a_section_has_a_title_that_says_when_it_began(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    start_section(log, "tiny", lambda: 1_800_000_000.0)
    start_section(log, "tiny", lambda: 1_800_000_060.0)
    first, second = log.read_text(encoding="utf-8").splitlines()
    began = datetime.fromtimestamp(1_800_000_000.0).astimezone()
    assert first == f"=== llmeval: tiny, started {began:%Y-%m-%d %H:%M:%S} ==="
    assert second != first
    assert is_title(first)
    assert not is_title("0.00.086 I srv llama_server: listening")


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
    assert bell == "\ufffd\ufffdbell\\x07\\x00\ttab"
    assert long == "x" * 300 + "…"


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "server.log", 8) == ()
