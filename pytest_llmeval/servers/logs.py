"""The log files of a server: sections, one per start, and lines for people.

A log may be rotated while it is read (`pump.py`): `server.log` becomes `server.log.1`, that one
`server.log.2`. So whoever reads goes on in the next file, and has none open while it waits:
Windows renames no open file.
"""

from __future__ import annotations

import datetime
import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from typing import BinaryIO

from pytest_llmeval.visible import visible

SECTION = "=== llmeval: "
TAIL_BYTES = 2**15
SECTION_BYTES = 2**20
LINE_LENGTH = 300
BLOCK_BYTES = 2**15

WITNESS_BYTES = 64
"""How much of what came before a place says that it is in the file we think of: a system may give
a new file the number of one that is gone, and a file may have begun anew."""

LOOK_SECONDS = 0.2
"""How often a reader who follows a log looks for more."""

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""With what moves a cursor or clears: they were written for another terminal."""


def start_section(path: Path, name: str, clock: Callable[[], float] = time.time) -> None:
    """Begin the section of a server that is started now, at the end of its log, or a new one.

    A full disk is no reason not to start a server: then the section has no title.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    moment = datetime.datetime.fromtimestamp(clock()).astimezone()
    try:
        with path.open("a+b") as log:
            log.seek(max(0, log.seek(0, 2) - 1))
            if log.read() not in (b"", b"\n"):  # whoever wrote last was killed in mid-line
                log.write(b"\n")
            log.write(f"{SECTION}{name}, started {moment:%Y-%m-%d %H:%M:%S} ===\n".encode())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def last_section_at(path: Path) -> int:
    """Where in the log its last section begins, in bytes; 0 where that is not to be found."""
    try:
        return max(0, path.read_bytes().rfind(SECTION.encode("ascii")))
    except OSError:
        return 0


def copy_from(path: Path, start: int, target: Path) -> int:
    """Append to a file what a log holds from a place on; all, if it has begun anew since. Where the
    log ended then. Raises OSError.
    """
    content = path.read_bytes()
    with target.open("ab") as copy:
        copy.write(content[start:] if start <= len(content) else content)
    return len(content)


def read_tail(path: Path, count: int) -> tuple[str, ...]:
    """The last lines of the log's last section that say something, fit for any terminal."""
    return _last_section(path, TAIL_BYTES)[-count:]


def read_section(path: Path) -> tuple[str, ...]:
    """All lines of the log's last section that say something, as far as they are the last MiB."""
    return _last_section(path, SECTION_BYTES)


def _last_section(path: Path, limit: int) -> tuple[str, ...]:
    """The lines since the last start within the last `limit` bytes; () where there is no log."""
    end = b""
    for block in _blocks_from_the_end(path):
        end = block.data + end
        if len(end) >= limit:
            break
    else:
        end = b"\n" + end  # it is whole, so its first line is one
    text = end.decode("utf-8", "replace")
    _, found, section = text.rpartition(f"\n{SECTION}")
    # Either way the first line is none: the rest of the title, or what we cut in two.
    _, *lines = (section if found else text).split("\n")
    return tuple(filter(None, map(clean_line, lines)))


def is_title(line: str) -> bool:
    """Whether a line of a log is ours, and no word of the server."""
    return line.startswith(SECTION)


def clean_line(line: str) -> str:
    """A line without colours, what acts or hides spelt out, cut where nobody reads on."""
    plain = plain_line(line)
    return plain if len(plain) <= LINE_LENGTH else f"{plain[:LINE_LENGTH]}…"


def plain_line(line: str) -> str:
    """A line without colours, and with what would act on a terminal or hide spelt out."""
    return visible(_COLOURS.sub("", line).rstrip())


def read_lines(path: Path, count: int) -> tuple[str, ...]:
    """The last `count` lines of a log, of all its sections, fit for any terminal but whole."""
    return tuple(follow(path, count, ended=lambda: True))


