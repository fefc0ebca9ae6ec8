"""The SQLite file of kept answers: made, opened, held to its size, set aside when damaged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval.sqlite import TROUBLE, connected, transaction

ANSWERS = "answers"
"""The folder of the file, in that of all that is kept from run to run."""

FILE_NAME = "answers-1.sqlite3"
"""The number is that of the layout: another one has another file, so that none is converted."""

WAIT_SECONDS = 10.0
"""How long one waits for another's transaction; ours take milliseconds."""

ROOM = 0.9
"""When there is too much, so much of the limit is left: not every answer has another one let go."""

_CHECKSUM = 16

_LAYOUT = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY NOT NULL, answer BLOB NOT NULL, used INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON answers (used);
"""


@dataclass(frozen=True, slots=True)
class Stock:
    """What is kept: how many answers in how many bytes, and when (seconds since 1970) the one that
    was not used for longest and the last one were used, to the hour. None where there are none.
    """

    answers: int
    size: int
    oldest: int | None
    newest: int | None


def made(path: Path) -> None:
    """Have the file, readable by its owner alone: models' answers may be about anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=WAIT_SECONDS):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with contextlib.closing(connected(path, "rw", WAIT_SECONDS)) as connection:
            # Of no effect once there is a table; a kill may have left the file without any.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_LAYOUT)


def stock_of(connection: sqlite3.Connection) -> Stock:
    """What the file holds."""
    answers, oldest, newest = connection.execute(
        "SELECT count(*), min(used), max(used) FROM answers"
    ).fetchone()
    return Stock(answers, _size(connection), oldest, newest)


def shrink(connection: sqlite3.Connection, size: int) -> int:
    """Let go of those that were not used for longest until it takes no more than `size` bytes, and
    give the room back to the disk; how many went.
    """
    gone = 0
    if _size(connection) <= size:
        return gone
    while _size(connection) > ROOM * size:
        (count,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        if not count:
            break
        with transaction(connection):
            gone += connection.execute(
                "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used LIMIT ?)",
                (max(1, count // 20),),
            ).rowcount
    connection.executescript("PRAGMA incremental_vacuum")  # execute would give back one page
    return gone


def _size(connection: sqlite3.Connection) -> int:
    """The bytes that are in use; what was let go of is given back, or used again."""
    pages, free, page = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page)


def removed(path: Path) -> None:
    """Have the file gone, what belongs to it, and one that was set aside."""
    with FileLock(f"{path}.lock", timeout=WAIT_SECONDS):
        for file in (path, aside(path)):
            for suffix in ("-wal", "-shm", ""):
                Path(f"{file}{suffix}").unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """Where a damaged file goes: it may still be read by who knows how."""
    return path.with_name(f"{path.name}.damaged")


def set_aside(path: Path) -> str:
    """Rename a damaged file, unless somebody has done so before; what became of it, in words."""
    kept = aside(path)
    try:
        with FileLock(f"{path}.lock", timeout=WAIT_SECONDS):
            if _is_sound(path):
                return ""
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{path}{suffix}").replace(f"{kept}{suffix}")
    except (
        OSError,
        Timeout,
    ):  # Windows renames nothing that is open, with another run for instance
        return ""
    return f" (it is damaged, and kept as {kept.name}; the next run begins a new one)"


def _is_sound(path: Path) -> bool:
    """Whether nothing is wrong with it; the quick check would not look where an index leads."""
    try:
        with contextlib.closing(connected(path, "ro", WAIT_SECONDS)) as connection:
            return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except TROUBLE:
        return False


def sealed(key: bytes, answer: bytes) -> bytes:
    """An answer as the file has it: SQLite notices a broken page, and not a broken text on it."""
    return _checksum(key, answer) + answer


def unsealed(key: bytes, kept: bytes) -> bytes | None:
    """The answer; None where it is not what was written."""
    answer = kept[_CHECKSUM:]
    return answer if kept[:_CHECKSUM] == _checksum(key, answer) else None


def _checksum(key: bytes, answer: bytes) -> bytes:
    return hashlib.sha256(key + answer).digest()[:_CHECKSUM]
