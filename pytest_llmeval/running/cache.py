"""Answers that are kept from run to run: one SQLite file, which processes share.

What it holds can be had again, so nothing about it may cost a run anything: it is written by a
thread of its own, trouble is told once and ends its use, and a damaged file is set aside when the
run is through with it.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import Timeout

from pytest_llmeval.sqlite import TROUBLE, connected, is_damage, transaction

from .cache_file import (
    FILE_NAME,
    WAIT_SECONDS,
    made,
    sealed,
    set_aside,
    shrink,
    unsealed,
)

READ_SECONDS = 0.25
"""How long a reader waits for somebody else's lock: asking the model is the way out."""

BATCH_SECONDS = 0.2
BATCH = 500

USED_AGAIN = 3600
"""Seconds after which a use is written down again: who is used last is not known more exactly."""

CLEAR = " (llmeval cache clear begins a new one; the variable LLMEVAL_CACHE names another folder)"
"""The way out where a file is there and of no use, or none can be made."""

BUSY = " (another process holds it for long; the next run may use it again)"

Work = tuple[bytes, bytes | None]
"""A key and the answer to keep; None where it was only used."""


class AnswerStore:
    """Answers by key. `get` belongs to one thread at a time, `put` returns at once.

    It takes at most `size` bytes on the disk; beyond, those go that were not used for longest. With
    `writes` false nothing is changed, not even what is known of its use. `tell` gets, once, what is
    wrong with it in words; from then on it knows nothing and keeps nothing.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        writes: bool,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = folder / FILE_NAME
        self._size = size
        self._tell = tell
        self._clock = clock
        self._broken = False
        self._damage: Exception | None = None
        self._told = threading.Lock()
        self._pending: dict[bytes, bytes] = {}
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._reader: sqlite3.Connection | None = None
        self._writer: threading.Thread | None = None
        with self._trouble():
            if writes:
                made(self._path)
                self._writer = threading.Thread(target=self._write, name="llmeval-cache")
                self._writer.daemon = True
                self._writer.start()
            elif not self._path.exists():
                return
            self._reader = connected(self._path, "rw", READ_SECONDS) if writes else self._to_read()

    def get(self, key: bytes) -> bytes | None:
        """What was kept under this key; None where nothing was, or it is not what was written."""
        pending = self._pending.get(key)
        if pending is not None:
            return pending
        if self._reader is None or self._broken:
            return None
        try:
            row = self._reader.execute(
                "SELECT answer, used FROM answers WHERE key = ?", (key,)
            ).fetchone()
        except TROUBLE as error:
            if not _is_held(error):
                self._give_up(error)
            return None
        match row:  # a damaged file may hold anything
            case (bytes(kept), int(used)):
                answer = unsealed(key, kept)
            case _:
                return None
        if answer is not None and self._writer is not None and used < self._clock() - USED_AGAIN:
            self._work.put((key, None))
        return answer

    def _to_read(self) -> sqlite3.Connection:
        """To read in WAL mode writes beside the file. Where that cannot be done and nobody else is
        at work on it, it is taken for one that does not change; each answer has its checksum.
        """
        try:
            return connected(self._path, "ro", READ_SECONDS)
        except sqlite3.OperationalError as error:
            if _is_held(error) or Path(f"{self._path}-wal").exists():
                raise
            return connected(self._path, "ro&immutable=1", READ_SECONDS)

    def put(self, key: bytes, answer: bytes) -> None:
        """Keep an answer, in place of another one of this key."""
        if self._writer is not None and not self._broken:
            self._pending[key] = answer
            self._work.put((key, answer))

    def close(self) -> None:
        """Write down what is left, and let go of the file; one that is damaged is set aside."""
        if self._writer is not None:
            self._work.put(None)
            self._writer.join()
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        damage, self._damage = self._damage, None
        if damage is not None:
            self._say_why(f"{damage}{set_aside(self._path) or CLEAR}")

    # The writer's thread --------------------------------------------------------------------------

    def _write(self) -> None:
        with (
            self._trouble(),
            contextlib.closing(connected(self._path, "rw", WAIT_SECONDS)) as connection,
        ):
            more = True
            while more:
                batch, more = self._batch()
                if batch and not self._broken:
                    self._keep(connection, batch)
                    shrink(connection, self._size)
                self._settle(batch)

    def _batch(self) -> tuple[list[Work], bool]:
        """What there is to write, once there is something; false when nothing more will come."""
        batch: list[Work] = []
        deadline: float | None = None
        while len(batch) < BATCH:
            patience = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                work = self._work.get(timeout=patience)
            except queue.Empty:
                break
            if work is None:
                return batch, False
            batch.append(work)
            deadline = deadline or time.monotonic() + BATCH_SECONDS
        return batch, True

    def _keep(self, connection: sqlite3.Connection, batch: Sequence[Work]) -> None:
        now = int(self._clock())
        with transaction(connection):
            for key, answer in batch:
                if answer is None:
                    connection.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                        (key, sealed(key, answer), now),
                    )

    def _settle(self, batch: Sequence[Work]) -> None:
        for key, answer in batch:
            if answer is not None and self._pending.get(key) is answer:
                self._pending.pop(key, None)

    # Trouble --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (*TROUBLE, OSError, Timeout) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        with self._told:
            if self._broken:
                return
            self._broken = True
        self._pending.clear()
        if is_damage(error):
            self._damage = error  # dealt with in the end: Windows renames nothing that is open
        else:
            self._say_why(f"{error}{BUSY if _is_held(error) else CLEAR}")

    def _say_why(self, why: str) -> None:
        self._tell(
            f"the cache of answers is not used: {self._path}: {why}. The run goes on and asks for "
            "everything"
        )


def _is_held(error: Exception) -> bool:
    """Whether nothing is wrong but that another process has the file, or its lock, to itself."""
    is_locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    return is_locked or isinstance(error, Timeout)
