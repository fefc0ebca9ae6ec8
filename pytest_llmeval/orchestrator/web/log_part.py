"""The end of a log and what is added to it, in parts that a reader asks for one after the other."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pytest_llmeval.redaction import Redactor, known_secrets

MOST_BYTES = 2**20
"""No part is longer; of what a reader has missed by more, the end is given."""

WITNESS_BYTES = 64
"""So much of what stands before a cursor tells whether the file is still the same."""


@dataclass(frozen=True, slots=True)
class LogPart:
    """Whole lines of a log, and `rest`, the line that is being written; without secrets.

    With `cursor` the part that follows is asked for. `fresh`: the lines do not follow on those of
    the cursor that was given, because the file was rotated, or too much was written meanwhile.
    """

    lines: tuple[str, ...]
    rest: str
    cursor: str
    fresh: bool


def read_part(path: Path, tail: int, after: str | None = None) -> LogPart:
    """The last `tail` lines; with a cursor those that were written since, as far as they go."""
    try:
        with path.open("rb") as log:
            return _read(log, tail, after)
    except FileNotFoundError:
        return LogPart((), "", "", fresh=True)


def _read(log: BinaryIO, tail: int, after: str | None) -> LogPart:
    size = os.fstat(log.fileno()).st_size
    start = _place(log, after)
    fresh = start is None or size - start > MOST_BYTES
    begin = max(0, size - MOST_BYTES) if fresh or start is None else start
    log.seek(begin)
    data = log.read(size - begin)
    if fresh and begin:
        data = data[data.find(b"\n") + 1 :]  # the first line is cut in two
    whole, ended, rest = data.rpartition(b"\n")
    lines = [line.rstrip(b"\r") for line in whole.split(b"\n")] if ended else []
    if fresh:
        lines = lines[-tail:] if tail else []
    redactor = Redactor(known_secrets(os.environ))
    return LogPart(
        tuple(_text(line, redactor) for line in lines),
        _text(rest, redactor),
        _cursor(log, begin + len(data) - len(rest)),
        fresh,
    )


def _text(line: bytes, redactor: Redactor) -> str:
    return redactor.text(line.decode("utf-8", "replace"))


def _cursor(log: BinaryIO, offset: int) -> str:
    """Names a place: the file, how far into it, and a sum of what stands before.

    The number of a file is not enough: a system may give it to a new file once the old one is gone.
    """
    before = min(offset, WITNESS_BYTES)
    log.seek(offset - before)
    return f"{os.fstat(log.fileno()).st_ino:x}-{offset:x}-{zlib.crc32(log.read(before)):x}"


def _place(log: BinaryIO, cursor: str | None) -> int | None:
    """Where to go on in this very file; None where the cursor is of another, or none at all."""
    try:
        offset = int((cursor or "").split("-")[1], 16)
    except (IndexError, ValueError):
        return None
    is_within = 0 <= offset <= os.fstat(log.fileno()).st_size
    return offset if is_within and _cursor(log, offset) == cursor else None
