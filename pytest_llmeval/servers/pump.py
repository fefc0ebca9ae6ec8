"""The pump: takes what a server writes out of its pipe and puts it into a file that it rotates.

It works in the guard's process, is loaded by path like the guard (`guard.py`), and so knows the
standard library only. One pipe has two threads. The first does nothing but drain, so that no disk,
slow, full or gone, ever stops the server; the second writes. What the second cannot take in time or
cannot write is dropped, counted, and told in the log as soon as something can be written there.

A file is rotated between two lines: `log` becomes `log.1`, that one `log.2`. Nobody but the pump
has it open for long, since Windows renames no open file; while somebody has, the file grows on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from io import FileIO
from typing import NamedTuple, Protocol

PIPE_BYTES = 2**16
"""What is drained at a time: as much as Linux has in a pipe."""

BACKLOG_BYTES = 2**22
"""How much a disk may be behind. llama-server writes this much in hours, a mad one in a second."""

LONGEST_LINE = 2**16
"""How far a line may carry a file beyond its limit; one that is longer goes on in the next."""

RETRY_SECONDS = 1.0
"""How often to try to tell a loss while the server is silent."""

DRAIN_SECONDS = 0.5
"""How long to wait for the end of a pipe whose server is gone: what got away from a wrapper may
hold it open for ever."""

FLUSH_SECONDS = 1.0
"""How long nothing may be written, at the end, until what the disk is behind with is given up."""

FINISH_SECONDS = 4.0
"""How long writing may go on after the server's end at all."""

NO_SPACE = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""The disk, the limit on a file or the user's quota is full."""


class Taken(NamedTuple):
    """What the server wrote, and how many bytes after it were dropped, since there was no room."""

    chunks: list[bytes]
    dropped: int


class Backlog:
    """What was drained and is not written yet."""

    def __init__(self, limit: int = BACKLOG_BYTES) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._chunks: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._ended = False

    def put(self, chunk: bytes) -> None:
        """Add what the server wrote, or drop it where there is no room: never waits."""
        with self._changed:
            if self._ended:
                return
            if self._dropped or self._size + len(chunk) > self._limit:
                self._dropped += len(chunk)
            else:
                self._chunks.append(chunk)
                self._size += len(chunk)
            self._changed.notify()

    def end(self) -> None:
        """Nothing more will come, or is waited for."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self, timeout: float | None) -> Taken | None:
        """Wait for something and take it all; nothing after `timeout`, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._dropped or self._ended, timeout)
            taken = Taken(self._chunks, self._dropped)
            self._chunks, self._size, self._dropped = [], 0, 0
            return None if self._ended and not any(taken) else taken


def fitting(data: bytes, size: int, max_bytes: int | None, *, open_line: bool) -> int:
    """How many bytes of `data` go into a file that has `size`, so that no line is cut in two.

    `open_line` says whether the file's last line goes on. 0 means that all belong into the next.
    """
    if max_bytes is None or size + len(data) <= max_bytes:
        return len(data)
    room = max_bytes - size
    whole_lines = data.rfind(b"\n", 0, max(room, 0)) + 1
    if whole_lines or (size > 0 and not open_line):
        return whole_lines
    allowed = max(0, room + LONGEST_LINE)
    return data.find(b"\n", 0, allowed) + 1 or min(allowed, len(data))


def rotate(path: str, keep: int) -> None:
    """Rename `path` to `.1`, that one to `.2`, and let go what goes beyond `.keep` (at least 1).

    Raises OSError where somebody has a file open, on Windows. Names are moved up only as far as
    the first that is free, so that trying again moves nothing twice.
    """
    free = next((n for n in range(1, keep) if not os.path.exists(f"{path}.{n}")), keep)
    for number in range(free, 1, -1):
        os.replace(f"{path}.{number - 1}", f"{path}.{number}")
    os.replace(path, f"{path}.1")


