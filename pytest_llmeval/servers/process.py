"""The owner's side of one guarded server process.

`GuardedProcess.start` starts the guard, the guard starts the server (see `guard.py` for who may die
and what happens then). What is meant to outlive us is started by `detached.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from pytest_llmeval.servers import guard
from pytest_llmeval.servers.exits import describe_exit
from pytest_llmeval.servers.spec import Output
from pytest_llmeval.servers.trees import Usage, cpu_of, end_tree, pids_of, usage_of

SLICE_SECONDS = 0.2
"""The longest single wait: on Windows, Ctrl-C is only noticed between waits."""

MARGIN_SECONDS = 15.0
"""What the guard gets beyond the server's grace to kill, to write the logs' ends, and to report."""


class ProcessStartError(Exception):
    """The process could not be started at all; its text is the system's reason."""


class ServerProcess(Protocol):
    """A server's process as whoever keeps it sees it: ours alone, or shared (`leases.py`)."""

    @property
    def pid(self) -> int:
        """The server's process id."""
        ...

    @property
    def guard_pid(self) -> int:
        """The guard's process id."""
        ...

    @property
    def exit_description(self) -> str | None:
        """What ended the server, in words; None while it lives."""
        ...

    def alive(self) -> bool:
        """Whether the process exists; it may not answer yet, or any more."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the server's end; whether it ended in time."""
        ...

    def pids(self) -> set[int]:
        """The server's process and everything it started; empty once they are gone."""
        ...

    def cpu_seconds(self) -> float:
        """CPU seconds of the server's process alone; 0 once it is gone."""
        ...

    def usage(self) -> Usage:
        """What the server and everything it started have used; zeros once they are gone."""
        ...

    def stop(self, grace: float) -> None:
        """End the server, whoever uses it; back when nothing is left."""
        ...


class GuardedProcess:
    """One server process and its guard, from start to end. Any thread may call it."""

    def __init__(self, guard_process: subprocess.Popen[bytes]) -> None:
        self._guard = guard_process
        self._pid: int | None = None
        self._server: psutil.Process | None = None
        self._failure: str | None = None
        self._exit_code: int | None = None
        self._started = threading.Event()  # or failed to
        self._over = threading.Event()  # neither server nor guard is left
        self._stopping = threading.Lock()
        self._reader = threading.Thread(target=self._follow, name="llmeval-guard", daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        log_path: Path,
        *,
        environ: Mapping[str, str],
        output: Output | None = None,
    ) -> GuardedProcess:
        """Start `command`; back as soon as it runs.

        All it writes goes to the end of `log_path`, or, with an `output`, to the files named there,
        which are rotated. Raises ProcessStartError, and leaves no guard behind, when it cannot be
        started; OSError where `log_path` cannot be written.
        """
        process = cls(_start_guard(command, log_path, environ, output))
        try:
            _wait(process._started, None)
        except BaseException:  # Ctrl-C, most of all
            process.stop(0)
            raise
        if process._failure is not None:
            process.stop(0)
            raise ProcessStartError(process._failure)
        return process

    @property
    def pid(self) -> int:
        """The server's process id, or that of the wrapper that the command names."""
        assert self._pid is not None, "start() hands out started processes only"
        return self._pid

    @property
    def guard_pid(self) -> int:
        """The guard's process id."""
        return self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """The server's exit code; None while it lives, and when its guard died before it."""
        return self._exit_code

    @property
    def exit_description(self) -> str | None:
        """What ended the server, in words; None while it lives."""
        if self.alive():
            return None
        if self._exit_code is None:
            return "its guard process was killed, and the server with it"
        return describe_exit(self._exit_code)

    def alive(self) -> bool:
        """Whether the process exists; it may not answer yet, or any more."""
        return not self._over.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the server's end, in slices; whether it ended in time."""
        return _wait(self._over, timeout)

    def pids(self) -> set[int]:
        """The server's process and everything it started; empty once they are gone."""
        return pids_of(self._server)

    def cpu_seconds(self) -> float:
        """CPU seconds of the server's process alone, without what it started; 0 once it is gone."""
        return cpu_of(self._server)

    def usage(self) -> Usage:
        """What the server and everything it started have used; zeros once they are gone."""
        return usage_of(self._server)

    def stop(self, grace: float) -> None:
        """Ask the server to end, and kill it after `grace` seconds; back when nothing is left.

        Harmless when it has ended already.
        """
        with self._stopping:
            self._ask_to_stop(grace)
            if not _wait(self._over, grace + MARGIN_SECONDS):
                self._guard.kill()
                _wait(self._over, None)
            self._reader.join()

    def _ask_to_stop(self, grace: float) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # the guard has ended, or the pipe is closed
            self._guard.stdin.write(f"stop {grace:.3f}\n".encode("ascii"))
            self._guard.stdin.flush()

    def _follow(self) -> None:
        """Take in what the guard reports until it ends; runs in a thread of its own."""
        assert self._guard.stdout is not None
        with self._guard.stdout as reports:
            for line in reports:
                self._take(json.loads(line))
        self._guard.wait()
        if self._exit_code is None and self._server is not None:
            end_tree(self._server)
        if self._pid is None and self._failure is None:
            self._failure = "its guard process ended at once"
        self._over.set()
        self._started.set()
        self._close_input()

    def _take(self, report: Mapping[str, Any]) -> None:
        """Take in one report of the guard."""
        event = report["event"]
        if event == "failed":
            self._failure = report["error"]
        elif event == "exited":
            self._exit_code = report["code"]
        else:
            self._pid = report["pid"]
            with contextlib.suppress(psutil.NoSuchProcess):
                self._server = psutil.Process(self._pid)
            self._started.set()

    def _close_input(self) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):  # an unsent "stop" that nobody is left to read
            self._guard.stdin.close()


def _start_guard(
    command: Sequence[str], log_path: Path, environ: Mapping[str, str], output: Output | None
) -> subprocess.Popen[bytes]:
    """Start the guard in a session (Windows: a console) of its own, so that Ctrl-C is ours alone.

    The invisible console is shared with the server, so that the guard can send it Ctrl-Break. What
    the guard itself has to complain of goes to the log, unless that is rotated: then it is the only
    one that may have it open.
    """
    own_session: dict[str, Any]
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        own_session = {"creationflags": flags}
    else:
        own_session = {"start_new_session": True}
    where = {"log": str(log_path)} if output is None else {"output": output_order(output)}
    order = json.dumps({"owner": os.getpid(), **where})
    with log_path.open("ab") if output is None else Path(os.devnull).open("ab") as complaints:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, order, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=dict(environ),
            **own_session,
        )


def output_order(output: Output) -> dict[str, Any]:
    """An output as the guard's order has it (`guard.py`)."""
    return {
        "out": str(output.out),
        "err": None if output.err is None else str(output.err),
        "max_bytes": output.max_bytes,
        "keep": output.keep,
    }


def _wait(event: threading.Event, timeout: float | None) -> bool:
    """Wait for an event in slices; whether it came in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while not event.is_set():
        left = SLICE_SECONDS if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return False
        event.wait(min(left, SLICE_SECONDS))
    return True
