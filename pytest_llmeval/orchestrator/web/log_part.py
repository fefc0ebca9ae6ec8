"""The end of a log and what is added to it, in parts that a reader asks for one after the other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 2**20
"""No part is longer; of what a reader has missed by more, the end is given."""


@dataclass(frozen=True, slots=True)
class LogPart:
    """Whole lines of a log as the server wrote them, and `rest`, the line that it is writing.

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
    found = os.fstat(log.fileno())
    identity, size = f"{found.st_ino:x}", found.st_size
    start = _offset(after, identity, size)
    fresh = start is None or size - start > MOST_BYTES
    begin = max(0, size - MOST_BYTES) if fresh or start is None else start
    log.seek(begin)
    data = log.read(size - begin)
    if fresh and begin:
        data = data[data.find(b"\n") + 1 :]  # the first line is cut in two
    whole, _, rest = data.rpartition(b"\n")
    lines = [line.rstrip(b"\r") for line in whole.split(b"\n")] if whole or b"\n" in data else []
    kept = lines[-tail:] if tail else []
    return LogPart(
        tuple(line.decode("utf-8", "replace") for line in (kept if fresh else lines)),
        rest.decode("utf-8", "replace"),
        f"{identity}-{size - len(rest):x}",
        fresh,
    )


def _offset(cursor: str | None, identity: str, size: int) -> int | None:
    """Where to go on in this very file; None where the cursor is of another, or none at all."""
    if not cursor:
        return None
    file, _, digits = cursor.partition("-")
    try:
        offset = int(digits, 16)
    except ValueError:
        return None
    return offset if file == identity and 0 <= offset <= size else None
