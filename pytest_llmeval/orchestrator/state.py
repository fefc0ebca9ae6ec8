"""The state of all instances of a home: what is wanted, what runs, what was asked, what happened.

Any number of processes and threads use it at once; every call is one short transaction. What is
wanted belongs to those who ask, and all else in a row to the daemon: neither overwrites the other.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator.database import Database
from pytest_llmeval.orchestrator.rows import (
    THE_DAEMON,
    WANTED_BY,
    InstanceRow,
    Outcome,
    Request,
    Wish,
)
from pytest_llmeval.orchestrator.views import Event, HealthEntry, RestartEntry, Wanted
from pytest_llmeval.redaction import Redactor, known_secrets
from pytest_llmeval.servers.identity import Identity, identity_of

KEEP = 500
"""How many entries of each history are kept for an instance."""

KEEP_REQUESTS = 1000
"""How many requests that are done are kept, for those who still wait to hear of it."""

_LOST = (
    "what was asked for is not known any more: the database was damaged meanwhile, and a new one "
    "begun. Ask again"
)

Changes = tuple[object, ...]
Entry = TypeVar("Entry")


class State:
    """The database of a home. Any thread may call it; every call may raise StateError.

    `notes` says in words for the user what had to be set aside to go on. What errors and servers
    said is kept without secrets.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._database = Database(path, clock=clock, rescued=self._note_rescue)
        self._clock = clock
        self._redact = Redactor(known_secrets(os.environ)).text

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> State:
        """The state at `path`, which is made where there is none."""
        state = cls(path, clock)
        state.changes()
        return state

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should hear: a database that was damaged, and where it is now."""
        return self._database.notes

    def close(self) -> None:
        """Let the file go; the next call opens it again."""
        self._database.close()

    def changes(self) -> Changes:
        """Something that differs from its last value once anybody, in any process, has written.

        It costs microseconds, so that it can be asked many times a second.
        """

        def look(connection: sqlite3.Connection) -> Changes:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            # That counts what others wrote. What we wrote ourselves, the connection knows.
            return self._database.opened, version, connection.total_changes

        return self._database.read(look)

    # What is asked --------------------------------------------------------------------------------

    def ask(self, name: str, wish: Wish) -> int:
        """Ask the daemon for something, and say with it what is wanted; the request's number."""
        asker = identity_of(os.getpid())
        now = self._clock()

        def write(connection: sqlite3.Connection) -> int:
            if wish in WANTED_BY and name != THE_DAEMON:
                _want(connection, name, WANTED_BY[wish])
            cursor = connection.execute(
                "INSERT INTO requests (name, wish, asked_at, asker_pid, asker_created) "
                "VALUES (?, ?, ?, ?, ?)",
                (name, wish, now, *_parts(asker)),
            )
            number = cursor.lastrowid
            assert number is not None, "a row was inserted"
            connection.execute(
                "DELETE FROM requests WHERE number <= ? AND done_at IS NOT NULL",
                (number - KEEP_REQUESTS,),
            )
            return number

        return self._database.write(write)

    def want(self, name: str, wanted: Wanted) -> None:
        """Say what is wanted without asking for it: nobody is to act on it now.

        What somebody has asked for and has no outcome yet stays wanted: it was said later.
        """

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(_IS_ASKED_FOR, (name,)).fetchone() is None:
                _want(connection, name, wanted)

        self._database.write(write)

    def requests_after(self, number: int) -> tuple[Request, ...]:
        """The requests after `number` that have no outcome yet, in the order they were made.

        After 0: those that a daemon which died has left, too.
        """
        rows = self._select(
            "SELECT number, name, wish, asked_at, asker_pid, asker_created FROM requests "
            "WHERE number > ? AND done_at IS NULL ORDER BY number",
            (number,),
        )
        return tuple(
            Request(number, name, wish, asked_at, _identity(pid, created))
            for number, name, wish, asked_at, pid, created in rows
        )

    def finish(self, number: int, outcome: Outcome) -> None:
        """Tell how a request ended; only the first time counts."""
        error = None if outcome.error is None else self._redact(outcome.error)
        log_tail = json.dumps([*map(self._redact, outcome.log_tail)])
        values = (self._clock(), error, outcome.kind, log_tail, number)
        self._change(
            "UPDATE requests SET done_at = ?, error = ?, error_kind = ?, log_tail = ? "
            "WHERE number = ? AND done_at IS NULL",
            values,
        )

    def outcome(self, number: int) -> Outcome | None:
        """How a request ended; None while it has not.

        One that is not there any more has failed: the database was begun anew since.
        """
        rows = self._select(
            "SELECT done_at, error, log_tail, error_kind FROM requests WHERE number = ?", (number,)
        )
        if not rows:
            return Outcome.of(StateError(_LOST))
        ((done_at, error, log_tail, kind),) = rows
        if done_at is None:
            return None
        return Outcome(error, tuple(json.loads(log_tail or "[]")), kind or "")

    # What runs ------------------------------------------------------------------------------------

    def put(self, row: InstanceRow) -> None:
        """Keep what the daemon knows of an instance: all of the row but `wanted`.

        That is what somebody may have changed since the daemon read it; it is taken from here only
        for an instance that has no row yet. A `log_folder` that is not known any more stays.
        """
        values = _values(replace(row, detail=self._redact(row.detail)))
        self._database.write(lambda connection: connection.execute(_PUT, values))

    def reset(self, name: str) -> None:
        """Forget an instance's restarts where no daemon does; one that was given up is down then.

        In one step: a daemon that is just starting may write the row, too.
        """
        self._change(
            "UPDATE instances SET restarts = 0, retry_at = NULL, "
            "wanted = CASE health WHEN 'error' THEN 'down' ELSE wanted END, "
            "detail = CASE health WHEN 'error' THEN '' ELSE detail END, "
            "health = CASE health WHEN 'error' THEN 'unknown' ELSE health END WHERE name = ?",
            (name,),
        )

    def row(self, name: str) -> InstanceRow | None:
        """What is known of an instance; None if nobody has ever asked for it."""
        rows = self._select(f"{_ROWS} WHERE name = ?", (name,))
        return _row(rows[0]) if rows else None

    def rows(self) -> tuple[InstanceRow, ...]:
        """What is known of every instance, by their names."""
        return tuple(_row(row) for row in self._select(f"{_ROWS} ORDER BY name"))

    def forget(self, name: str) -> None:
        """Drop the row of an instance whose config is gone; its histories stay."""
        self._change("DELETE FROM instances WHERE name = ?", (name,))

    def daemon(self) -> Identity | None:
        """The daemon that was the last to say so; it may have been killed since."""
        rows = self._select("SELECT pid, created FROM daemon")
        return Identity(*rows[0]) if rows else None

    def set_daemon(self, identity: Identity | None) -> None:
        """Say who the daemon is; None: that there is none any more."""
        if identity is None:
            self._change("DELETE FROM daemon")
        else:
            self._change("INSERT OR REPLACE INTO daemon VALUES (1, ?, ?)", _parts(identity))

    # What happened --------------------------------------------------------------------------------

    def note_health(self, name: str, entry: HealthEntry) -> None:
        """Add to an instance's history of health."""
        values = (name, entry.at, entry.health, self._redact(entry.detail), entry.seconds)
        self._append("health", name, _NOTE_HEALTH, values)

    def note_restart(self, name: str, entry: RestartEntry) -> None:
        """Add to an instance's history of restarts."""
        values = (name, entry.at, entry.number, entry.delay, self._redact(entry.reason))
        self._append("restarts", name, _NOTE_RESTART, values)

    def note_event(self, kind: str, text: str, *, name: str | None = None) -> None:
        """Add to what happened to an instance, or (without a name) to the daemon, as of now."""
        self._append("events", name, _NOTE_EVENT, (name, self._clock(), kind, self._redact(text)))

    def health_of(self, name: str, limit: int = KEEP) -> tuple[HealthEntry, ...]:
        """An instance's history of health, the newest first."""
        return self._history(HealthEntry, _HEALTH_OF, name, limit)

    def restarts_of(self, name: str, limit: int = KEEP) -> tuple[RestartEntry, ...]:
        """An instance's history of restarts, the newest first."""
        return self._history(RestartEntry, _RESTARTS_OF, name, limit)

    def events_of(self, name: str | None, limit: int = KEEP) -> tuple[Event, ...]:
        """What happened to an instance, or (None) to the daemon, the newest first."""
        return self._history(Event, _EVENTS_OF, name, limit)

    def _append(self, table: str, name: str | None, insert: str, values: Sequence[object]) -> None:
        """Add an entry to a history, and drop those that are too old."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(insert, values)
            connection.execute(_PRUNE[table], (name, name, KEEP))

        self._database.write(write)

    def _history(
        self, kind: Callable[..., Entry], select: str, name: str | None, limit: int
    ) -> tuple[Entry, ...]:
        return tuple(kind(*row) for row in self._select(select, (name, limit)))

    def _note_rescue(self, connection: sqlite3.Connection, note: str) -> None:
        """Have it among the events too, and give no request a number of the lost ones again."""
        now = self._clock()
        connection.execute(_NOTE_EVENT, (None, now, "state", note))
        connection.execute("INSERT INTO sqlite_sequence VALUES ('requests', ?)", (int(now * 1000),))

    def _select(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        return self._database.read(lambda connection: connection.execute(sql, values).fetchall())

    def _change(self, sql: str, values: Sequence[object] = ()) -> None:
        self._database.write(lambda connection: connection.execute(sql, values))


_COLUMNS = (
    "name, wanted, health, detail, since, server_pid, server_created, guard_pid, guard_created, "
    "port, url, device, started_at, restarts, retry_at, memory, tokens_per_second, fingerprint, "
    "log_folder"
)
_ROWS = f"SELECT {_COLUMNS} FROM instances"  # noqa: S608 # the columns above
_PUT = (
    f"INSERT INTO instances ({_COLUMNS}) VALUES ({', '.join('?' * 19)}) "  # noqa: S608 # as above
    "ON CONFLICT (name) DO UPDATE SET "
    + ", ".join(f"{each} = excluded.{each}" for each in _COLUMNS.split(", ")[2:-1])
    + ", log_folder = coalesce(excluded.log_folder, log_folder)"
)
_IS_ASKED_FOR = (
    "SELECT 1 FROM requests WHERE name = ? AND done_at IS NULL "
    "AND wish IN ('up', 'restart', 'down') LIMIT 1"
)
_NOTE_HEALTH = "INSERT INTO health (name, at, health, detail, seconds) VALUES (?, ?, ?, ?, ?)"
_NOTE_RESTART = "INSERT INTO restarts (name, at, in_a_row, delay, reason) VALUES (?, ?, ?, ?, ?)"
_NOTE_EVENT = "INSERT INTO events (name, at, kind, text) VALUES (?, ?, ?, ?)"
_HEALTH_OF = (
    "SELECT at, health, detail, seconds FROM health WHERE name = ? ORDER BY number DESC LIMIT ?"
)
_RESTARTS_OF = (
    "SELECT at, in_a_row, delay, reason FROM restarts WHERE name = ? ORDER BY number DESC LIMIT ?"
)
_EVENTS_OF = "SELECT at, name, kind, text FROM events WHERE name IS ? ORDER BY number DESC LIMIT ?"
_PRUNE = {
    table: f"DELETE FROM {table} WHERE name IS ? AND number <= (SELECT number FROM {table} "  # noqa: S608 # names of ours
    "WHERE name IS ? ORDER BY number DESC LIMIT 1 OFFSET ?)"
    for table in ("health", "restarts", "events")
}


def _want(connection: sqlite3.Connection, name: str, wanted: Wanted) -> None:
    connection.execute(
        "INSERT INTO instances (name, wanted, health, detail, restarts) "
        "VALUES (?, ?, 'unknown', '', 0) ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted",
        (name, wanted),
    )


def _row(values: Sequence[Any]) -> InstanceRow:
    known, server, guard, facts = values[:5], values[5:7], values[7:9], values[9:]
    return InstanceRow(*(*known, _identity(*server), _identity(*guard), *facts))


def _values(row: InstanceRow) -> tuple[object, ...]:
    return (
        *(row.name, row.wanted, row.health, row.detail, row.since),
        *_parts(row.server),
        *_parts(row.guard),
        *(row.port, row.url, row.device, row.started_at, row.restarts, row.retry_at),
        *(row.memory, row.tokens_per_second, row.fingerprint, row.log_folder),
    )


def _identity(pid: int | None, created: float | None) -> Identity | None:
    return None if pid is None or created is None else Identity(pid, created)


def _parts(identity: Identity | None) -> tuple[int | None, float | None]:
    return (None, None) if identity is None else (identity.pid, identity.create_time)
