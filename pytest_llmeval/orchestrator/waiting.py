"""Waiting for the daemon to do what was asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_llmeval.errors import DaemonError
from pytest_llmeval.orchestrator.rows import Outcome, Wish
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.servers.identity import Identity

POLL_SECONDS = 0.03
"""How often to see whether anything was written; it costs microseconds."""

DAEMON_SECONDS = 0.5
"""How often to see whether the daemon still lives."""

REPORT_SECONDS = 1.0

Report = Callable[[str, str], None]
"""Takes an instance's name and a line that says how far it is."""


class Daemon(Protocol):
    """What one needs of the daemon of a home."""

    @property
    def log(self) -> Path:
        """Where it says why it ended."""
        ...

    def running(self) -> Identity | None:
        """Who it is, if there is one."""
        ...

    def ensure_running(self) -> Identity:
        """Have one; raises DaemonError."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose outcome is waited for."""

    number: int
    name: str
    wish: Wish


def wait_for(
    asked: Asked,
    state: State,
    daemon: Daemon,
    *,
    report: Report,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Be back once it is done; raises what the daemon met, or DaemonError when there is none left.

    `report` is given a line every second. There is no limit: a big model on a slow disk takes its
    time, and the daemon is who knows when there is no progress.
    """
    began = looked = told = clock()
    seen = None
    while True:
        changes = state.changes()
        if changes != seen:
            seen = changes
            if _is_done(asked, state):
                return
        now = clock()
        if now - looked >= DAEMON_SECONDS:
            looked = now
            if daemon.running() is None and not _is_done(asked, state):  # with its last breath
                raise DaemonError(_alone(asked, daemon))
        if now - told >= REPORT_SECONDS:
            told = now
            report(asked.name, _progress(asked, state, now - began))
        sleep(POLL_SECONDS)


def _is_done(asked: Asked, state: State) -> bool:
    outcome = state.outcome(asked.number)
    if outcome is not None:
        outcome.raise_failure()
    return outcome is not None


def _alone(asked: Asked, daemon: Daemon) -> str:
    return (
        f"the daemon has ended before `{asked.wish} {asked.name}` was done. "
        f"{still_asked_for(asked)} Why it ended: {daemon.log}"
    )


def still_asked_for(asked: Asked) -> str:
    """What becomes of a request that nobody has dealt with, and how it is taken back."""
    return (
        f"That is still asked for: `llama-orch daemon start` goes on with it, and `llama-orch down "
        f"{asked.name}` takes it back."
    )


def overtaken(wish: Wish) -> Outcome:
    """What came of a request after which the instance was brought down."""
    if wish in {"up", "restart"}:
        return Outcome("it was brought down before it was up", kind="ServerStartError")
    return Outcome()


def _progress(asked: Asked, state: State, seconds: float) -> str:
    """`loading (12 s): llama_model_loader: ...`."""
    row = state.row(asked.name)
    doing: str = "waiting for the daemon" if row is None else row.health
    detail = f": {row.detail}" if row is not None and row.detail else ""
    ends = asked.wish == "restart" and doing in {"healthy", "busy"}
    if asked.wish == "down" or ends:
        doing, detail = "stopping", ""
    return f"{doing} ({seconds:.0f} s){detail}"
