"""What processes that share a server tell each other, in one folder for each server.

Each file has one kind of writer and is whole or not there, so that reading needs no lock:

- `guard.json`: who guard and server are and on which port; written by the guard (`lease_guard.py`)
  as the server runs. While it is there the guard may be relied on, if it lives: before it ends for
  want of holders it takes the file away, *then* looks at the holders once more, and puts it back if
  one has come. Who wants the server says so *first* (a holder), and then looks for the file. So
  either the guard sees the holder, or the holder sees that there is no server.
- `ended.json`: what the end of the server, or of the attempt to start it, was; by the guard, last.
- `ready.json`: whose server was found healthy, and to have what was asked for; by who started it.
- `met`: empty; written by a holder that finds another process's, so that both know of each other.
- `holders/PID-TIME-MARK-N`: empty; one for each use of the server. It is created and removed by its
  process, and removed by the guard once that process is gone.

Two locks: `start.lock` is held while somebody sees to it that the server runs, `guard.lock` by the
guard for as long as it lives. Whoever is killed lets go of both. Neither is ever removed, so that
there are no two of one name; all else is, in the end (`lease_sweep.py`).
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import write_json, write_text
from pytest_llmeval.servers.identity import Identity

_HOLDER = re.compile(r"(\d+)-(\d+)-([0-9a-f.]*)-\d+")

_uses = count()
"""Numbers the holders of this process: it may use a server more than once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A server and its guard; `order` is the name of the attempt that started them."""

    order: str
    guard: Identity
    server: Identity
    port: int

    def lives(self) -> bool:
        """Whether guard and server still run."""
        return self.guard.lives() and self.server.lives()


@dataclass(frozen=True, slots=True)
class Ended:
    """How an order ended: with the exit code of its server, or why there was none."""

    order: str
    code: int | None = None
    error: str | None = None


class LeaseFiles:
    """The files of one shared server; `folder` is created with the first holder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start_lock = folder / "start.lock"
        self.guard_lock = folder / "guard.lock"
        self.log = folder / "server.log"
        self.guard_log = folder / "guard.log"
        self._guard = folder / "guard.json"
        self._withdrawn = folder / "withdrawn.json"
        self._ready = folder / "ready.json"
        self._ended = folder / "ended.json"
        self._holders = folder / "holders"
        self._meeting = folder / "met"

    # Who uses it -----------------------------------------------------------------------------

    def hold(self, who: Identity) -> Path:
        """Say that a process uses the server, or is about to; the file that says so."""
        start = f"{round(who.create_time * 1000)}-{who.mark}"
        path = self._holders / f"{who.pid}-{start}-{next(_uses)}"
        try:
            path.touch(exist_ok=False)
        except FileNotFoundError:  # we are the first
            self._holders.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        others = (
            each for each in self._holders.iterdir() if not each.name.startswith(f"{who.pid}-")
        )
        if any(map(self._counts, others)):
            self._meeting.write_bytes(b"")  # those who are there see it, and so do we
        return path

    def met(self, holder: Path) -> bool:
        """Whether another process has used the server as long as this holder is there."""
        try:
            return self._meeting.stat().st_mtime_ns >= holder.stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def is_held(self) -> bool:
        """Whether anybody uses the server who still lives; the traces of others are removed.

        Nobody does where somebody has removed the whole folder.
        """
        try:
            paths = list(self._holders.iterdir())
        except FileNotFoundError:
            return False
        living = [path for path in paths if self._counts(path)]  # all: each trace is removed
        return bool(living)

    def _counts(self, path: Path) -> bool:
        """Whether a holder lives; the trace of one that does not is removed."""
        name = _HOLDER.fullmatch(path.name)
        if name is None:  # not ours: systems put files of their own into folders
            return False
        if Identity(int(name[1]), int(name[2]) / 1000, name[3]).lives():
            return True
        with contextlib.suppress(OSError):  # Windows, with a virus scanner looking at it
            path.unlink(missing_ok=True)
        return False

    # What is there to use --------------------------------------------------------------------

    def write_kept(self, kept: Kept) -> None:
        """Say who guard and server are."""
        write_json(self._guard, kept)

    def withdraw(self) -> bool:
        """Take it back; False if that must wait, since on Windows somebody reads it."""
        try:
            self._guard.replace(self._withdrawn)
        except PermissionError:
            return False
        except FileNotFoundError:  # nobody can find what is not there
            return True
        return True

    def put_back(self) -> None:
        """Say it again."""
        try:
            self._withdrawn.replace(self._guard)
        except PermissionError:  # Windows, with somebody such as a virus scanner looking at it
            write_text(self._guard, self._withdrawn.read_text(encoding="utf-8"))

    def kept(self) -> Kept | None:
        """Guard and server, which may be gone; None if there are none, or not for new holders."""
        read = _read(self._guard)
        if read is None:
            return None
        guard, server = Identity(**read["guard"]), Identity(**read["server"])
        return Kept(read["order"], guard, server, read["port"])

    def write_ready(self, order: str) -> None:
        """Say that the server of an order is healthy, and what was asked for."""
        write_json(self._ready, {"order": order})

    def ready(self) -> Kept | None:
        """Guard and server if they are ready to be used; they may be gone."""
        read, kept = _read(self._ready), self.kept()
        return (
            kept if read is not None and kept is not None and kept.order == read["order"] else None
        )

    def write_ended(self, ended: Ended) -> None:
        """Say how it ended; a full disk must not keep the guard from ending too."""
        with contextlib.suppress(OSError):
            write_json(self._ended, ended)

    def ended(self, order: str) -> Ended | None:
        """How an order ended; None while nobody has said so."""
        read = _read(self._ended)
        return Ended(**read) if read is not None and read["order"] == order else None


def _read(path: Path) -> Any:
    """What a file says; None if it is not there, or on Windows about to be replaced."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
