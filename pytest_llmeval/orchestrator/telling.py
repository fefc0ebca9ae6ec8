"""What is told of instances in lines: their health, and everything about one of them (pure)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.showing import (
    GAP,
    NOBODY_KNOWS,
    duration,
    fitted,
    memory,
    rate,
    state_in_words,
    state_of,
    uptime,
)
from pytest_llmeval.orchestrator.views import Event, InstanceDetail, InstanceView
from pytest_llmeval.servers.logs import clean_line, plain_line

CALM = frozenset({"healthy", "busy", "down"})
"""The states that need no explanation."""

Facts = Sequence[tuple[str, str]]


def reasons(views: Sequence[InstanceView]) -> Iterator[str]:
    """A line for each that is not as it should be, and one for each whose config cannot be read."""
    for view in views:
        if view.detail and (state_of(view) not in CALM or view.backend is None):
            yield f"{clean_line(view.name)}: {clean_line(view.detail)}"


def plain_table(views: Sequence[InstanceView], now: float) -> list[str]:
    """The table of instances for pipes and files: as wide as it needs to be, without colours."""
    shown = fitted(views, now, None)
    titles = tuple(column.title for column in shown.columns)
    return [
        (" " * GAP)
        .join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(shown.columns, row, shown.widths, strict=True)
        )
        .rstrip()
        for row in (titles, *shown.rows)
    ]


def health_lines(views: Sequence[InstanceView]) -> list[str]:
    """Name, health and why, in columns."""
    rows = [(view.name, state_of(view), clean_line(view.detail)) for view in views]
    return _columns(rows)


def waits_for(view: InstanceView, now: float) -> str | None:
    """What has to happen before it is as it is wanted; None when it is, or nobody knows."""
    if view.health == "error":
        return f"you: `llama-orch up {view.name}` tries again once its cause is mended"
    if view.retry_at is not None:
        return f"its restart in {duration(view.retry_at - now)}"
    if view.wanted == "down":
        return None if view.pid is None else "the end of its server"
    if view.pid is None:
        return "the daemon to start it"
    return "its model to be loaded" if view.health == "loading" else None


def description(detail: InstanceDetail, now: float) -> Iterator[str]:
    """Everything about an instance, for people."""
    view = detail.view
    yield f"{view.name}: {state_in_words(view, now)}" + (
        f" ({clean_line(view.detail)})" if view.detail else ""
    )
    yield from _indented(_columns(_runtime(view, now)))
    yield f"Config: {detail.config_path}"
    if detail.config_changed:
        yield (
            "  It has changed since the server was started: "
            f"`llama-orch restart {view.name}` goes by the new one"
        )
    if detail.config is not None:
        yield from _indented(_columns(list(_settings(detail.config))))
    elif detail.config_problem is not None:
        yield "  It cannot be read:"
        yield from _indented(map(plain_line, detail.config_problem.splitlines()))
    yield from _histories(detail)


def _runtime(view: InstanceView, now: float) -> Facts:
    facts = (
        ("wanted", view.wanted),
        ("waits for", waits_for(view, now)),
        ("url", view.url),
        ("pid", view.pid),
        ("up for", None if view.pid is None else uptime(view, now)),
        ("restarts", view.restarts),
        ("device", view.device),
        ("memory", None if view.memory is None else memory(view.memory)),
        ("tokens/s", None if view.tokens_per_second is None else rate(view.tokens_per_second)),
    )
    return [(key, clean_line(str(value))) for key, value in facts if value is not None]


def _settings(config: InstanceConfig) -> Iterator[tuple[str, str]]:
    """`model.context_size`, `4096` and so on, of whatever is set or has a default."""
    for section, value in config.model_dump(mode="json").items():
        entries = value if isinstance(value, Mapping) else {"": value}
        for key, entry in entries.items():
            if entry not in (None, [], {}):
                yield ".".join(filter(None, (section, key))), clean_line(_value(entry))


def _value(entry: object) -> str:
    """A value of a config nearly as YAML has it."""
    if isinstance(entry, list):
        return ", ".join(map(_value, entry))
    if isinstance(entry, bool):
        return str(entry).lower()
    return f"{entry:g}" if isinstance(entry, float) else str(entry)


def _histories(detail: InstanceDetail) -> Iterator[str]:
    restarts = [
        (_moment(each.at), f"{each.number}. in a row, after {each.delay:.1f} s", each.reason)
        for each in detail.restarts
    ]
    health = [
        (_moment(each.at), each.health, _answer(each.detail, each.seconds))
        for each in detail.health
    ]
    for title, lines in (
        ("Restarts", _history(restarts)),
        ("Health", _history(health)),
        ("Events", event_lines(detail.events)),
    ):
        if lines:
            yield f"{title}, the newest first"
            yield from lines


def event_lines(events: Iterable[Event]) -> list[str]:
    """Events in columns: when, of what kind, and what happened."""
    return _history([(_moment(each.at), each.kind, each.text) for each in events])


def _history(rows: Iterable[Sequence[str]]) -> list[str]:
    return list(_indented(_columns([tuple(map(clean_line, row)) for row in rows])))


def _answer(detail: str, seconds: float | None) -> str:
    return detail if seconds is None else f"{detail} ({seconds * 1000:.0f} ms)".lstrip()


def _moment(at: float) -> str:
    """A time as the reader's clock shows it."""
    return f"{datetime.datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their cells below each other; the last of a row may be as long as it is."""
    if not rows:
        return []
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    return [
        "  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() or NOBODY_KNOWS for row in rows
    ]


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
