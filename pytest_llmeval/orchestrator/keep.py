"""One instance as its keeper knows it, what may happen to it, and what may be to do, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_llmeval.orchestrator.rows import Outcome, Wish
from pytest_llmeval.orchestrator.views import Wanted
from pytest_llmeval.servers.spec import RestartPolicy
from pytest_llmeval.servers.vitals import Answered, HealthPolicy, NoAnswer, Vitals
from pytest_llmeval.servers.watching import Watched

Phase = Literal["down", "starting", "running", "stopping", "waiting", "error"]
"""Where an instance is: `waiting` for its restart's time; `error` lasts until it is asked for."""

Then = Literal["down", "start", "wait", "error"]
"""What follows once a server that is being stopped is gone."""


@dataclass(frozen=True, slots=True)
class Policies:
    """How one instance is watched and restarted, as its config says."""

    health: HealthPolicy = field(default_factory=HealthPolicy)
    restart: RestartPolicy = field(default_factory=RestartPolicy)


@dataclass(frozen=True, slots=True)
class Keep:
    """What is known of one instance. Times are seconds since 1970.

    `start` numbers its starts, `check` its health checks. `by_hand` is whether somebody asked for
    the current start, rather than the restart policy. `rising`, `ending` and `looking` are the
    numbers of the requests that wait for it to be up, to be gone, to be looked at. `restarts`
    counts those since it was last brought up by hand.
    """

    wanted: Wanted = "down"
    phase: Phase = "down"
    watched: Watched = field(default_factory=Watched)
    policies: Policies = Policies()
    restarts: int = 0
    start: int = 0
    by_hand: bool = False
    then: Then = "down"
    rising: tuple[int, ...] = ()
    ending: tuple[int, ...] = ()
    looking: tuple[int, ...] = ()
    retry_at: float | None = None
    check: int = 0
    check_at: float | None = None
    check_until: float | None = None

    @property
    def vitals(self) -> Vitals:
        """How it is."""
        return self.watched.vitals


# What may happen ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked for something, and waits for the outcome of this number."""

    number: int
    wish: Wish


@dataclass(frozen=True, slots=True)
class Needed:
    """It is to be up without anybody asking now: the daemon has just started."""


@dataclass(frozen=True, slots=True)
class Given:
    """The config of a start has been read, and says this."""

    start: int
    policies: Policies


@dataclass(frozen=True, slots=True)
class Loading:
    """What a starting server does now, in words."""

    start: int
    detail: str


@dataclass(frozen=True, slots=True)
class CameUp:
    """A server is up and healthy."""

    start: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A start has failed and left nothing behind; `final` if trying again cannot help."""

    start: int
    outcome: Outcome
    final: bool


@dataclass(frozen=True, slots=True)
class Died:
    """A server that was up has ended by itself."""

    start: int
    description: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A server that was to be stopped is gone, or a start that was to be given up."""

    start: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A health check has ended."""

    start: int
    check: int
    found: Answered | NoAnswer


@dataclass(frozen=True, slots=True)
class Quit:
    """The daemon ends, and everything with it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Happened = (
    Asked | Needed | Given | Loading | CameUp | StartFailed | Died | Gone | Looked | Quit | Tick
)


# What may be to do --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start a server; `anew` if its config is to be read again."""

    start: int
    anew: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """End the server of this start, or give the start up."""

    start: int


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the server for its health."""

    start: int
    check: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Tell those who asked that it is done, or why not."""

    numbers: tuple[int, ...]
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True, slots=True)
class Restarting:
    """It will be started again: the `number`-th restart in a row, after `delay` seconds."""

    number: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Want:
    """Note that something else is wanted now than what was asked for last."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Tell:
    """Note what happened, for people."""

    kind: str
    text: str


Deed = Start | Stop | Look | Finish | Restarting | Want | Tell
Decision = tuple[Keep, tuple[Deed, ...]]
