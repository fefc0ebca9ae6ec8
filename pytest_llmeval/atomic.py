"""Files that are either there and whole, or not there.

Everything in a run's folder but the journal is written through here: into a temporary file in the
same folder, which then takes the name in one step, once the disk has confirmed what is in it.
Whoever is killed in between, by the loss of power too, leaves at most a stray `.tmp` file, never
half a table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

_WAITS = tuple(0.02 * 2**n for n in range(7)) if os.name == "nt" else ()
"""On Windows a virus scanner or an editor may hold the old file for a moment: 2.5 s in all."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.tmp$")
"""How the name of a file ends that is still being written."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that becomes `path` when the block ends well, and vanishes when not."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")  # see _TEMPORARY
    try:
        with temporary.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        _replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Have the disk confirm which files are in a folder, where a system can be asked for that."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and has no need of it
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove what writers that were killed have left below a folder; how many files.

    Only for whoever may be sure that nobody is writing there.
    """
    found = [path for path in folder.rglob(".*.tmp") if _TEMPORARY.search(path.name)]
    for path in found:
        with contextlib.suppress(OSError):
            path.unlink()
    return len(found)


@contextlib.contextmanager
def replacing_text(path: Path) -> Iterator[IO[str]]:
    r"""Open a text file as `replacing` does: UTF-8 with `\n`.

    A lone surrogate, which UTF-8 cannot hold, is written as its escape: JSON's too.
    """
    with replacing(path) as handle:
        text = io.TextIOWrapper(handle, encoding="utf-8", errors="backslashreplace", newline="")
        yield text
        text.detach()


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path`, whole or not at all."""
    with replacing_text(path) as handle:
        handle.write(text)


def write_json(path: Path, value: Any) -> None:
    """Put `value` at `path` as indented JSON in the order of its keys.

    Dataclasses become objects. A NaN is refused with `ValueError`, because JSON has none: what has
    no value is None and becomes null.
    """
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Give dataclasses, mappings and sequences as the dicts and lists JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def _replace(source: Path, target: Path) -> None:
    for wait in _WAITS:
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    source.replace(target)
