"""The guard of a server that many processes share: it outlives them, and the server never does.

It is started by path, apart from whoever asked for it (`python lease_guard.py ORDER COMMAND…`),
and keeps the server for as long as anybody holds it (`lease_files.py`). Who may die, and what ends
the server then:

- every holder, even by SIGKILL: the guard notices at its next look, and kills the server;
- the guard, even by SIGKILL: what ends every guarded server (`guard.py`), and the next who asks
  for it sees that it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The folder of this file is full of short names, and the package is not in it.
    beside, root = str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])
    sys.path[:] = [root, *(path for path in sys.path if path != beside)]

from filelock import FileLock, Timeout

from pytest_llmeval.servers import guard, job
from pytest_llmeval.servers.identity import Identity, identity_of
from pytest_llmeval.servers.lease_files import Ended, Kept, LeaseFiles
from pytest_llmeval.servers.lease_sweep import sweep

LOOK_SECONDS = 0.1
"""How often to look whether anybody holds the server: the last one waits for its end."""


def main(order: Mapping[str, Any], command: Sequence[str]) -> int:
    """Keep one server, unless there is a guard already; 0, or 1 if there is no server."""
    files = LeaseFiles(Path(order["folder"]))
    try:
        with FileLock(files.guard_lock, blocking=False):
            ended = keep(files, order, command)
            files.write_ended(ended)
    except Timeout:  # whoever wanted us was killed, and who came next was quicker
        return 1
    sweep(files.folder.parent)
    return 0 if ended.error is None else 1


def keep(files: LeaseFiles, order: Mapping[str, Any], command: Sequence[str]) -> Ended:
    """Start the server and see it through; how it ended."""
    events = guard.take_signals()
    if not files.is_held():
        return Ended(order["order"], error="whoever asked for it was gone before it started")
    try:
        server, pumps = guard.start(command, order, complaint=job.enclose_in_job())
    except OSError as error:
        return Ended(order["order"], error=guard.describe(error, command))
    try:
        files.write_kept(Kept(order["order"], _who(os.getpid()), _who(server.pid), order["port"]))
    except OSError as error:  # nobody could find the server, nor start another beside it
        guard.kill(server)
        guard.see_through(server, pumps, events, needed=lambda: False)
        reason = guard.describe(error, command)
        return Ended(order["order"], error=f"it cannot be said that it runs: {reason}")
    code = guard.see_through(
        server, pumps, events, needed=lambda: is_needed(files), every=LOOK_SECONDS
    )
    return Ended(order["order"], code=code)


def is_needed(files: LeaseFiles) -> bool:
    """Whether anybody holds the server; if not, nobody can begin to any more."""
    if files.is_held() or not files.withdraw():
        return True
    if not files.is_held():
        return False
    files.put_back()  # somebody came between the look and the withdrawal
    return True


def _who(pid: int) -> Identity:
    """A process that we have just started, or are."""
    return identity_of(pid) or Identity(pid, time.time())  # it ended at once, and waits to be told


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
