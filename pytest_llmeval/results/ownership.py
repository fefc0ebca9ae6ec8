"""Who writes a run: one process at a time, held to it by a lock beside the journals.

The lock is the operating system's and goes with its holder, however that ends. Beside it stands who
holds it, in a file of its own, because a locked file cannot be read on Windows; what a killed
holder has left there means nothing once the lock is free.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval.atomic import write_json
from pytest_llmeval.errors import RunError
from pytest_llmeval.redaction import Redactor, known_secrets

LOCK = ".journal.lock"
OWNER = ".journal.owner"

PATIENCE = 2.0
"""Seconds that who wants to write waits for the lock. Who only looks whether a run is being written
holds it for a moment. And that of a killed process may outlive it: what it was just starting has
all its files open until it has become a program of its own.
"""

_LONGEST_COMMAND = 120


class Ownership:
    """The right to write a run, from its making to `give_up`.

    Raises `RunError` when another process has it, and says which.
    """

    def __init__(self, run: Path):
        self._run = run
        # The run may be closed by another thread than the one that opened it.
        self._lock = FileLock(run / LOCK, timeout=PATIENCE, thread_local=False)
        try:
            self._lock.acquire(poll_interval=0.02)
        except Timeout:
            raise RunError(
                f"the run {run.name} is being written by another process ({_holder(run)}; {run}): "
                "wait until it has ended, or start a run of its own without --llm-resume"
            ) from None
        try:
            write_json(run / OWNER, _ourselves())
        except BaseException:
            self._lock.release()
            raise

    @property
    def is_held(self) -> bool:
        """Whether nobody else can write the run now."""
        return self._lock.is_locked

    def give_up(self) -> None:
        """Let the next one in. May be called twice."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # it means nothing without the lock
                (self._run / OWNER).unlink()
            self._lock.release()


def is_being_written(run: Path, patience: float = 0.0) -> bool:
    """Somebody holds this run's lock right now, and for so many seconds."""
    if not (run / LOCK).exists():
        return False
    lock = FileLock(run / LOCK, timeout=patience, thread_local=False)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        return True
    except OSError:  # who may not write here cannot tell, and has only come to read
        return False
    lock.release()
    return False


def _ourselves() -> dict[str, object]:
    clean = Redactor(known_secrets(os.environ)).text
    words = (Path(sys.argv[0]).name, *sys.argv[1:])
    command = clean(
        " ".join(shlex.quote(each) if clean(each) == each else clean(each) for each in words)
    )
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command[:_LONGEST_COMMAND],
    }


def _holder(run: Path) -> str:
    """Who holds the lock, in words; that it cannot be told where the file is not there yet."""
    try:
        told = json.loads((run / OWNER).read_text(encoding="utf-8"))
        since = datetime.fromisoformat(told["since"])
        here = "" if told["host"] == platform.node() else f" on {told['host']}"
        return f"pid {told['pid']}{here}, since {since:%Y-%m-%d %H:%M:%S}: {told['command']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "it has not said which"
