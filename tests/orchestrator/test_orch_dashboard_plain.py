"""The dashboard where there is no textual, or no terminal for it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator.dashboard.plain import show_plainly, why_plain
from tests.orchestrator.orch_instances import NOW, HeldInstances

EMPTY = "No instances yet: llama-orch init"


def shown(instances: HeldInstances, looks: int = 1, **options: object) -> str:
    """What is printed until somebody presses Ctrl-C after so many looks."""
    out = io.StringIO()
    console = Console(file=out, legacy_windows=False, width=100, **options)  # type: ignore[arg-type]

    def sleep(_seconds: float) -> None:
        if instances.looks >= looks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_plainly(instances, console, "why", empty=EMPTY, clock=lambda: NOW, sleep=sleep)
    return out.getvalue()


@pytest.mark.parametrize(
    ("terminal", "term", "textual", "words"),
    [
        (True, "xterm-256color", True, None),
        (True, "", True, None),  # Windows has none
        (False, "xterm-256color", True, "is no terminal"),
        (True, "dumb", True, "TERM is dumb"),
        (True, "xterm", False, 'pip install "pytest-llmeval-local[dashboard]"'),
    ],
)
def test_it_says_why_there_is_a_table_only_and_what_to_do(
    terminal: bool, term: str, textual: bool, words: str | None
) -> None:
    why = why_plain(terminal=terminal, term=term, textual=textual)
    assert why is None if words is None else words in str(why)


def test_into_a_pipe_go_whole_lines_without_colours_again_and_again(tmp_path: Path) -> None:
    text = shown(HeldInstances(tmp_path), looks=3, force_terminal=False)
    assert text.startswith("why\n")
    assert text.count("4 instances: 1 healthy, 1 waiting, 1 error, 1 down; 9.2 GiB") == 3
    assert "Qwen3-8B-Instruct-Q4_K_M" in text
    assert "broken: given up after 5 restarts" in text
    assert "\x1b" not in text


def test_a_dumb_terminal_gets_tables_as_wide_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = shown(HeldInstances(tmp_path), looks=2, force_terminal=True)
    assert text.count("+ healthy") == 2
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_terminal_without_textual_gets_one_table_that_changes_in_place(tmp_path: Path) -> None:
    text = shown(HeldInstances(tmp_path), looks=2, force_terminal=True, color_system="standard")
    assert "\x1b[32m+ healthy" in text
    assert "\x1b[1A" in text  # up a line


@pytest.mark.parametrize("terminal", [True, False])
def test_where_there_is_nothing_it_says_how_to_begin(tmp_path: Path, terminal: bool) -> None:
    assert EMPTY in shown(HeldInstances(tmp_path, ()), force_terminal=terminal)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_look_that_fails_is_told(tmp_path: Path, terminal: bool) -> None:
    instances = HeldInstances(tmp_path)
    instances.look_error = StateError("state.db is locked")
    assert "llama-orch: state.db is locked" in shown(instances, force_terminal=terminal)
