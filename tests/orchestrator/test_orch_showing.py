from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from pytest_llmeval.orchestrator import showing
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.servers.health import HealthState
from tests.orchestrator.orch_instances import ALL, BROKEN, CRASHING, EMBEDDER, NOW, QWEN

RUNNING, DOWN, GIVEN_UP, WAITING = QWEN, EMBEDDER, BROKEN, CRASHING


def titles(width: int | None) -> list[str]:
    return [column.title for column in showing.fitted(ALL, NOW, width).columns]


def printed(width: int, *, color: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    console.print(showing.as_table(ALL, NOW, width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 m 00 s"),
        (3599, "59 m 59 s"),
        (3600, "1 h 00 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d 00 h"),
        (400 * 86_400, "400 d 00 h"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert showing.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"),
        (0, "0 MiB"),
        (850 * 2**20, "850 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (9_876_543_210, "9.2 GiB"),
    ],
)
def test_memory_is_told_in_binary_units(size: int | None, text: str) -> None:
    assert showing.memory(size) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0.0"), (48.27, "48.3"), (99.96, "100"), (2140.4, "2,140")]
)
def test_a_rate_has_as_many_digits_as_say_something(value: float | None, text: str) -> None:
    assert showing.rate(value) == text


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (RUNNING, "+ healthy"),
        (replace(RUNNING, health="busy"), "* busy"),
        (replace(RUNNING, health="unhealthy"), "! unhealthy"),
        (DOWN, "- down"),
        (replace(RUNNING, health="unknown"), "? unknown"),
        (GIVEN_UP, "x error"),
        (WAITING, "~ waits 12 s"),
    ],
)
def test_health_has_a_mark_beside_its_word(view: InstanceView, words: str) -> None:
    assert showing.state_in_words(view, NOW) == words


@pytest.mark.parametrize("health", HealthState.__args__)  # type: ignore[attr-defined]  # a Literal
def test_every_state_has_a_mark_and_a_colour(health: HealthState) -> None:
    assert showing.style_of(replace(RUNNING, health=health))
    assert showing.MARKS[health].isascii()


def test_a_model_is_told_without_its_folder_whatever_the_system() -> None:
    assert showing.model_name(RUNNING) == "Qwen3-8B-Instruct-Q4_K_M"
    assert showing.model_name(DOWN) == "bge-m3"


def test_a_name_that_would_steer_the_terminal_does_not() -> None:
    assert "\x1b" not in showing.model_name(replace(DOWN, model="/m/a\x1b[2Jb.gguf"))


def test_whoever_does_not_run_has_no_uptime() -> None:
    assert showing.uptime(RUNNING, NOW) == "3 h 05 m"
    assert showing.uptime(replace(RUNNING, pid=None), NOW) == "-"


def test_all_of_them_in_a_line() -> None:
    assert showing.summary(ALL) == ("4 instances: 1 healthy, 1 waiting, 1 error, 1 down; 9.2 GiB")
    assert showing.summary([DOWN]) == "1 instance: 1 down"
    assert showing.summary([]) == "no instances"


def test_with_room_all_columns_are_shown_and_nothing_is_cut() -> None:
    assert titles(None) == [column.title for column in showing.COLUMNS]
    assert not any(
        showing.CUT in cell for row in showing.fitted(ALL, NOW, None).rows for cell in row
    )


def test_in_120_cells_every_column_is_there() -> None:
    assert titles(120) == [column.title for column in showing.COLUMNS]


@pytest.mark.parametrize("width", [78, 80])
def test_in_80_cells_the_least_wanted_columns_are_left_out(width: int) -> None:
    assert titles(width) == ["Name", "Port", "Model", "Health", "Uptime", "tokens/s", "Memory"]


@pytest.mark.parametrize("width", [30, 40, 60, 72, 80, 100, 120, 132, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert max(map(cell_len, printed(width))) <= width
    assert len(printed(width)) == 1 + len(ALL)


def test_name_and_health_stay_in_the_narrowest_terminal() -> None:
    assert titles(5) == ["Name", "Health"]


def test_what_is_cut_keeps_both_ends() -> None:
    (row,) = showing.fitted([RUNNING], NOW, 80).rows
    assert any(cell.startswith("Qwen3") and cell.endswith("Q4_K_M") for cell in row)


def test_wide_letters_take_two_cells() -> None:
    wide = replace(DOWN, model="/m/" + "模型" * 20 + ".gguf")
    shown = showing.fitted([wide], NOW, 60)
    assert all(
        cell_len(cell) <= cells for cell, cells in zip(shown.rows[0], shown.widths, strict=True)
    )


def test_a_table_of_nothing_has_its_titles() -> None:
    assert showing.fitted([], NOW, 80).rows == ()
    assert len(titles(None)) == 11


def test_colours_say_what_the_marks_say() -> None:
    error, _, down, healthy = printed(120, color=True)[1:]
    assert "\x1b[32m+ healthy" in healthy
    assert "\x1b[2m- down" in down
    assert "\x1b[1;31mx error" in error
    assert not any("\x1b" in line for line in printed(120))


def test_nobody_is_left_without_a_way_on() -> None:
    text = showing.nothing_to_show(Path("/home/me/instances"))
    assert "/home/me/instances" in text.replace("\\", "/")
    assert "llama-orch init" in text
