"""The SQLite file under the state: opened, migrated, set aside when damaged; errors in words.

Everybody who uses it, in whatever process, does so by short transactions. On POSIX a file can be
renamed while others have it open; so each of us sees before and after every transaction whether it
is still the file of its path, and goes over to the new one when it is not.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator.migrations import VERSION, is_foreign, migrate, version_of
from pytest_llmeval.sqlite import connected, is_damage, transaction

BUSY_SECONDS = 5.0
"""How long one waits for another's transaction; ours take milliseconds."""

Result = TypeVar("Result")
Action = Callable[[sqlite3.Connection], Result]
FileId = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a file holds: a database of some version, or what is wrong with it."""

    version: int = 0
    damage: str | None = None


class Database:
    """One connection to the file, for any thread: they take turns.

    `notes` tells, in words for the user, what was set aside to go on; each is also given to
    `rescued`, with the new database. `opened` counts how often the file was opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        rescued: Callable[[sqlite3.Connection, str], None],
    ) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self.opened = 0
        self._clock = clock
        self._rescued = rescued
        self._turn = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: FileId | None = None

    def read(self, action: Action[Result]) -> Result:
        """Run `action`, which only reads."""
        return self._run(action)

    def write(self, action: Action[Result]) -> Result:
        """Run `action` in a transaction of its own: all of it is kept, or nothing."""

        def whole(connection: sqlite3.Connection) -> Result:
            with transaction(connection):
                return action(connection)

        return self._run(whole)

    def close(self) -> None:
        """Let the file go; it is opened again when it is needed."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = self._file = None

    def _run(self, action: Action[Result]) -> Result:
        """Run `action` on the file that is at our path, once more if that has just been replaced.

        A file found damaged is closed and opened again, which sets it aside: then a second try.
        """
        with self._turn, _in_words(self.path):
            try:
                result = action(self._current())
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.close()
                result = action(self._current())
            while self._file != _file_id(self.path):
                result = action(self._current())
            return result

    def _current(self) -> sqlite3.Connection:
        if self._connection is None or self._file != _file_id(self.path):
            self.close()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_ready(self.path):
                self._make()
            # Asked first: should the file be replaced in between, this is seen to be the old one.
            self._file = _file_id(self.path)
            self._connection = connected(self.path, "rw", BUSY_SECONDS)
            self.opened += 1
        return self._connection

    def _make(self) -> None:
        """Have a database of our version at our path: made, migrated, or begun beside a broken one.

        One at a time: a second one that saw the damage as well finds the new file, and keeps it.
        """
        with FileLock(f"{self.path}.lock", timeout=BUSY_SECONDS):
            finding = examine(self.path)
            if finding.version > VERSION:
                raise StateError(_newer(self.path, finding.version))
            note = finding.damage and _set_aside(self.path, finding.damage, self._clock())
            with contextlib.closing(connected(self.path, "rwc", BUSY_SECONDS)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection)
                if note:
                    self.notes = (*self.notes, note)
                    self._rescued(connection, note)


def _is_ready(path: Path) -> bool:
    """Whether it can be used as it is. Who looks while another makes it may see anything: no."""
    try:
        return examine(path) == Finding(VERSION)
    except sqlite3.OperationalError:
        return False


def examine(path: Path) -> Finding:
    """Look at a file without changing it, whatever it holds; a missing one is an empty one."""
    if not path.exists():
        return Finding()
    try:
        with contextlib.closing(connected(path, "ro", BUSY_SECONDS)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                return Finding(damage=" ".join(str(verdict).split()))
            if is_foreign(connection):
                return Finding(damage="it holds another program's tables")
            return Finding(version_of(connection))
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return Finding(damage=str(error))
        raise


def _set_aside(path: Path, damage: str, now: float) -> str:
    """Give a damaged file, and what belongs to it, another name; tell the user in words."""
    time = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    kept = path.with_name(f"{path.name}.corrupt-{time:%Y%m%dT%H%M%S}")
    number = 1
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{path.name}.corrupt-{time:%Y%m%dT%H%M%S}-{number}")
    try:
        # The log goes first: left behind, it would be taken for the new database's own.
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
    except PermissionError as error:  # Windows, where nobody renames what is open
        raise StateError(
            f"{path} is damaged ({damage}) and cannot be set aside while it is in use: {error}. "
            "End the daemon (llama-orch daemon stop) and what else has it open, then try again"
        ) from error
    return (
        f"{path} was damaged ({damage}). It is kept as {kept.name} beside it, and a new one is "
        "begun: the configs of your instances are untouched, their histories begin anew"
    )


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the file system as StateError, with the way out."""
    try:
        yield
    except Timeout as error:
        raise StateError(_locked(path)) from error
    except sqlite3.Error as error:
        raise StateError(_words(path, error)) from error
    except OSError as error:
        raise StateError(_not_writable(path, str(error))) from error


def _words(path: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return _locked(path)
    if "readonly" in text or "unable to open" in text:
        return _not_writable(path, text)
    if "full" in text:
        return (
            f"{path} cannot be written: its disk is full. Make room and try again; "
            "what was written before is safe"
        )
    return f"{path} cannot be used: {text}"


def _locked(path: Path) -> str:
    return (
        f"{path} has been locked by another program for {BUSY_SECONDS:.0f} s. End what has it "
        "open (a database browser, a backup), or wait, and try again"
    )


def _not_writable(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be used: {reason}. Its folder must be yours to write; another home is "
        "given by --home or LLAMA_ORCH_HOME"
    )


def _newer(path: Path, version: int) -> str:
    return (
        f"{path} has format {version}, of a newer llama-orch; this one knows formats up to "
        f"{VERSION}. Update this one, or give another home by --home or LLAMA_ORCH_HOME"
    )


def _file_id(path: Path) -> FileId | None:
    """Which file is at a path; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 # asked before every transaction: the quick way
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
