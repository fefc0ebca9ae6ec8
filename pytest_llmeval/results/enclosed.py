"""A run's folder may come from somebody else: nothing in it leads out of it.

A link in it would have a file from elsewhere shown as an answer, or have the journal written there;
a pipe would be waited for. We make neither.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_llmeval.errors import RunError


def refuse_ways_out(run: Path) -> None:
    """Raise RunError for anything in a run's folder that leads out of it, or is no file."""
    root = os.path.realpath(run)
    for entry in _entries(root):
        if entry.is_symlink() or _is_junction(entry):
            where = os.path.realpath(entry.path)
            if Path(where).is_relative_to(root):
                continue
            shown = Path(entry.path).relative_to(root).as_posix()
            raise RunError(
                f"{run}: {shown} is a link to {where}, outside of the run's folder, and is not "
                "followed; put the file itself there, or delete the link"
            )
        if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
            shown = Path(entry.path).relative_to(root).as_posix()
            raise RunError(f"{run}: {shown} is a pipe, a socket or a device, and no file")


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:  # not there, or not ours to see: whoever reads it says so
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False) and not _is_junction(entry):
            yield from _entries(entry.path)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Windows' other kind of link to a folder, which is no symlink to Python."""
    tag = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return bool(tag) and tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
