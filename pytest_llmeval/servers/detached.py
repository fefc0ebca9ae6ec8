"""Processes that are not kept: those that outlive us, and programs that are run to their end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmeval.servers.identity import Identity, identity_of


def start_detached(
    command: Sequence[str], log_path: Path, *, environ: Mapping[str, str]
) -> Identity | None:
    """Start a process that outlives us, our terminal and its closing; its output goes to a log.

    Who it is; None if it ended before we could look. Raises OSError when it cannot be started.
    """
    process = _start_apart(command, log_path, environ)
    # While we live it is our child: somebody must take its exit status, or it stays a zombie.
    threading.Thread(target=process.wait, name="llmeval-detached", daemon=True).start()
    return identity_of(process.pid)


def survive_terminal() -> None:
    """Stay when the terminal that we were started in is closed; what we start inherits that.

    On Windows a console that closes takes its programs with it, but gives them time to end well:
    the event comes as SIGBREAK.
    """
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _start_apart(
    command: Sequence[str], log_path: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    def start(**apart: Any) -> subprocess.Popen[bytes]:
        with log_path.open("ab") as log:
            return subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=log_path.parent,  # so that no folder is held which its owner wants to remove
                **apart,
            )

    if sys.platform != "win32":
        return start(start_new_session=True)
    flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    try:
        return start(creationflags=flags | subprocess.CREATE_BREAKAWAY_FROM_JOB)
    except PermissionError:
        # Whoever put us into a job does not let go of what we start, and may end it with us.
        return start(creationflags=flags)


def run_to_end(command: Sequence[str], *, timeout: float) -> tuple[int, str]:
    """Run a program of the system: its exit status, and what it wrote.

    Raises OSError when it cannot be started or does not end in time.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"it did not end within {timeout:g} s") from None
    return done.returncode, done.stdout.decode("utf-8", "replace")
