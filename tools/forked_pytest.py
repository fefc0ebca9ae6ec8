"""Pytest sessions that begin at once: children of a process that has imported everything.

A session takes a second and a half to import what it needs, which a thousand of them spend in vain.
POSIX only, as forking is; what a session starts is started as ever.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

MARK = "LLMEVAL_FORK_MARK"
"""The environment variable by which what a session starts is known."""

_IMPORTED = (
    *("pytest", "xdist.plugin", "xdist.dsession", "xdist.scheduler", "xdist.workermanage"),
    *("numpy", "scipy.stats", "scipy.special", "scipy.optimize", "jinja2", "httptools", "httpx"),
    *("pydantic", "ruamel.yaml", "regex", "jsonschema", "pytest_llmeval.hooks", "rich.table"),
    *("pytest_llmeval.engines.fake", "pytest_llmeval.engines.openai", "psutil", "filelock"),
    *("pytest_llmeval.engines.llama_server", "pytest_llmeval.results.html", "platformdirs"),
)


def get_ready() -> None:
    """Import what every session needs."""
    for name in _IMPORTED:
        importlib.import_module(name)


@dataclass
class Disk:
    """What a disk does at a byte of what a session writes below a folder: takes part of that write,
    and then has the process killed, or says from there on that it is full.
    """

    folder: Path
    room: int
    kills: bool
    written: int = field(default=0, init=False)

    def put_in(self) -> None:
        """Take the place of Python's way to open files, in this process."""
        opened = io.open

        def through(file: Any, mode: str = "r", buffering: int = -1, *a: Any, **k: Any) -> Any:
            path = Path(os.fspath(file)) if isinstance(file, (str, os.PathLike)) else None
            ours = path is not None and self.folder in path.absolute().parents
            if not ours or "b" not in mode or not set(mode) & set("wax"):
                return opened(file, mode, buffering, *a, **k)
            raw = _Metered(str(path), mode.replace("b", ""))
            raw.disk = self
            return raw if buffering == 0 else io.BufferedWriter(raw)

        io.open = through

    def take(self, data: memoryview) -> int:
        """How many of these bytes there is room for; at least one, or it is full."""
        left = self.room - self.written
        if left <= 0 and not self.kills:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(len(data), max(left, 0))
        self.written += taken
        return taken


class _Metered(io.FileIO):
    disk: Disk

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        taken = self.disk.take(view) if view else 0
        if taken:
            super().write(view[:taken])
        if taken < len(view) and self.disk.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        return taken


class ForkedSession:
    """One pytest in a folder, with everything it starts; its output goes to a file."""

    def __init__(self, root: Path, arguments: Sequence[str], disk: Disk | None = None):
        self._mark = uuid.uuid4().hex
        self._output = root / f"session-{self._mark}.txt"
        self.began = time.monotonic()
        self._status: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(root, arguments, disk, self._output, {MARK: self._mark})

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        if not within(seconds, lambda: self.over):
            self.end()
            raise TimeoutError(f"it has not ended within {seconds:.0f} s: {self.text[-1000:]}")
        assert self._status is not None
        return self._status

    def kill(self) -> None:
        """`kill -9` to pytest itself."""
        if not self.over:
            os.kill(self.pid, signal.SIGKILL)

    def started(self, is_one: Callable[[Sequence[str]], bool] = lambda _: True) -> list[Any]:
        """The processes it has started that live, by their command."""
        found = []
        for process in psutil.process_iter(["environ", "cmdline", "status"]):
            about = process.info
            lives = about["status"] != psutil.STATUS_ZOMBIE and process.pid != self.pid
            mine = (about["environ"] or {}).get(MARK) == self._mark
            if lives and mine and is_one(about["cmdline"] or []):
                found.append(process)
        return found

    def end(self) -> None:
        """Leave nothing of it."""
        self.kill()
        for process in self.started():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _become(
    root: Path,
    arguments: Sequence[str],
    disk: Disk | None,
    output: Path,
    environ: Mapping[str, str],
) -> None:
    """Be that session, in the child; does not return."""
    status = 99
    try:
        os.setsid()
        os.chdir(root)
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "LLMEVAL_CACHE": str(root / "cache")}
        os.environ.update({**environ, **ours})
        if disk is not None:
            disk.put_in()
        import pytest

        status = int(pytest.main(["-p", "llmeval", "-p", "xdist", *arguments]))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the parent's own code must never go on in here
        traceback.print_exc()
    finally:
        os._exit(status)


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Ask until something is true; whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
