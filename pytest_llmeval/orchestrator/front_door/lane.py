"""The requests for one instance: those that are with it, and those that wait in their order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.engines.wire import PlainWire

UNMEASURED_SECONDS = 5.0
"""What a request is taken to last before one has been measured."""

LOST_SECONDS = 1.0
"""How long a server where nobody listens any more is not believed to run: by then its death, which
is noticed within a quarter of that, has been written down.
"""

LaneState = Literal["down", "wanted", "starting", "ready", "stopping"]
"""Whether the instance of a lane can be asked.

- down: it does not run, and nobody waits for it.
- wanted: somebody waits for it; it is started when it is its turn and there is room.
- starting: it is being brought up.
- ready: requests are sent.
- stopping: it is being taken down; who comes now waits until it is up again.
"""


class LaneFullError(Exception):
    """So many wait that one more is refused; `retry_after` is when to come back, in seconds."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(waiting)
        self.waiting = waiting
        self.retry_after = retry_after


class NotServedError(Exception):
    """The instance cannot be asked; the text says why."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue; numbers grow."""

    number: int
    turn: asyncio.Future[None]


@dataclass(slots=True)
class Counts:
    """What a lane has done so far. `seconds` are those that answers took, queueing left out."""

    requests: int = 0
    failures: int = 0
    refused: int = 0
    starts: int = 0
    unloads: int = 0
    seconds: float = 0.0


class Place:
    """A request's place with an instance, given back once."""

    def __init__(self, lane: Lane, since: float) -> None:
        self._lane = lane
        self._since = since
        self._left = False

    def leave(self, *, served: bool) -> None:
        """Give it back, after a whole answer or not; afterwards this does nothing."""
        if not self._left:
            self._left = True
            if served:
                self._lane.served(self._since)
            self._lane.free_place()


def places(slots: int) -> int:
    """How many requests are with a server at once: more than its slots, so that none idles during
    a round trip.

    Answers that were begun together often end together, so one more is too few: half of the slots
    find their next request there, and the other half is asked meanwhile. All of them would find it
    with twice the slots, but who waits at a server waits within its time limit.
    """
    return slots + max(1, slots // 2)


def retry_after(waiting: int, slots: int, service: float | None) -> int:
    """When one of `waiting` places will be free, in whole seconds, by recent times of service."""
    return max(1, math.ceil(waiting / slots * (service or UNMEASURED_SECONDS)))


class Lane:
    """One instance's queue. At most `places` requests are with it.

    `changed` is called when something has become possible that was not: it needs its instance, or
    has become idle. All belongs to one event loop; `clock` is the loop's.
    """

    def __init__(
        self, name: str, *, limit: int, clock: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self.name = name
        self.state: LaneState = "down"
        self.since = -math.inf  # any look at its instance is news
        self.slots = 1
        self.in_flight = 0
        self.last_used = clock()
        self.ttl: float | None = None
        self.wire: PlainWire | None = None
        self.pid: int | None = None
        self.counts = Counts()
        self._limit = limit
        self._clock = clock
        self._changed = changed
        self._waiting: deque[Ticket] = deque()
        self._newest = 0
        self._last_of_turn: int | None = None
        self._leaves = False
        self._service: float | None = None
        self._lost_at = -math.inf

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nobody is with the instance, and nobody that waits has a turn with it any more."""
        return self.in_flight == 0 and self.state == "ready" and not self._next_may_go()

    async def enter(self) -> Place:
        """Wait for a place with the instance. Who is cancelled leaves the queue.

        Raises LaneFullError, and NotServedError when the instance cannot be started.
        """
        self.counts.requests += 1
        if self._has_place() and not self._waiting and not self._leaves:
            self.in_flight += 1
            return Place(self, self._clock())
        if len(self._waiting) >= self._limit:
            self.counts.refused += 1
            raise LaneFullError(self.queued, retry_after(self.queued, self.slots, self._service))
        self._newest += 1
        ticket = Ticket(self._newest, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        self.want()
        try:
            await ticket.turn
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise
        return Place(self, self._clock())

    def served(self, since: float) -> None:
        """Count a request that has been answered in full, from then to now."""
        seconds = self._clock() - since
        self.counts.seconds += seconds
        recent = self._service
        self._service = seconds if recent is None else 0.9 * recent + 0.1 * seconds

    def free_place(self) -> None:
        """One that was with the instance is no more (`Place.leave`)."""
        self.in_flight -= 1
        self.last_used = self._clock()
        self._let_in()
        if self.in_flight == 0:
            self._changed()

    def lost(self, wire: PlainWire) -> None:
        """Nobody listens where this wire leads: it must be started again."""
        if self.state == "ready" and self.wire is wire:
            self._lost_at = self._clock()
            self.became_down()

    def is_lost(self, pid: int | None) -> bool:
        """Whether this server has just been lost, although it may still be said to run."""
        return pid == self.pid and self._clock() - self._lost_at < LOST_SECONDS

    def move(self, state: LaneState) -> None:
        """Note what the instance has become, and when."""
        self.state, self.since = state, self._clock()

    def want(self) -> None:
        """Ask for the instance if it is down."""
        if self.state == "down" and self._waiting:
            self.move("wanted")
        self._let_in()
        self._changed()

    def became_ready(self) -> None:
        """Its instance can be asked: let in who waits.

        A lane that others wait for keeps its place for all who came while it was started.
        """
        self.move("ready")
        self.last_used = self._clock()
        if self._leaves:
            self._last_of_turn = self._newest
        self._let_in()
        self._changed()

    def became_down(self) -> None:
        """Its instance is gone; who waits wants it again."""
        self.move("down")
        self.stay()
        self.want()

    def fail(self, why: str) -> None:
        """Its instance cannot be started: nobody waits any longer."""
        self.move("down")
        self.stay()
        waiting, self._waiting = self._waiting, deque()
        for ticket in waiting:
            if not ticket.turn.done():
                self.counts.failures += 1
                ticket.turn.set_exception(NotServedError(why))
        self._changed()

    def make_way(self) -> None:
        """Serve those who wait now, and none that comes later, so that it becomes idle."""
        if self._leaves:
            return
        self._leaves = True
        if self.state == "ready":
            self._last_of_turn = self._newest

    def stay(self) -> None:
        """Nobody needs its room any more."""
        self._leaves, self._last_of_turn = False, None
        self._let_in()

    def _has_place(self) -> bool:
        return self.state == "ready" and self.in_flight < places(self.slots)

    def _next_may_go(self) -> bool:
        if not self._waiting:
            return False
        return self._last_of_turn is None or self._waiting[0].number <= self._last_of_turn

    def _let_in(self) -> None:
        while self._has_place() and self._next_may_go():
            ticket = self._waiting.popleft()
            if not ticket.turn.done():
                self.in_flight += 1
                ticket.turn.set_result(None)

    def _withdraw(self, ticket: Ticket) -> None:
        """Give up a place in the queue, or one with the instance that was just given."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._changed()
        elif ticket.turn.done() and not ticket.turn.cancelled() and not ticket.turn.exception():
            self.free_place()
