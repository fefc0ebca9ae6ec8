"""A database of any older version becomes one of ours; one of a newer version is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator.migrations import STEPS, VERSION, migrate, version_of
from pytest_llmeval.orchestrator.state import State


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def schema(path: Path) -> list[tuple[str, str]]:
    """What is in a database, and the columns of each table."""
    with closing(connect(path)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        return [
            (name, str(sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({name})"))))
            for (name,) in names
        ]


@pytest.mark.parametrize("version", range(VERSION))
def test_an_older_database_becomes_one_of_ours(tmp_path: Path, version: int) -> None:
    old = tmp_path / "state.db"
    with closing(connect(old)) as connection:
        migrate(connection, to=version)
        assert version_of(connection) == version
    State.open(tmp_path / "new.db").close()

    State.open(old).close()

    assert schema(old) == schema(tmp_path / "new.db")
    with closing(connect(old)) as connection:
        assert version_of(connection) == VERSION


@pytest.mark.parametrize("version", range(1, VERSION))
def test_what_an_older_database_holds_is_still_there(tmp_path: Path, version: int) -> None:
    path = tmp_path / "state.db"
    with closing(connect(path)) as connection:
        migrate(connection, to=version)
        connection.execute(
            "INSERT INTO instances (name, wanted, health, detail, restarts, port) "
            "VALUES ('qwen', 'up', 'healthy', 'ok', 3, 8080)"
        )
        connection.execute("INSERT INTO requests (name, wish, asked_at) VALUES ('qwen', 'up', 5)")
        connection.execute("INSERT INTO events (name, at, kind, text) VALUES (NULL, 5, 'k', 'hi')")

    state = State.open(path)

    row = state.row("qwen")
    assert row is not None
    assert (row.wanted, row.health, row.restarts, row.port) == ("up", "healthy", 3, 8080)
    assert [request.wish for request in state.requests_after(0)] == ["up"]
    assert [event.text for event in state.events_of(None)] == ["hi"]


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    State.open(path).close()
    with closing(connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()

    with pytest.raises(StateError) as told:
        State.open(path)

    assert str(told.value) == (
        f"{path} has format {VERSION + 1}, of a newer llama-orch; this one knows formats up to "
        f"{VERSION}. Update this one, or give another home by --home or LLAMA_ORCH_HOME"
    )
    assert path.read_bytes() == before


def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "state.db")) as connection:
        migrate(connection, to=1)
        connection.execute("ALTER TABLE requests ADD COLUMN error_kind TEXT")  # in the way of one
        with pytest.raises(sqlite3.OperationalError, match="duplicate column"):
            migrate(connection)

        assert version_of(connection) == 1
        columns = [row[1] for row in connection.execute("PRAGMA table_info(instances)")]
        assert "device" not in columns
    assert len(STEPS) == VERSION
