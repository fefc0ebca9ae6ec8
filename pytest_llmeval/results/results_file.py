"""One file of results beside one of requests, where there is no run around them."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Prediction
from pytest_llmeval.results.journal import drop_torn_line, read_journal
from pytest_llmeval.results.lines import prediction_to_line

REQUESTS = ".requests.jsonl"
"""How the name of a part's file of requests ends."""


def results_path(requests: Path, *, dry_run: bool = False) -> Path:
    """Where the results of a file of requests belong: `a.jsonl` and `a.requests.jsonl` have
    `a.results.jsonl`, and a dry run never the real ones.
    """
    stem = requests.name.removesuffix(REQUESTS)
    stem = stem.removesuffix(".jsonl") if stem == requests.name else stem
    return requests.with_name(f"{stem}{'.dry-run' if dry_run else ''}.results.jsonl")


class ResultsFile:
    """Appended to by one process at a time, each line handed to the operating system at once.

    `known` is what was there already; what a kill left half-written is cut off. Raises `RunError`
    when somebody else writes it, and where a line is no result.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(f"{path} is being written by another process; wait for it") from None
        try:
            drop_torn_line(path)
            self.known = read_journal(path) if path.exists() else {}
            self._handle = path.open("ab")
        except BaseException:
            self._lock.release()
            raise

    def append(self, prediction: Prediction) -> None:
        """Write one line."""
        self._handle.write(prediction_to_line(prediction))
        self._handle.flush()

    def close(self) -> None:
        """Have the disk confirm it all, and let the next writer in. May be called twice."""
        if self._lock.is_locked:
            os.fsync(self._handle.fileno())
            self._handle.close()
            self._lock.release()