class LogFile:
    """A file that grows to `max_bytes` and then makes room; only one thread may write to it.

    Raises OSError if it cannot be opened at all; that the disk is full is no reason. Later nothing
    raises: what cannot be written is counted.
    """

    def __init__(self, path: str, max_bytes: int | None = None, keep: int = 0) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._file: FileIO | None = None
        self._size = 0
        self._open_line = False  # the last line in the file has no end yet
        self._lost = 0  # bytes that were dropped and are not told yet
        self._reason = ""
        try:
            self._opened()
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise

    @property
    def losing(self) -> bool:
        """Whether something was lost that the file does not tell yet."""
        return self._lost > 0

    def write(self, data: bytes) -> None:
        """Write what can be written; the rest is lost, and told when there is space again."""
        if not self.tell_loss():
            self.lose(len(data), self._reason)
            return
        try:
            while data:
                data = data[self._write_some(data) :]
        except OSError as error:
            full = error.errno in NO_SPACE
            self.lose(len(data), "no space left" if full else error.strerror or str(error))

    def lose(self, count: int, reason: str) -> None:
        """Remember that so many bytes are dropped, and why."""
        if count:
            self._lost += count
            self._reason = reason

    def tell_loss(self) -> bool:
        """Write how much was lost, if anything was; whether nothing is left to tell."""
        if not self._lost:
            return True
        start = "\n" if self._open_line else ""
        note = f"{start}[llmeval: {self._lost} bytes lost: {self._reason}]\n".encode()
        try:
            size = self._opened().seek(0, os.SEEK_END)
            if self._append(note) < len(note):  # half a note would be told again, and again
                self._opened().truncate(size)
                self._size, self._open_line = size, bool(start)
                return False
        except OSError:
            return False
        self._lost = 0
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # some systems tell only now that the disk is full
                self._file.close()
            self._file = None

    def _write_some(self, data: bytes) -> int:
        """Write what belongs into one file; how much that was."""
        self._opened()
        end = fitting(data, self._size, self._max_bytes, open_line=self._open_line)
        if end == 0:
            self._make_room()
            end = fitting(data, self._size, self._max_bytes, open_line=self._open_line)
        return self._append(data[: end or len(data)])  # 0 again: it could not be renamed

    def _append(self, data: bytes) -> int:
        written = self._opened().write(data) or 0
        if written:
            self._size += written
            self._open_line = not data[:written].endswith(b"\n")
        return written

    def _make_room(self) -> None:
        """Rotate, or begin anew where nothing is kept; while others have the file, do nothing."""
        if self._keep == 0:
            self._opened().truncate(0)
            self._size = 0
            return
        self.close()
        with contextlib.suppress(OSError):
            rotate(self._path, self._keep)
        self._opened()

    def _opened(self) -> FileIO:
        """The file, opened at its end if it is not open."""
        if self._file is None:
            self._file = FileIO(self._path, "a+")
            self._size = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, self._size - 1))
            self._open_line = self._file.read(1) not in (b"", b"\n")
        return self._file


class Pieces(Protocol):
    """What takes secrets out of a text that comes in pieces (`redaction.Pieces`)."""

    def feed(self, piece: str) -> str:
        """Take a piece, and give what may be written by now."""
        ...

    def flush(self) -> str:
        """Give what is left: nothing more will come."""
        ...


class Pump:
    """One pipe of a server, and the file it is pumped into until it ends, without secrets."""

    def __init__(self, pipe: int, log: LogFile, pieces: Pieces) -> None:
        self._backlog = Backlog()
        self._written = 0  # pieces
        self._drainer = _start_thread(_drain, pipe, self._backlog)
        self._writer = _start_thread(self._write_out, log, pieces)

    def finish(self) -> None:
        """See to it that the log is whole, now that the server is gone.

        A busy machine gets its time: only a disk that takes nothing at all is given up early.
        """
        self._drainer.join(DRAIN_SECONDS)
        self._backlog.end()
        deadline, written = time.monotonic() + FINISH_SECONDS, -1
        while self._written > written and time.monotonic() < deadline:
            written = self._written
            self._writer.join(FLUSH_SECONDS)

    def _write_out(self, log: LogFile, pieces: Pieces) -> None:
        backlog = self._backlog
        while (taken := backlog.take(RETRY_SECONDS if log.losing else None)) is not None:
            for chunk in taken.chunks:
                log.write(_as_bytes(pieces.feed(chunk.decode("latin-1"))))
                self._written += 1
            log.lose(taken.dropped, "the disk was too slow")
            log.tell_loss()
        log.write(_as_bytes(pieces.flush()))
        log.close()


def _drain(pipe: int, backlog: Backlog) -> None:
    with contextlib.suppress(OSError):
        while chunk := os.read(pipe, PIPE_BYTES):
            backlog.put(chunk)
    backlog.end()


def _as_bytes(text: str) -> bytes:
    """Latin-1 has a character for each byte, so that nothing is changed but secrets."""
    return text.encode("latin-1")


def _start_thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
