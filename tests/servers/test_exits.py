from __future__ import annotations

import sys

import pytest

from pytest_llmeval.servers.exits import describe_exit


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (137, "exit code 137"),
        (0xC0000017, "exit code 0xC0000017 (not enough memory)"),
        (0xC0000135, "exit code 0xC0000135 (a DLL that it needs was not found)"),
        (0xC0FFEE00, "exit code 0xC0FFEE00"),
    ],
)
def test_an_exit_code_is_said_in_words_where_there_are_some(code: int, words: str) -> None:
    assert describe_exit(code) == words


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "SIGKILL (killed, by hand or by the system for want of memory)"),
        (-4, "SIGILL (crashed: it was built for a CPU with more instructions than this one)"),
        (-13, "SIGPIPE"),
        (-99, "signal 99"),
    ],
)
def test_a_signal_is_said_by_its_name_and_meaning(code: int, words: str) -> None:
    assert describe_exit(code) == words
