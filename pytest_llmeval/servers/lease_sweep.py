"""What shared servers leave behind is swept up once nobody will ask how they ended.

Their logs, most of all, are as big as they may be. The folder of a lease and its locks stay, since
somebody may be about to take one: two empty files.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval.servers.lease_files import LeaseFiles

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long after its last sign of life what a server has left is kept."""

_LEASE = re.compile(r"[0-9a-f]{32}")


def sweep(folder: Path, *, now: float | None = None) -> None:
    """Remove what is left of all servers in `folder` that ended long before `now`.

    Nothing happens to those that run or that somebody holds. What cannot be removed stays.
    """
    before = (time.time() if now is None else now) - KEPT_SECONDS
    with contextlib.suppress(OSError):
        for lease in folder.iterdir():
            if _LEASE.fullmatch(lease.name) and _is_old(lease, before):
                _sweep_lease(LeaseFiles(lease))


def _is_old(lease: Path, before: float) -> bool:
    """Whether something is left there, and all of it is old; looked at before any lock is taken."""
    try:
        times = [path.stat().st_mtime for path in _left_in(lease)]
    except OSError:  # somebody is at work there
        return False
    return bool(times) and max(times) < before


def _sweep_lease(files: LeaseFiles) -> None:
    """Remove what is left, unless there is a guard, or somebody who might start one.

    With both locks nobody can begin to, and a guard that begins nevertheless, since whoever started
    it was killed, finds its lock taken and ends.
    """
    try:
        with (
            FileLock(files.start_lock, blocking=False),
            FileLock(files.guard_lock, blocking=False),
        ):
            if not files.is_held():
                for path in _left_in(files.folder):
                    path.unlink(missing_ok=True)
    except (Timeout, OSError):
        return


def _left_in(lease: Path) -> list[Path]:
    """Everything in a lease but its locks and its holders."""
    files = LeaseFiles(lease)
    locks = {files.start_lock, files.guard_lock}
    return [path for path in lease.iterdir() if path not in locks and path.is_file()]
