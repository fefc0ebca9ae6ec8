"""The dashboard itself: a table of all instances, looked at each second, with keys to act.

Nothing here waits: whatever may block is done in the background, and comes back as a line.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import DataTable, Footer, Static

from pytest_llmeval.orchestrator.dashboard.background import Tried, in_background
from pytest_llmeval.orchestrator.dashboard.help_view import HelpView
from pytest_llmeval.orchestrator.dashboard.log_view import LogView
from pytest_llmeval.orchestrator.showing import Column, Shown, fitted, state_of, styled, summary
from pytest_llmeval.orchestrator.views import Instances, InstanceView
from pytest_llmeval.servers.logs import clean_line

LOOK_SECONDS = 1.0

OVER_THE_TABLE = frozenset({"act", "look", "log", "help", "quit"})
"""What the keys of the table do; those of a page that lies over it do something else."""

Deed = Literal["up", "down", "restart"]
Progress = queue.SimpleQueue[tuple[str, str]]
"""Names of instances, each with a line about what is waited for."""

CSS = """
Screen { layout: vertical; }
#top { height: 1; padding: 0 1; text-style: bold; background: $panel; }
#empty { height: 1fr; padding: 1; }
DataTable { height: 1fr; }
DataTable > .datatable--cursor { background: $primary-muted; color: $foreground; }
DataTable:focus > .datatable--cursor { background: $primary-muted; color: $foreground; }
#detail { height: auto; min-height: 1; max-height: 3; padding: 0 1; color: $text-muted; }
#news { height: auto; min-height: 1; max-height: 3; padding: 0 1; }
#news.error { color: $text-error; text-style: bold; }
HelpView { align: center middle; }
#help { width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 1 2;
        border: round $primary; background: $surface; }
