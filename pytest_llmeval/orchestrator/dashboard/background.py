"""Work that may take long, done beside the screen: in threads that nobody waits for.

They are daemon threads, not textual's workers: whoever leaves the dashboard does not wait for a
model that is still loading. What was asked for is brought about all the same.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from textual.app import App

from pytest_llmeval.servers.logs import clean_line

Given = TypeVar("Given")


class Tried(Generic[Given]):
    """What a piece of work has given, or in a line why it has not."""

    def __init__(self, work: Callable[[], Given]) -> None:
        self.given: Given | None = None
        self.error: str | None = None
        try:
            self.given = work()
        except Exception as error:  # noqa: BLE001 - the screen must say it, whatever it is
            self.error = clean_line(" ".join(str(error).split())) or type(error).__name__


def in_background(
    app: App[Any], work: Callable[[], Given], deliver: Callable[[Tried[Given]], None]
) -> None:
    """Do a piece of work and hand what came of it to the app, if that is still there."""

    def run() -> None:
        tried = Tried(work)
        with contextlib.suppress(RuntimeError):  # the dashboard is being left at this very moment
            if app.is_running:
                app.call_from_thread(deliver, tried)

    threading.Thread(target=run, name="llama-orch-dashboard", daemon=True).start()
