"""What a config says and what the daemon has seen, joined into what is shown (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.views import InstanceView

NEVER = "it has not been brought up yet"
DOWN = "it is down"
ORPHANED = (
    "the daemon has ended, and its servers with it; `llama-orch daemon start` brings back what is "
    "wanted up"
)
CONFIG_GONE = "its config is gone; `llama-orch down` stops what is left of it"


def view_of(
    name: str, config: InstanceConfig | None, row: InstanceRow | None, *, watched: bool
) -> InstanceView:
    """An instance now. `watched` is whether a daemon lives: without one no server does.

    A `config` of None cannot be read.
    """
    view = _declared(name, config)
    if row is None:
        return replace(view, detail=NEVER)
    if not watched:
        return _unwatched(view, row)
    return replace(
        view,
        wanted=row.wanted,
        health=row.health,
        detail=_own_words(row) or (DOWN if row.server is None and row.wanted == "down" else ""),
        device=row.device or view.device,
        pid=None if row.server is None else row.server.pid,
        port=row.port if row.server is not None else view.port,
        url=None if row.server is None else row.url,
        started_at=row.started_at,
        restarts=row.restarts,
        retry_at=row.retry_at,
        memory=row.memory,
        tokens_per_second=row.tokens_per_second,
    )


def _declared(name: str, config: InstanceConfig | None) -> InstanceView:
    """What the config alone says: an instance that is down."""
    if config is None:
        return InstanceView(name, "down", "unknown", "", "", None, None, 0, ())
    port = config.server.port
    return InstanceView(
        name=name,
        wanted="down",
        health="unknown",
        detail="",
        model=config.model.path,
        backend=config.gpu.backend,
        device=None,
        slots=config.server.parallel,
        aliases=config.aliases,
        port=None if port == "auto" else port,
    )


def _unwatched(view: InstanceView, row: InstanceRow) -> InstanceView:
    """One that no daemon looks after; that it was given up is known without one."""
    if row.health == "error":
        return replace(view, wanted=row.wanted, health="error", detail=_own_words(row))
    detail = ORPHANED if row.wanted == "up" else DOWN
    return replace(view, wanted=row.wanted, detail=detail)


def _own_words(row: InstanceRow) -> str:
    """What is said of it, without its name in front: whoever shows it does so beside that."""
    return row.detail.removeprefix(f"{row.name}: ")


def left_over(rows: Iterable[InstanceRow], names: Iterable[str]) -> tuple[InstanceRow, ...]:
    """Those that run, or are to run, although there is no config of theirs any more."""
    known = set(names)
    return tuple(
        row
        for row in rows
        if row.name not in known and (row.server is not None or row.wanted == "up")
    )


def without_config(row: InstanceRow, *, watched: bool) -> InstanceView:
    """How one of those is shown."""
    view = view_of(row.name, None, row, watched=watched)
    return replace(view, detail=f"{CONFIG_GONE}; {view.detail}" if view.detail else CONFIG_GONE)


def has_changed(now: str, row: InstanceRow | None) -> bool:
    """Whether a server runs with another config than the one that has the fingerprint `now`."""
    return (
        row is not None
        and row.server is not None
        and row.fingerprint is not None
        and row.fingerprint != now
    )
