"""How instances are shown in a terminal, the same in `llama-orch ps` and in the dashboard (pure).

Times are seconds since 1970, widths are cells of a terminal. All marks are ASCII, so that they come
through in any encoding and without colours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.servers.logs import clean_line
from pytest_llmeval.visible import visible

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table
    from rich.text import Text

NOBODY_KNOWS = "-"
CUT = ".."
GAP = 2
"""Cells between two columns."""

MARKS = {
    "healthy": "+",
    "busy": "*",
    "loading": "~",
    "waiting": "~",
    "unknown": "?",
    "unreachable": "?",
    "unhealthy": "!",
    "error": "x",
    "down": "-",
}
"""What tells states apart where there are no colours, or none that the reader can tell apart."""

STYLES = {
    "healthy": "green",
    "busy": "cyan",
    "loading": "yellow",
    "waiting": "yellow",
    "unknown": "dim",
    "unreachable": "magenta",
    "unhealthy": "red",
    "error": "bold red",
    "down": "dim",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, what it says of an instance at a moment, and what may be done to it.

    `floor` is the width down to which its texts may be cut (None: they are not), `leaves` its place
    among those that are left out where there is no room, the first of them 1; 0 stays always.
    `usual` is how many cells its texts mostly need: where room is short it has them from the
    beginning, so that a table that is looked at again and again keeps still.
    """

    title: str
    cell: Callable[[InstanceView, float], str]
    leaves: int
    right: bool = False
    floor: int | None = None
    usual: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """A table that fits: its columns with their widths, and the cells of each row, cut to them."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]


# Single values -------------------------------------------------------------------------------


def duration(seconds: float | None) -> str:
    """A length of time by its two largest units."""
    if seconds is None:
        return NOBODY_KNOWS
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 60:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes} m {whole % 60:02} s"
    if hours < 24:
        return f"{hours} h {minutes % 60:02} m"
    return f"{days} d {hours % 24:02} h"


def memory(size: int | None) -> str:
    """Bytes as MiB or GiB."""
    if size is None:
        return NOBODY_KNOWS
    mebibytes = size / 2**20
    # From where it would be told as 1024 MiB.
    return f"{mebibytes:.0f} MiB" if mebibytes < 1023.5 else f"{mebibytes / 1024:.1f} GiB"


def rate(tokens_per_second: float | None) -> str:
    """Tokens per second, with as many digits as say something."""
    if tokens_per_second is None:
        return NOBODY_KNOWS
    return f"{tokens_per_second:.1f}" if tokens_per_second < 99.95 else f"{tokens_per_second:,.0f}"


def state_of(view: InstanceView) -> str:
    """Its health; of one without a process, whether that is as it is wanted, or it waits for its
    restart.
    """
    if view.pid is not None or view.health == "error":
        return view.health
    if view.retry_at is not None:
        return "waiting"
    return "down" if view.wanted == "down" else view.health


def state_in_words(view: InstanceView, now: float) -> str:
    """Its mark and its state; of one that waits for its restart, how long it still waits."""
    state = state_of(view)
    if state == "waiting" and view.retry_at is not None:
        return f"{MARKS[state]} waits {duration(view.retry_at - now)}"
    return f"{MARKS[state]} {state}"


def style_of(view: InstanceView) -> str:
    """The colour of its state, in the words of rich."""
    return STYLES[state_of(view)]


def model_name(view: InstanceView) -> str:
    """Its model without folder and ending."""
    name = re.split(r"[\\/]", view.model)[-1] or NOBODY_KNOWS
    return clean_line(name[: -len(".gguf")] if name.lower().endswith(".gguf") else name)


def uptime(view: InstanceView, now: float) -> str:
    """How long its server runs."""
    if view.pid is None or view.started_at is None:
        return NOBODY_KNOWS
    return duration(now - view.started_at)


def summary(views: Sequence[InstanceView]) -> str:
    """All of them in a line: how many are in which state, and what they take together."""
    if not views:
        return "no instances"
    count = Counter(map(state_of, views))
    states = ", ".join(f"{count[state]} {state}" for state in MARKS if count[state])
    taken = [view.memory for view in views if view.memory is not None]
    total = f"; {memory(sum(taken))}" if taken else ""
    return f"{len(views)} instance{'s' * (len(views) != 1)}: {states}{total}"


def nothing_to_show(instances: Path) -> str:
    """What to say where no instance is declared."""
    return (
        f"No instances yet in {instances}. Declare one: llama-orch init --profile cpu --name NAME "
        "--model FILE.gguf, then: llama-orch up NAME"
    )


# The table -----------------------------------------------------------------------------------


def _text(value: object) -> str:
    return NOBODY_KNOWS if value is None else str(value)


COLUMNS = (
    Column("Name", lambda view, _: view.name, 0, floor=12),
    Column("PID", lambda view, _: _text(view.pid), 3, right=True, usual=5),
    Column("Port", lambda view, _: _text(view.port), 5, right=True, usual=5),
    Column("Backend", lambda view, _: _text(view.backend), 2),
    Column("Device", lambda view, _: clean_line(_text(view.device)), 1, floor=10),
    Column("Model", lambda view, _: model_name(view), 9, floor=14),
    Column("Health", state_in_words, 0, usual=9),
    Column("Uptime", uptime, 8, right=True, usual=8),
    Column("Restarts", lambda view, _: str(view.restarts), 4, right=True),
    Column("tokens/s", lambda view, _: rate(view.tokens_per_second), 6, right=True),
    Column("Memory", lambda view, _: memory(view.memory), 7, right=True, usual=7),
)


def fitted(views: Sequence[InstanceView], now: float, width: int | None) -> Shown:
    """The table of the instances in `width` cells; None is as wide as it needs to be.

    Columns are left out one by one until the rest fits with its texts cut to their floors; what is
    left over goes to those texts.
    """
    rows = [tuple(visible(column.cell(view, now)) for column in COLUMNS) for view in views]
    needed = [
        max(
            cell_len(column.title),
            0 if width is None else column.usual,
            *(cell_len(row[place]) for row in rows),
        )
        for place, column in enumerate(COLUMNS)
    ]
    places = _places_in(needed, width)
    widths = _widths_in(places, needed, width)
    return Shown(
        tuple(COLUMNS[place] for place in places),
        tuple(widths),
        tuple(tuple(map(_cut, [row[place] for place in places], widths)) for row in rows),
    )


def _places_in(needed: Sequence[int], width: int | None) -> list[int]:
    """The places of the columns that have room."""
    places = list(range(len(COLUMNS)))
    going = sorted((place for place in places if COLUMNS[place].leaves), key=_leaves)
    for place in going:
        if width is None or _total([_least(each, needed) for each in places]) <= width:
            break
        places.remove(place)
    return places


def _leaves(place: int) -> int:
    return COLUMNS[place].leaves


def _least(place: int, needed: Sequence[int]) -> int:
    """The fewest cells that a column does with."""
    floor = COLUMNS[place].floor
    return needed[place] if floor is None else min(floor, needed[place])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _widths_in(places: Sequence[int], needed: Sequence[int], width: int | None) -> list[int]:
    """The widths of the columns that stay: what is spare goes to their texts, from the left."""
    if width is None:
        return [needed[place] for place in places]
    widths = [_least(place, needed) for place in places]
    spare = width - _total(widths)
    for index, place in enumerate(places):
        more = min(max(spare, 0), needed[place] - widths[index])
        widths[index] += more
        spare -= more
    return widths


def _cut(text: str, width: int) -> str:
    """A text in at most so many cells. Names of models and devices differ at their ends as much as
    at their beginnings, so what is missing is missing in the middle.
    """
    if cell_len(text) <= width:
        return text
    room = max(0, width - len(CUT))
    end = set_cell_size(text[::-1], room // 2)[::-1].lstrip()
    return set_cell_size(text, room - cell_len(end)).rstrip() + CUT + end


def as_table(views: Sequence[InstanceView], now: float, width: int | None) -> Table:
    """The fitted table with its colours, for rich."""
    from rich.table import Table

    shown = fitted(views, now, width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column, cells in zip(shown.columns, shown.widths, strict=True):
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, no_wrap=True, min_width=cells)
    for view, row in zip(views, shown.rows, strict=True):
        table.add_row(
            *(styled(column, cell, view) for column, cell in zip(shown.columns, row, strict=True))
        )
    return table


def styled(column: Column, cell: str, view: InstanceView) -> Text:
    """A cell with its colour: that of the health in its column, and none elsewhere."""
    from rich.text import Text

    justify: JustifyMethod = "right" if column.right else "left"
    return Text(
        cell, style=style_of(view) if column.cell is state_in_words else "", justify=justify
    )