def follow(
    path: Path,
    count: int = 0,
    *,
    ended: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """The last `count` lines of a log, and then each line as it is written, as `read_lines` has it.

    The log need not exist yet. Once `ended` says so, what is there is still given; a last line that
    has no end yet too.
    """
    reader = _Reader(path, count)
    pending = b""
    while True:
        last = ended()  # asked first, so that nothing is missed that was written before the end
        while data := reader.read():
            *lines, pending = (pending + data).split(b"\n")
            yield from (plain_line(line.decode("utf-8", "replace")) for line in lines)
        if last:
            break
        sleep(LOOK_SECONDS)
    if pending:
        yield plain_line(pending.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class _Block:
    """A piece of a file, and where it begins."""

    file: tuple[int, int]
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a reader is: the number of the file, how far into it, and what stands before."""

    file: tuple[int, int]
    offset: int
    witness: bytes

    def is_in(self, file: BinaryIO) -> bool:
        """Whether an open file is the one of this place."""
        if _identity(file) != self.file:
            return False
        file.seek(self.offset - len(self.witness))
        return file.read(len(self.witness)) == self.witness


class _Reader:
    """Reads on from the last lines of a log, from file to file as they are rotated."""

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._place = _place_of_last(path, count)

    def read(self) -> bytes:
        """The next piece; nothing when there is none yet."""
        oldest = None
        for number, file in _files(self._path):
            oldest = number
            if self._place is not None and self._place.is_in(file):
                data = self._read_on(file, self._place)
                if data or number == 0 or not self._go_on(number):
                    return data
                return self.read()
        return b"" if oldest is None else self._start_over(oldest)

    def _read_on(self, file: BinaryIO, place: _Place) -> bytes:
        file.seek(place.offset)
        data = file.read(BLOCK_BYTES)
        witness = (place.witness + data)[-WITNESS_BYTES:]
        self._place = _Place(place.file, place.offset + len(data), witness)
        return data

    def _go_on(self, number: int) -> bool:
        """Go from a file that is read to the next; False if that is not there yet."""
        assert self._place is not None
        try:
            with (
                _numbered(self._path, number - 1).open("rb") as newer,
                _numbered(self._path, number).open("rb") as ours,
            ):
                if not self._place.is_in(ours):  # so `newer` may be one too far
                    return False
                self._place = _Place(_identity(newer), 0, b"")
                return True
        except OSError:
            return False

    def _start_over(self, oldest: int) -> bytes:
        """Our file is gone, or began anew: what is left of the log is all newer."""
        try:
            with _numbered(self._path, oldest).open("rb") as file:
                return self._read_on(file, _Place(_identity(file), 0, b""))
        except OSError:
            return b""


def _place_of_last(path: Path, count: int) -> _Place | None:
    """Where the last `count` lines begin; None where the log is not there yet."""
    place, ends, last = None, 0, True
    for block in _blocks_from_the_end(path):
        data = block.data
        end = len(data)
        if last and data:
            ends = 0 if data.endswith(b"\n") else 1  # a line that has no end yet is one too
            last = False
        while ends <= count and (end := data.rfind(b"\n", 0, end)) >= 0:
            ends += 1
        start = min(end + 1, len(data)) if ends > count else 0
        before = data[max(0, start - WITNESS_BYTES) : start]
        place = _Place(block.file, block.offset + start, before)
        if ends > count:
            break
    return place


def _blocks_from_the_end(path: Path) -> Iterator[_Block]:
    """The pieces of a log and of the files before it, the last one first."""
    for _, file in _files(path):
        offset = file.seek(0, 2)
        while True:
            size = min(BLOCK_BYTES, offset)
            offset = file.seek(offset - size)
            yield _Block(_identity(file), offset, file.read(size))
            if offset == 0:
                break


def _files(path: Path) -> Iterator[tuple[int, BinaryIO]]:
    """The files of a log, opened in turn, the latest (0) first.

    Where a rotation is under way, one name is free for a moment: nothing follows only on two. And
    what has been given already may come again under the next name; it is not given again.
    """
    given: set[tuple[int, int]] = set()
    missing = 0
    for number in count_from():
        try:
            with _numbered(path, number).open("rb") as file:
                if _identity(file) not in given:
                    given.add(_identity(file))
                    yield number, file
        except OSError:
            missing += 1
            if missing == 2:
                return
        else:
            missing = 0


def _numbered(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


def _identity(file: BinaryIO) -> tuple[int, int]:
    """What tells a file from every other one, whatever its name is by now."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino
