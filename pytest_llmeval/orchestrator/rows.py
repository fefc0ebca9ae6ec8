"""What the database keeps, as data: the words between whoever asks and the daemon.

Times are seconds since 1970. None is what nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.errors import (
    DaemonError,
    InstanceConfigError,
    LlmevalError,
    ModelFileError,
    OrchestratorError,
    ServerError,
    ServerLostError,
    ServerStartError,
    StateError,
    UnknownInstanceError,
    WrongDeviceError,
)
from pytest_llmeval.orchestrator.views import Wanted
from pytest_llmeval.servers.health import HealthState
from pytest_llmeval.servers.identity import Identity

Wish = Literal["up", "down", "restart", "reset", "check"]
"""What can be asked of the daemon; the first three also say what is wanted from now on."""

THE_DAEMON = ""
"""Under this name, which no instance can have, the daemon itself is asked to go `down`."""

WANTED_BY: dict[Wish, Wanted] = {"up": "up", "restart": "up", "down": "down"}
"""What a wish makes wanted; `reset` and `check` leave that as it is."""


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance as the daemon saw it last; `since` is when its health became what it is.

    `server` and `guard` are its processes: they were the daemon's, and end with it. `fingerprint`
    is of the config that it was started with, `log_folder` where its server writes, or the last one
    did.
    """

    name: str
    wanted: Wanted = "down"
    health: HealthState = "unknown"
    detail: str = ""
    since: float | None = None
    server: Identity | None = None
    guard: Identity | None = None
    port: int | None = None
    url: str | None = None
    device: str | None = None
    started_at: float | None = None
    restarts: int = 0
    retry_at: float | None = None
    memory: int | None = None
    tokens_per_second: float | None = None
    fingerprint: str | None = None
    log_folder: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Something asked of the daemon; later ones have higher numbers.

    `asked_by` is the process that may be waiting for the outcome, None if nobody can be.
    """

    number: int
    name: str
    wish: Wish
    asked_at: float
    asked_by: Identity | None


_KINDS: dict[str, type[LlmevalError]] = {
    kind.__name__: kind
    for kind in (
        DaemonError,
        InstanceConfigError,
        ModelFileError,
        OrchestratorError,
        ServerError,
        ServerLostError,
        ServerStartError,
        StateError,
        UnknownInstanceError,
        WrongDeviceError,
    )
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: done when there is no `error`.

    `kind` names the class of the error, so that who waited raises what the daemon met.
    """

    error: str | None = None
    log_tail: tuple[str, ...] = ()
    kind: str = ""

    @classmethod
    def of(cls, error: LlmevalError) -> Outcome:
        """That it failed by `error`."""
        kind = type(error).__name__
        if isinstance(error, ServerError):
            return cls(error.message, error.log_tail, kind)
        return cls(str(error), (), kind)

    def raise_failure(self) -> None:
        """Raise what the daemon met, if it met anything."""
        if self.error is None:
            return
        kind = _KINDS.get(self.kind, ServerError)
        if issubclass(kind, ServerError):
            raise kind(self.error, log_tail=self.log_tail)
        raise kind(self.error)
