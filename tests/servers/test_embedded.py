"""The launcher by itself, as one would run it by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Launch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def launch(model: Path) -> Iterator[Launch]:
    """Run the launcher on a free port, its output readable."""
    launched: list[subprocess.Popen[bytes]] = []

    def launch(*arguments: str, gguf: Path = model) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "pytest_llmeval.servers.embedded"]
        process = subprocess.Popen(
            [*program, "-m", str(gguf), "--port", "0", "-c", "256", "-t", "1", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        launched.append(process)
        return process

    yield launch
    for process in launched:
        process.kill()
        process.communicate()


def address(process: subprocess.Popen[bytes]) -> str:
    """Where it listens; llama.cpp logs from a thread of its own, perhaps into the same line."""
    assert process.stdout is not None
    for line in process.stdout:
        _, found, rest = line.decode("utf-8").partition("embedded: listening on ")
        if found:
            return rest.split()[0]
    raise AssertionError("it ended before it listened")


def test_it_says_where_it_listens_and_answers_there(
    launch: Launch, fetch: Callable[[str, str | None], tuple[int, bytes]]
) -> None:
    url = address(launch("--alias", "my-model"))
    status, body = fetch(f"{url}/v1/models", None)
    assert status == 200
    assert b'"my-model"' in body


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has Ctrl-Break instead, see process")
def test_sigterm_ends_it_with_0(launch: Launch) -> None:
    process = launch()
    address(process)
    process.terminate()
    assert process.wait() == 0


def test_a_model_that_cannot_be_loaded_ends_it_with_1_and_a_reason(
    launch: Launch, unloadable: Path
) -> None:
    process = launch(gguf=unloadable)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert f"embedded: cannot serve {unloadable}: " in output.decode("utf-8")


def test_with_a_lifeline_the_end_of_its_input_ends_it(launch: Launch) -> None:
    process = launch("--lifeline")
    address(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0
    process.stdin = None


def test_an_unknown_flag_is_refused_and_known_ones_are_not_guessed(launch: Launch) -> None:
    process = launch("--para", "2")
    output, _ = process.communicate()
    assert process.returncode == 2
    assert b"unrecognized arguments: --para 2" in output


def test_without_a_lifeline_it_does_not_care_about_its_input(launch: Launch) -> None:
    process = launch()
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    assert address(process).startswith("http://127.0.0.1:")
    assert process.poll() is None
