"""SQLite files that processes share: opened, changed as a whole, known when they are damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

TROUBLE = (sqlite3.Error, UnicodeDecodeError)
"""What whoever uses a file must expect of it. Where names in a damaged one are no text any more,
Python fails at reading SQLite's own complaint of them.
"""


def connected(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    """A connection for threads that take turns; `mode` is SQLite's (`ro`, `rw`, `rwc`, and more of
    its parameters behind it), `patience` the seconds that it waits for others' transactions. In WAL
    mode a kill loses nothing of what was committed, a power cut perhaps the last transactions, and
    neither leaves half of one.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=patience,
        isolation_level=None,  # transactions begin where we say so
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
    except TROUBLE:  # it is the first to read the file
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is done in it is kept, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file itself is broken.

    Python gives no codes before 3.11. It raises the bare DatabaseError for SQLITE_CORRUPT and
    SQLITE_NOTADB; whatever has another cause comes as one of its subclasses.
    """
    if isinstance(error, UnicodeDecodeError):
        return True
    return type(error) is sqlite3.DatabaseError or "malformed" in str(error)
