"""The state in the hands of many processes, some of which are killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pytest_llmeval.orchestrator.state import State

PROCESSES = 8
WRITES = 200
KILLS = 30

WRITER = """
import sys
from pathlib import Path
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome
from pytest_llmeval.orchestrator.state import State

path, name, writes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.stdin.readline()
state = State.open(path)
for number in range(writes):
    state.put(InstanceRow(name, restarts=number + 1))
    state.finish(state.ask(name, "check"), Outcome(str(number)))
"""

#: Keeps a transaction open over many pages and says so, to be killed in the middle of it.
SLOW_WRITER = """
import sys
from pathlib import Path
from pytest_llmeval.orchestrator.state import State

state = State.open(Path(sys.argv[1]))
print("ready", flush=True)

def write(connection):
    for number in range(10**6):
        connection.execute(
            "INSERT INTO events (name, at, kind, text) VALUES ('half', 1, 'k', ?)",
            (f"{number} " + "x" * 500,),
        )

while True:
    state.want("qwen", "up")
    state._database.write(write)
"""


@contextmanager
def python(script: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, *args]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8") as process:
        try:
            yield process
        finally:
            process.kill()


def test_many_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"instance-{number}", str(WRITES)],
            stdin=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    for writer in writers:  # all have been started before the first makes the database
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()

    assert [writer.wait() for writer in writers] == [0] * PROCESSES

    rows = State.open(path).rows()
    assert [row.restarts for row in rows] == [WRITES] * PROCESSES
    with closing(sqlite3.connect(path)) as connection:
        # Nobody's number was given out twice, and each outcome found its request.
        (highest,) = connection.execute("SELECT seq FROM sqlite_sequence").fetchone()
        (undone,) = connection.execute(
            "SELECT count(*) FROM requests WHERE done_at IS NULL"
        ).fetchone()
    assert highest == PROCESSES * WRITES
    assert undone == 0


def test_a_writer_killed_in_mid_transaction_leaves_a_good_database(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    draw = random.Random(7)
    for number in range(KILLS):
        with python(SLOW_WRITER, str(path)) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0, 0.1))
            writer.kill()
            writer.wait()
        with closing(State.open(path)) as state:
            assert state.notes == ()
            assert state.events_of("half") == (), "nothing of a transaction that did not end"
            state.note_event("kill", str(number))
            assert len(state.events_of(None)) == number + 1, "all of those that did"


def test_changes_notices_what_another_process_commits(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = State.open(path)
    seen = state.changes()
    with python(WRITER, str(path), "qwen", "1") as writer:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
        writer.wait()
    assert state.changes() != seen
    assert state.row("qwen") is not None


def test_the_request_of_a_process_that_died_still_stands(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    script = (
        "import sys; from pathlib import Path; from pytest_llmeval.orchestrator.state import State;"
        "print(State.open(Path(sys.argv[1])).ask('qwen', 'up'), flush=True); sys.stdin.read()"
    )
    with python(script, str(path)) as asker:
        assert asker.stdout is not None
        number = int(asker.stdout.readline())
        state = State.open(path)
        (request,) = state.requests_after(0)
        assert request.asked_by is not None
        assert request.asked_by.lives()
        asker.kill()
        asker.wait()

    (request,) = state.requests_after(0)
    assert request.number == number
    assert request.asked_by is not None
    assert not request.asked_by.lives()
