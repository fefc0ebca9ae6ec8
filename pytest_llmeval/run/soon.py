"""Work on files that follows what changes, while others wait for nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class Soon:
    """Does its work in a thread, at most once in `pause` seconds, as long as there is news.

    By time and not by count: a large model may write for a minute at each answer. What the disk
    refuses is tried again at the next news; whoever closes the files is told.
    """

    def __init__(self, work: Callable[[], None], pause: float, name: str):
        self._work = work
        self._pause = pause
        self._name = name
        self._news = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def do(self) -> None:
        """There is news, and so work to be done. Belongs to one thread."""
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name=self._name, daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Let the thread end; what is not done by then is for others to do."""
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
                self._work()
            self._ending.wait(self._pause)
