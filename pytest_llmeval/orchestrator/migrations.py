"""How the database of the instances came to be what it is: one small step after the other.

A database says by `PRAGMA user_version` how many of the steps it has behind it. A step that has
been released is never changed; what is to be different gets a step of its own, at the end.
"""

from __future__ import annotations

import sqlite3

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE instances (
            name TEXT PRIMARY KEY,
            wanted TEXT NOT NULL,
            health TEXT NOT NULL,
            detail TEXT NOT NULL,
            since REAL,
            server_pid INTEGER,
            server_created REAL,
            guard_pid INTEGER,
            guard_created REAL,
            port INTEGER,
            url TEXT,
            started_at REAL,
            restarts INTEGER NOT NULL,
            retry_at REAL,
            memory INTEGER,
            tokens_per_second REAL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE requests (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            wish TEXT NOT NULL,
            asked_at REAL NOT NULL,
            asker_pid INTEGER,
            asker_created REAL,
            done_at REAL,
            error TEXT,
            log_tail TEXT
        )
        """,
        "CREATE INDEX requests_undone ON requests (number) WHERE done_at IS NULL",
        """
        CREATE TABLE health (
            number INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            name TEXT NOT NULL,
            health TEXT NOT NULL,
            detail TEXT NOT NULL,
            seconds REAL
        )
        """,
        "CREATE INDEX health_of ON health (name, number)",
        """
        CREATE TABLE restarts (
            number INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            name TEXT NOT NULL,
            in_a_row INTEGER NOT NULL,
            delay REAL NOT NULL,
            reason TEXT NOT NULL
        )
        """,
        "CREATE INDEX restarts_of ON restarts (name, number)",
        """
        CREATE TABLE events (
            number INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            name TEXT,
            kind TEXT NOT NULL,
            text TEXT NOT NULL
        )
        """,
        "CREATE INDEX events_of ON events (name, number)",
        """
        CREATE TABLE daemon (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            pid INTEGER NOT NULL,
            created REAL NOT NULL
        )
        """,
    ),
    # Which device it computes on, as its log told, and which config it was started with.
    (
        "ALTER TABLE instances ADD COLUMN device TEXT",
        "ALTER TABLE instances ADD COLUMN fingerprint TEXT",
    ),
    # The class of the error that a request ended in, so that who waits can raise the same.
    ("ALTER TABLE requests ADD COLUMN error_kind TEXT",),
    # Where its server writes: the config may name another place by now, or be unreadable.
    ("ALTER TABLE instances ADD COLUMN log_folder TEXT",),
)

VERSION = len(STEPS)
"""The version that this code reads and writes."""

OURS = 0x6C6F7263
"""What `PRAGMA application_id` says in a database of ours: "lorc"."""


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps a database has behind it; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether a database is another program's; one without any table is nobody's yet."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables) and owner != OURS


def migrate(connection: sqlite3.Connection, *, to: int = VERSION) -> None:
    """Take the missing steps, all or none of them.

    The connection commits by itself (`isolation_level=None`); nobody else migrates meanwhile.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version_of(connection), to):
            for statement in STEPS[number]:
                connection.execute(statement)
        # A pragma takes no parameters; these are numbers of ours.
        connection.execute(f"PRAGMA application_id = {OURS:d}")
        connection.execute(f"PRAGMA user_version = {to:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