"""


class Dashboard(App[None]):
    """All instances of a home. `empty` is what to say where there are none.

    Without `colours` it is the marks alone that tell states apart.
    """

    TITLE = "llama-orch"
    ENABLE_COMMAND_PALETTE = False
    CSS = CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "act('up')", "Up"),
        Binding("d", "act('down')", "Down"),
        Binding("R", "act('restart')", "Restart", key_display="R"),
        Binding("l", "log", "Log"),
        Binding("r", "look", "Refresh"),
        Binding("h", "help", "Help"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "leave", show=False, priority=True),
    ]

    def __init__(
        self,
        instances: Instances,
        *,
        empty: str,
        progress: Progress,
        colours: bool = True,
        clock: Callable[[], float] = time.time,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        super().__init__()
        self._instances = instances
        self._progress = progress
        self._colours = colours
        self._clock = clock
        self._look_seconds = look_seconds
        # Held here, since what comes back late may find the screen gone already.
        self._top = Static(self.TITLE, id="top", markup=False)
        self._table = DataTable[Text](
            cursor_type="row", cell_padding=1, cursor_foreground_priority="renderable"
        )
        self._empty = Static(empty, id="empty", markup=False)
        self._detail = Static(id="detail", markup=False)
        self._news = Static(id="news", markup=False)
        self._deeds: dict[Deed, Callable[[str], InstanceView]] = {
            "up": instances.up,
            "down": instances.down,
            "restart": instances.restart,
        }
        self._views: tuple[InstanceView, ...] = ()
        self._looking = False
        self._blind = False
        self._acting: dict[str, Deed] = {}
        self._laid_out: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """A line about all, the table, a line about the selected one, what happened, the keys."""
        yield self._top
        yield self._table
        yield self._empty
        yield self._detail
        yield self._news
        yield Footer()

    def on_mount(self) -> None:
        """Look at once, and then each second."""
        self._table.display = self._empty.display = False
        self._table.focus()
        self.set_interval(self._look_seconds, self.action_look)
        self.action_look()

    def on_resize(self, _event: Resize) -> None:
        """Choose the columns anew, once there is something to fill them with."""
        if self._views:
            self.call_after_refresh(self._fill)  # textual takes the new size after this

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        """Say why the selected one is as it is."""
        self._show_detail()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key may do something now: over the table lies another page at times."""
        del parameters
        return len(self.screen_stack) == 1 or action not in OVER_THE_TABLE

    # What keys do -----------------------------------------------------------------------------

    def action_look(self) -> None:
        """Look at all instances, unless that is still under way."""
        while not self._progress.empty():
            name, line = self._progress.get()
            if name in self._acting:
                self._tell(f"{name}: {line}")
        if not self._looking:
            self._looking = True
            in_background(self, self._instances.overview, self._show)

    def action_act(self, deed: Deed) -> None:
        """Do something to the selected instance."""
        name = self._selected()
        if name is None:
            self._tell("there is no instance to select yet")
        elif name in self._acting:
            self._tell(f"{name}: {self._acting[name]} is still under way")
        else:
            self._acting[name] = deed
            self._tell(f"{name}: {deed} ...")
            in_background(self, partial(self._deeds[deed], name), partial(self._show_deed, name))

    def action_log(self) -> None:
        """Follow the log of the selected instance."""
        name = self._selected()
        if name is not None:
            self.push_screen(LogView(self._instances, name))

    def action_leave(self) -> None:
        """Leave, from wherever one is."""
        self.exit()

    def action_help(self) -> None:
        """Say what keys and marks mean."""
        self.push_screen(HelpView())

    # What is shown ----------------------------------------------------------------------------

    def _selected(self) -> str | None:
        row = self._table.cursor_row
        return self._views[row].name if 0 <= row < len(self._views) else None

    def _tell(self, line: str, *, error: bool = False) -> None:
        """Say what has happened, and when: it stays there, and may not be so any more."""
        self._news.set_class(error, "error")
        self._news.update(f"{_time_of_day(self._clock())}  {clean_line(line)}")

    def _show(self, found: Tried[tuple[InstanceView, ...]]) -> None:
        self._looking = False
        if found.given is None:
            self._blind = True
            self._tell(f"cannot look: {found.error}", error=True)
            return
        if self._blind:
            self._blind = False
            self._news.update("")
        self._views = found.given
        self._table.display = bool(self._views)
        self._empty.display = not self._views
        self._fill()

    def _show_deed(self, name: str, done: Tried[InstanceView]) -> None:
        deed = self._acting.pop(name)
        if done.given is None:
            self._tell(f"{deed} {name}: {done.error}", error=True)
        else:
            place = f" at {done.given.url}" if done.given.url else ""
            self._tell(f"{name} is {state_of(done.given)}{place}")
        self.action_look()

    def _fill(self) -> None:
        """Show the views that there are in the room that there is."""
        now = self._clock()
        line = f"{_time_of_day(now)}  {summary(self._views)}"
        title = f"{self.TITLE}  {line}"
        self._top.update(title if cell_len(title) <= self.size.width - 2 else line)
        # Each column has a cell of padding on both sides, and a long table a bar to scroll it by.
        bar = 2 if len(self._views) >= self._table.size.height > 0 else 0
        shown = fitted(self._views, now, self.size.width - 2 - bar)
        names = tuple(view.name for view in self._views)
        laid_out = (shown.columns, shown.widths, names)
        if laid_out == self._laid_out:
            self._refill(shown)
        else:
            self._laid_out = laid_out
            self._lay_out(shown)
        self._show_detail()

    def _refill(self, shown: Shown) -> None:
        """Exchange what has changed."""
        for view, row in zip(self._views, shown.rows, strict=True):
            for column, cell in zip(shown.columns, row, strict=True):
                text = self._text_of(column, cell, view)
                if text != self._table.get_cell(view.name, column.title):
                    self._table.update_cell(view.name, column.title, text)

    def _text_of(self, column: Column, cell: str, view: InstanceView) -> Text:
        """A cell; textual makes greys of colours where there are none, which cannot be read."""
        text = styled(column, cell, view)
        return text if self._colours else Text(text.plain, justify=text.justify)

    def _lay_out(self, shown: Shown) -> None:
        """Make columns and rows anew; the instance that is selected stays so."""
        table, selected, scrolled = self._table, self._row_before(), self._table.scroll_y
        table.clear(columns=True)
        for column, width in zip(shown.columns, shown.widths, strict=True):
            label = Text(column.title, justify="right" if column.right else "left")
            table.add_column(label, width=width, key=column.title)
        for view, row in zip(self._views, shown.rows, strict=True):
            cells = zip(shown.columns, row, strict=True)
            texts = (self._text_of(column, cell, view) for column, cell in cells)
            table.add_row(*texts, key=view.name)
        table.move_cursor(row=selected, scroll=False)
        table.scroll_to(y=scrolled, animate=False)

    def _row_before(self) -> int:
        """The row now of the instance that was selected before; else that of the old row."""
        table = self._table
        row = table.cursor_row
        if not table.is_valid_row_index(row):
            return 0
        name = table.ordered_rows[row].key.value
        return next((at for at, view in enumerate(self._views) if view.name == name), row)

    def _show_detail(self) -> None:
        name = self._selected()
        texts: Sequence[str] = [
            f"{clean_line(view.name)}: {clean_line(view.detail)}"
            for view in self._views
            if view.name == name and view.detail
        ]
        self._detail.update("".join(texts))


def _time_of_day(now: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(now))
