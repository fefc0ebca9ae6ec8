"""All lanes: who is started, who makes room for it, and who has been idle for too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace

from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.wire import PlainWire, make_wire
from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.orchestrator.front_door.keeping import Keeping, Terms
from pytest_llmeval.orchestrator.front_door.lane import Counts, Lane, NotServedError
from pytest_llmeval.orchestrator.front_door.room import Occupant
from pytest_llmeval.orchestrator.front_door.routing import names_of
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.visible import visible

LOOK_SECONDS = 1.0
"""How often the instances are looked at: others start, stop and edit them, too."""

LOST_LOOK_SECONDS = 0.05
"""How often to see whether a server's death has been noticed."""

FAILURE_SECONDS = 5.0
"""How long a start that failed is not tried again; who asks meanwhile gets the same answer."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """One instance as the front door sees it now, and what it has done since it opened."""

    name: str
    state: str
    in_flight: int
    queued: int
    counts: Counts


class Fleet:
    """Every instance's lane, kept in step with what the instances really do."""

    def __init__(self, keeping: Keeping, queue_limit: int) -> None:
        self._keeping = keeping
        self._queue_limit = queue_limit
        self._clock = asyncio.get_running_loop().time
        self._lanes: dict[str, Lane] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._turns: list[Lane] = []  # wanted ones, in the order in which they became so
        self._stirred = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.views: Mapping[str, InstanceView] = {}
        self.names: Mapping[str, str] = {}

    async def open(self) -> None:
        """Look at the instances once, and from then on."""
        await self.look()
        self._spawn(self._keep_looking())
        self._spawn(self._take_turns())

    async def close(self) -> None:
        """Stop looking; starts that are under way go on without us."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        wires = [lane.wire for lane in self._lanes.values() if lane.wire is not None]
        await asyncio.gather(*(wire.close() for wire in wires))

    def figures(self) -> tuple[LaneFigures, ...]:
        """What every lane is and has done, by name."""
        return tuple(
            LaneFigures(lane.name, lane.state, lane.in_flight, lane.queued, replace(lane.counts))
            for _, lane in sorted(self._lanes.items())
        )

    def lane(self, name: str) -> Lane:
        """The lane of an instance that there is; raises NotServedError if it cannot be asked."""
        lane = self._lanes[name]
        if lane.state == "ready":
            return lane
        until, why = self._failed.get(name, (0.0, ""))
        if self._clock() < until:
            raise NotServedError(why)
        view = self.views[name]
        if view.health == "error" and lane.state == "down":
            raise NotServedError(
                f"{name} has been given up ({view.detail}); once that is mended: "
                f"llama-orch up {name}"
            )
        return lane

    async def look(self) -> None:
        """See what the instances are, whoever made them so."""
        asked_at = self._clock()
        views = await self._keeping.overview()
        for view in views:
            self._lanes.setdefault(view.name, self._new_lane(view.name))
        self.views = {view.name: view for view in views}
        self.names = names_of(views)
        for view in views:
            await self._follow(view, asked_at)
        for name in self._lanes.keys() - self.views.keys():
            self._forget(name)

    # Following what happens --------------------------------------------------------------------

    def _new_lane(self, name: str) -> Lane:
        return Lane(name, limit=self._queue_limit, clock=self._clock, changed=self._stirred.set)

    async def _follow(self, view: InstanceView, asked_at: float) -> None:
        """Take a look's word for an instance, unless we have done something about it since."""
        lane = self._lanes[view.name]
        lane.slots = view.slots
        if view.health == "busy":
            lane.last_used = self._clock()  # others than we may be asking it
        if lane.state in {"starting", "stopping"} or lane.since > asked_at:
            return
        if view.ready:
            known = lane.state == "ready" and lane.pid == view.pid
            if not known and not lane.is_lost(view.pid):
                await self._adopt(lane, view)
        elif lane.state == "ready" and not (view.pid == lane.pid and view.health == "unreachable"):
            lane.became_down()

    async def _adopt(self, lane: Lane, view: InstanceView) -> None:
        """Ask one that somebody else has started, or the daemon again."""
        since = lane.since
        try:
            terms = await self._keeping.terms(lane.name)
            if lane.since == since and lane.state not in {"starting", "stopping"}:
                self._ready(lane, view, terms)
        except (LlmevalError, NotServedError) as error:
            self._start_failed(lane, f"{lane.name} cannot be asked: {error}")

    def _ready(self, lane: Lane, view: InstanceView, terms: Terms) -> None:
        if view.url is None:
            raise NotServedError(f"it was up, and is not any more: {view.detail or view.health}")
        wire = make_wire(Endpoint(view.url, timeout=terms.timeout, api_key=terms.api_key))
        assert isinstance(wire, PlainWire)  # instances are on this machine, without TLS
        # Requests on the old wire end with the old server.
        lane.wire, lane.pid, lane.ttl, lane.slots = wire, view.pid, terms.ttl, view.slots
        self._failed.pop(lane.name, None)
        lane.became_ready()

    def _forget(self, name: str) -> None:
        lane = self._lanes[name]
        lane.fail(f"the instance {name} has been removed")
        if lane.in_flight == 0 and lane.state == "down":
            del self._lanes[name]

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except LlmevalError as error:
                _log.warning("the instances cannot be looked at: %s", visible(str(error)))
            self._unload_unused()
            self._stirred.set()  # memory may have become free without us

    # Starting ----------------------------------------------------------------------------------

    async def _take_turns(self) -> None:
        """Start who is wanted, one after the other in order: so all get their room, also the
        largest.
        """
        while True:
            self._stirred.clear()
            known = set(map(id, self._turns))
            wanted = [lane for lane in self._lanes.values() if lane.state == "wanted"]
            self._turns += [lane for lane in wanted if id(lane) not in known]
            if not self._turns:
                await self._stirred.wait()
                continue
            lane = self._turns[0]
            if await self._has_room(lane):
                self._turns.remove(lane)

    async def _has_room(self, lane: Lane) -> bool:
        """Start a lane's instance if there is room, else bring room nearer; True: it is done."""
        if lane.state != "wanted" or not lane.queued:
            self._nobody_waits(lane)
            return True
        try:
            room = await self._keeping.room(lane.name, self._occupants(lane))
            victims = [self._lanes[name] for name in room.unload]
            if not all(victim.idle for victim in victims):
                return False  # one has got a request in the meantime
            await asyncio.gather(*map(self._take_down, victims))
        except LlmevalError as error:
            self._start_failed(lane, f"there is no room for {lane.name}: {error}")
            return True
        if not room.drain:
            lane.move("starting")
            self._spawn(self._start(lane))
            self._stay_all()
            return True
        for name in room.drain:
            self._lanes[name].make_way()
        await self._stirred.wait()
        return False

    def _occupants(self, wanted: Lane) -> tuple[Occupant, ...]:
        """Whoever has memory now, or is getting it."""
        return tuple(
            Occupant(lane.name, lane.last_used, lane.idle)
            for lane in self._lanes.values()
            if lane is not wanted and lane.state in {"ready", "starting", "stopping"}
        )

    async def _start(self, lane: Lane) -> None:
        lane.counts.starts += 1
        try:
            view, terms = await self._have_up(lane)
            self.views = {**self.views, lane.name: view}
            self._ready(lane, view, terms)
        except (LlmevalError, NotServedError) as error:
            self._start_failed(lane, f"{lane.name} cannot be started: {error}")
        except Exception as error:  # noqa: BLE001 # who waits must hear of it, whatever it is
            _log.exception("%s cannot be started", lane.name)
            self._start_failed(lane, f"{lane.name} cannot be started: {error!r}")

    async def _have_up(self, lane: Lane) -> tuple[InstanceView, Terms]:
        """Have a lane's instance running: not by a server that was lost a moment ago, which the
        daemon takes for running until it notices.
        """
        while True:
            view, terms = await self._keeping.up(lane.name)
            if not lane.is_lost(view.pid):
                return view, terms
            await asyncio.sleep(LOST_LOOK_SECONDS)

    def _start_failed(self, lane: Lane, why: str) -> None:
        self._failed[lane.name] = (self._clock() + FAILURE_SECONDS, why)
        lane.fail(why)

    def _nobody_waits(self, lane: Lane) -> None:
        if lane.state == "wanted":
            lane.move("down")
        self._stay_all()

    def _stay_all(self) -> None:
        """The turn is over: who was to make way for it may go on, and the next one asks anew."""
        for lane in self._lanes.values():
            lane.stay()

    # Unloading ---------------------------------------------------------------------------------

    def _unload_unused(self) -> None:
        for lane in self._lanes.values():
            unused = self._clock() - lane.last_used
            if lane.ttl is not None and unused >= lane.ttl and lane.idle and not lane.queued:
                self._spawn(self._unload(self._take_down(lane)))

    async def _unload(self, taking_down: Coroutine[None, None, None]) -> None:
        try:
            await taking_down
        except LlmevalError as error:
            _log.warning("an unused instance cannot be unloaded: %s", visible(str(error)))

    def _take_down(self, lane: Lane) -> Coroutine[None, None, None]:
        """Have one stopped. From this call on, before anything is awaited, who comes waits."""
        lane.move("stopping")
        return self._finish_taking_down(lane)

    async def _finish_taking_down(self, lane: Lane) -> None:
        lane.counts.unloads += 1
        wire, lane.wire = lane.wire, None
        try:
            if wire is not None:
                await wire.close()
            await self._keeping.down(lane.name)
        finally:  # where it did not work, the next look finds it running
            lane.became_down()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
