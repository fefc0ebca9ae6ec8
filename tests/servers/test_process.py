"""Guarded processes, with commands that are quicker than a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_llmeval.servers.process import GuardedProcess, ProcessStartError

Start = Callable[..., GuardedProcess]
Running = Callable[[int], bool]
BecomesTrue = Callable[..., bool]

FOREVER = "import time\nwhile True: time.sleep(0.2)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "out.log"


@pytest.fixture
def start(log: Path) -> Iterator[Start]:
    """Start a guarded interpreter that runs some code."""
    processes: list[GuardedProcess] = []

    def start(code: str, **environ: str) -> GuardedProcess:
        command = [sys.executable, "-u", "-c", code]
        processes.append(GuardedProcess.start(command, log, environ={**os.environ, **environ}))
        return processes[-1]

    yield start
    for process in processes:
        process.stop(0)


def test_output_goes_to_the_end_of_the_log(start: Start, log: Path) -> None:
    log.write_text("before\n", encoding="utf-8", newline="\n")
    process = start("import sys; print('out'); print('err', file=sys.stderr)")
    assert process.wait(30)
    assert log.read_text(encoding="utf-8").split() == ["before", "out", "err"]


def test_the_environment_is_the_given_one(start: Start, log: Path) -> None:
    assert start("import os; print(os.environ['WORD'])", WORD="wörd").wait(30)
    assert log.read_text(encoding="utf-8", errors="replace").startswith("w")


def test_an_end_of_its_own_is_noticed_with_its_code(start: Start, running: Running) -> None:
    process = start("raise SystemExit(7)")
    assert process.wait(30)
    assert (process.exit_code, process.exit_description) == (7, "exit code 7")
    assert not process.alive()
    assert not running(process.guard_pid)


def test_a_process_that_runs_has_no_exit_code(start: Start) -> None:
    process = start(FOREVER)
    assert process.pids() == {process.pid}
    assert not process.wait(0.01)
    assert process.exit_code is None


def test_usage_counts_cpu_and_memory_until_the_end(start: Start, becomes_true: BecomesTrue) -> None:
    process = start("while True: pass")
    assert becomes_true(lambda: process.usage().cpu_seconds > 0.05)
    assert process.usage().memory > 2**20
    process.stop(0)
    assert process.usage().memory == 0


def test_a_stop_asks_first(start: Start, log: Path, becomes_true: BecomesTrue) -> None:
    polite = (
        "import signal, sys, time\n"
        "def end(*_): print('bye'); sys.exit(3)\n"
        "signal.signal(getattr(signal, 'SIGBREAK', signal.SIGTERM), end)\n"
        "print('ready')\n"
        "while True: time.sleep(0.1)"
    )
    process = start(polite)
    assert becomes_true(lambda: "ready" in log.read_text(encoding="utf-8"))
    process.stop(30)
    assert process.exit_code == 3
    assert "bye" in log.read_text(encoding="utf-8")


def test_a_stop_kills_who_does_not_listen(
    start: Start, log: Path, becomes_true: BecomesTrue, running: Running
) -> None:
    deaf = (
        "import signal\n"
        "signal.signal(getattr(signal, 'SIGBREAK', signal.SIGTERM), signal.SIG_IGN)\n"
        f"print('ready')\n{FOREVER}"
    )
    process = start(deaf)
    assert becomes_true(lambda: "ready" in log.read_text(encoding="utf-8"))
    process.stop(0.2)
    assert not running(process.pid)
    assert not running(process.guard_pid)
    if sys.platform != "win32":
        assert str(process.exit_description).startswith("SIGKILL")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot suspend a guard by a signal")
def test_a_guard_that_hangs_is_killed_and_its_server_with_it(
    start: Start, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmeval.servers.process.MARGIN_SECONDS", 0.2)
    process = start(FOREVER)
    psutil.Process(process.guard_pid).suspend()
    process.stop(0)
    assert not running(process.guard_pid)
    assert not running(process.pid)


def test_children_of_the_process_end_with_it(
    start: Start, log: Path, becomes_true: BecomesTrue, running: Running
) -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
        "print(child.pid)\n"
        "time.sleep(600)"
    )
    process = start(parent)
    assert becomes_true(lambda: log.read_text(encoding="utf-8").endswith("\n"))
    child = int(log.read_text(encoding="utf-8"))
    assert process.pids() == {process.pid, child}
    process.stop(1)
    assert becomes_true(lambda: not running(child), 2)


def test_a_command_that_is_not_there_is_an_error_and_leaves_no_guard(log: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(ProcessStartError, match="no-such-program"):
        GuardedProcess.start(["/no-such-program"], log, environ=os.environ)
    assert psutil.Process().children() == before


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="out"):
        GuardedProcess.start([sys.executable], tmp_path / "none" / "out", environ=os.environ)
