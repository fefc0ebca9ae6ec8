"""Has the disk confirm a journal while others wait for nothing."""

from __future__ import annotations

import contextlib
import threading

from pytest_llmeval.results.journal import Journal

#: Seconds between two confirmations: so much of the answers a loss of power may cost.
PAUSE = 1.0


class Syncing:
    """Syncs a journal in a thread, at most once a `PAUSE`, as long as there is news.

    By time and not by count: a large model may write for a minute at each answer. What the disk
    refuses is tried again, and told when the journal is closed.
    """

    def __init__(self, journal: Journal, pause: float = PAUSE):
        self._journal = journal
        self._pause = pause
        self._news = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        """Something was appended. Belongs to one thread."""
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="llmeval-sync", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Let the thread end; what is not synced yet is the journal's own business."""
        self._ending.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def _keep(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._ending.is_set():
                return
            with contextlib.suppress(OSError):
                self._journal.sync()
            self._ending.wait(self._pause)
