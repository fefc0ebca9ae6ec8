"""A state that cannot be used: a damaged one is kept and told of, the rest have a way out."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator import database
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.state import State

NOON = 1795694400.0  # 2026-11-26T12:00:00Z
CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
KEPT = "state.db.corrupt-20261126T120000"


def open_state(path: Path) -> State:
    return State.open(path, clock=lambda: NOON)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with enough in it to fill many pages."""
    path = tmp_path / "state.db"
    with closing(open_state(path)) as state:
        for number in range(300):
            state.note_event("up", f"event {number} " + "x" * 200, name="qwen")
    assert path.stat().st_size > 20 * 4096
    return path


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(50_000))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30_000])


def cut_within_its_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def zeros_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20_000:40_000] = bytes(20_000)
    path.write_bytes(content)


def log_of_a_newer_copy(path: Path) -> None:
    """As when a database is put back from a backup, and the log of the newer one left there."""
    backup = path.read_bytes()
    with closing(open_state(path)) as state:
        for number in range(2):
            for event in range(300):
                state.note_event("up", f"{number} {event} " + "y" * 900, name="llama")
            if number == 0:
                state._database.read(lambda connection: connection.execute(CHECKPOINT).fetchall())
        log = Path(f"{path}-wal").read_bytes()
    path.write_bytes(backup)
    Path(f"{path}-wal").write_bytes(log)


def log_of_another_program(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for number in range(9):
            connection.execute(f"CREATE TABLE t{number} (a)")
        connection.commit()
        shutil.copy(f"{other}-wal", f"{path}-wal")
    other.unlink()


DAMAGES = (
    garbage,
    truncated,
    cut_within_its_header,
    zeros_in_the_middle,
    log_of_a_newer_copy,
    log_of_another_program,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_kept_beside_a_new_one(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    broken = {suffix: content(f"{path}{suffix}") for suffix in ("", "-wal")}

    state = open_state(path)

    (note,) = state.notes
    assert note.startswith(f"{path} was damaged (")
    assert f"It is kept as {KEPT} beside it, and a new one is begun" in note
    assert {suffix: content(path.with_name(f"{KEPT}{suffix}")) for suffix in broken} == broken
    (event,) = state.events_of(None)
    assert (event.kind, event.text) == ("state", note)
    assert state.events_of("qwen") == ()
    state.put(InstanceRow("qwen"))
    assert open_state(path).rows() == (InstanceRow("qwen"),)


def content(path: Path | str) -> bytes:
    """What a file holds; a log may be missing or empty, which is the same."""
    return Path(path).read_bytes() if Path(path).exists() else b""


def test_the_next_one_to_come_finds_the_new_database_good(path: Path) -> None:
    garbage(path)
    open_state(path).close()
    assert open_state(path).notes == ()


def test_a_second_damage_in_the_same_second_is_kept_too(path: Path) -> None:
    for _ in range(3):
        garbage(path)
        open_state(path).close()
    kept = {each.name for each in path.parent.glob("*corrupt*")}
    assert kept >= {KEPT, f"{KEPT}-2", f"{KEPT}-3"}


def test_an_empty_file_is_a_new_database_and_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    state = open_state(path)
    assert state.notes == ()
    assert state.rows() == ()


def test_one_who_has_it_open_goes_over_to_the_new_one(path: Path) -> None:
    """The daemon has it open for weeks; a command finds the damage."""
    daemon = open_state(path)
    daemon.rows()
    garbage(path)
    command = open_state(path)
    command.ask("qwen", "up")

    assert [request.name for request in daemon.requests_after(0)] == ["qwen"]
    daemon.put(InstanceRow("qwen", port=8080))

    daemon.close()  # the old file's end must not take the new one's log with it
    row = command.row("qwen")
    assert row is not None
    assert row.port == 8080
    command.close()
    assert [row.port for row in open_state(path).rows()] == [8080]


def test_damage_that_comes_while_it_is_open_is_noticed_in_use(path: Path) -> None:
    state = open_state(path)
    state.rows()
    zeros_in_the_middle(path)
    state._database.read(lambda connection: connection.execute("PRAGMA shrink_memory"))

    events = state.events_of("qwen")

    assert events == ()
    assert len(state.notes) == 1


def test_many_who_notice_at_once_make_one_new_database_and_lose_nothing(path: Path) -> None:
    garbage(path)

    def slow() -> float:
        time.sleep(0.02)  # between seeing the damage and setting it aside
        return NOON

    def notice(number: int) -> tuple[str, ...]:
        with closing(State.open(path, clock=slow)) as state:
            state.put(InstanceRow(f"instance-{number:02}"))
            return state.notes

    with ThreadPoolExecutor(16) as threads:
        notes = [note for found in threads.map(notice, range(16)) for note in found]

    assert len(notes) == 1
    assert len(open_state(path).rows()) == 16
    assert [each.name for each in path.parent.glob("*corrupt-*0")] == [KEPT]


def test_one_locked_for_long_is_told_with_the_way_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    state = open_state(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError) as told:
            state.want("qwen", "up")
        assert state.row("qwen") is None  # reading goes on

    assert f"{path} has been locked by another program for" in str(told.value)
    assert "End what has it open (a database browser, a backup), or wait" in str(told.value)
    state.want("qwen", "up")


def test_a_full_disk_is_told_and_what_was_written_is_safe(path: Path) -> None:
    state = open_state(path)
    state.want("qwen", "up")
    state._database.read(lambda connection: connection.execute("PRAGMA max_page_count = 1"))

    with pytest.raises(StateError) as told:
        state.note_event("up", "x" * 10**6, name="qwen")

    assert "cannot be written: its disk is full. Make room and try again" in str(told.value)
    state.close()
    row = state.row("qwen")
    assert row is not None
    assert row.wanted == "up"


@pytest.mark.skipif(sys.platform == "win32", reason="nobody renames what is open there")
def test_what_was_written_to_a_file_that_is_replaced_meanwhile_is_written_again(
    tmp_path: Path,
) -> None:
    """Else it would be in the file that was set aside, which nobody reads any more."""
    path = tmp_path / "state.db"
    base = database.Database(path, clock=lambda: NOON, rescued=lambda *_: None)

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO events (at, kind, text) VALUES (1, 'k', 'kept')")
        if base.opened == 1:
            path.rename(tmp_path / "aside.db")
            open_state(path).close()

    base.write(write)

    with closing(open_state(path)) as state:
        assert [event.text for event in state.events_of(None)] == ["kept"]
    base.close()


def test_a_home_that_cannot_be_made_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError) as told:
        State.open(tmp_path / "file" / "state.db")
    assert "cannot be used: " in str(told.value)
    assert "Its folder must be yours to write; another home is given by --home" in str(told.value)


WRITE = """
import sys
from pathlib import Path
from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator.state import State
try:
    State.open(Path(sys.argv[1])).want("qwen", "up")
except StateError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folders are read-only by their access lists")
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_read_only_is_told_with_the_way_out(
    tmp_path: Path, path: Path, there: bool
) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    if there:
        shutil.copy(path, folder / "state.db")
        (folder / "state.db").chmod(0o444)
    folder.chmod(0o555)
    command = [sys.executable, "-c", WRITE, str(folder / "state.db")]
    if os.getuid() == 0:  # who is root may write everywhere, unless that right is given up
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]

    told = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)

    folder.chmod(0o755)
    assert "state.db cannot be used: " in told.stdout
    assert "Its folder must be yours to write" in told.stdout
