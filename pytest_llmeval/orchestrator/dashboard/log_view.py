"""What an instance's server writes, as it writes it."""

from __future__ import annotations

import queue
import threading
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, RichLog, Static

from pytest_llmeval.orchestrator.dashboard.background import Tried
from pytest_llmeval.orchestrator.views import Instances, Stream
from pytest_llmeval.servers.logs import follow
from pytest_llmeval.visible import visible

TAIL = 500
MOST_LINES = 5000
LOOK_SECONDS = 0.1

NAMES: dict[Stream, str] = {"out": "stdout", "err": "stderr"}


class LogView(Screen[None]):
    """The log of one instance, followed; first its stderr, where llama-server writes nearly all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,l,q", "dismiss", "Back", key_display="l"),
        Binding("o", "other", "stdout/stderr"),
    ]

    def __init__(self, instances: Instances, name: str) -> None:
        super().__init__()
        self._instances = instances
        self._instance = name
        self._stream: Stream = "err"
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._left = threading.Event()

    def compose(self) -> ComposeResult:
        """A title, the lines, the keys."""
        yield Static(id="top", markup=False)
        yield RichLog(max_lines=MOST_LINES, min_width=1, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow."""
        self.set_interval(LOOK_SECONDS, self._take_lines)
        self._begin()

    def on_unmount(self) -> None:
        """Have the reader end."""
        self._left.set()

    def action_other(self) -> None:
        """Show the other stream."""
        self._stream = "out" if self._stream == "err" else "err"
        self._begin()

    def _begin(self) -> None:
        """Follow a stream from its last lines on, and no other any more."""
        self._left.set()
        self._left, self._lines = threading.Event(), queue.SimpleQueue()
        self.query_one(RichLog).clear()
        self.query_one("#top", Static).update(f"{visible(self._instance)}  {NAMES[self._stream]}")
        reader = threading.Thread(
            target=_read,
            args=(self._instances, self._instance, self._stream, self._lines, self._left),
            name=f"llama-orch-log-{self._instance}",
            daemon=True,
        )
        reader.start()

    def _take_lines(self) -> None:
        """Show what has come; a reader who has scrolled back stays there."""
        log = self.query_one(RichLog)
        at_end = log.is_vertical_scroll_end
        for _ in range(MOST_LINES):
            if self._lines.empty():
                break
            log.write(Text(self._lines.get()), scroll_end=at_end)


def _read(
    instances: Instances,
    name: str,
    stream: Stream,
    lines: queue.SimpleQueue[str],
    left: threading.Event,
) -> None:
    """Hand on the lines of a log until the view is left; what stands in the way is a line too."""
    found = Tried(lambda: instances.log(name, stream))
    if found.given is None:
        lines.put(f"llama-orch: {found.error}")
        return
    for line in follow(found.given, TAIL, ended=left.is_set):
        lines.put(line)
