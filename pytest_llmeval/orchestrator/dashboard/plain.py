"""The dashboard where there is no textual, or no terminal for it: a table each second."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.orchestrator.showing import as_table, summary
from pytest_llmeval.orchestrator.telling import plain_table, reasons
from pytest_llmeval.orchestrator.views import Instances, InstanceView
from pytest_llmeval.redaction import shown_error
from pytest_llmeval.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LOOK_SECONDS = 1.0

INSTALL = 'pip install "pytest-llmeval-local[dashboard]"'


def why_plain(*, terminal: bool, term: str, textual: bool) -> str | None:
    """Why there is a table only, and how to get the full dashboard; None where it can be had."""
    if not terminal:
        return (
            "A table each second, since stdin, stdout or stderr is no terminal; "
            "in a terminal there is the dashboard."
        )
    if term in {"dumb", "unknown"}:
        return f"A table each second, since TERM is {term}; other terminals have the dashboard."
    if not textual:
        return f"A table each second, until Ctrl-C. The full dashboard: {INSTALL}"
    return None


def show_plainly(
    instances: Instances,
    console: Console,
    why: str,
    *,
    empty: str,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> NoReturn:
    """Show all instances again and again, until Ctrl-C; in place where the terminal can do that."""
    console.print(why, markup=False, highlight=False, soft_wrap=True)
    if console.is_terminal and not console.is_dumb_terminal:
        _show_in_place(instances, console, empty, clock, sleep)
    while True:
        now = clock()
        if console.is_terminal:
            console.print(_picture(instances, empty, now, console.width))
        else:
            console.print(*_lines(instances, empty, now), sep="\n", markup=False, soft_wrap=True)
        console.print()
        console.file.flush()
        sleep(LOOK_SECONDS)


def _show_in_place(
    instances: Instances,
    console: Console,
    empty: str,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> NoReturn:
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_picture(instances, empty, clock(), console.width), refresh=True)
            sleep(LOOK_SECONDS)


def _look(instances: Instances) -> tuple[InstanceView, ...] | str:
    """All instances, or why they cannot be seen now."""
    try:
        return instances.overview()
    except LlmevalError as error:
        return visible(f"llama-orch: {shown_error(error, os.environ)}")


def _lines(instances: Instances, empty: str, now: float) -> Iterator[str]:
    """One look as plain lines, as wide as they are."""
    views = _look(instances)
    if isinstance(views, str):
        yield views
    elif not views:
        yield empty
    else:
        yield from (*plain_table(views, now), *reasons(views), summary(views))


def _picture(instances: Instances, empty: str, now: float, width: int) -> RenderableType:
    """One look with colours, as wide as the terminal."""
    from rich.console import Group
    from rich.text import Text

    views = _look(instances)
    if isinstance(views, str):
        return Text(views)
    if not views:
        return Text(empty)
    return Group(as_table(views, now, width), *map(Text, reasons(views)), Text(summary(views)))
