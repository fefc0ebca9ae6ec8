"""Who is started, waits, makes room and is unloaded: in virtual time, without a single socket."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.errors import DaemonError, LlmevalError, ServerStartError
from pytest_llmeval.orchestrator.front_door.fleet import FAILURE_SECONDS, Fleet
from pytest_llmeval.orchestrator.front_door.keeping import Terms
from pytest_llmeval.orchestrator.front_door.lane import (
    LaneFullError,
    NotServedError,
    retry_after,
)
from pytest_llmeval.orchestrator.front_door.room import Occupant, Room, make_room
from pytest_llmeval.orchestrator.views import InstanceView


class _NoWaiting(selectors.SelectSelector):
    """Instead of waiting it moves the loop's clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for nothing"
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which an hour is over as soon as nobody has anything to do in it."""

    def __init__(self) -> None:
        self._virtual = _NoWaiting()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(work: Coroutine[Any, Any, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


class Machine:
    """Instances of one size each, of which `room_for` fit; a start takes 10 s, a stop 1."""

    def __init__(self, *names: str, room_for: int | None = None, slots: int = 1, ttl: float = 0):
        self.views = {
            name: InstanceView(name, "down", "unknown", "", name, "cpu", None, slots, ())
            for name in names
        }
        self.room_for = room_for
        self.ttl = ttl or None
        self.calls: list[str] = []
        self.fails: LlmevalError | None = None
        self.most_up = 0

    async def overview(self) -> tuple[InstanceView, ...]:
        return tuple(self.views.values())

    async def up(self, name: str) -> tuple[InstanceView, Terms]:
        self.calls.append(f"up {name}")
        self._be(name, health="loading", pid=1, wanted="up")
        await asyncio.sleep(10)
        if self.fails is not None:
            self._be(name, health="unknown", pid=None)
            raise self.fails
        self._be(name, health="healthy", url="http://127.0.0.1:9")
        return self.views[name], await self.terms(name)

    async def terms(self, name: str) -> Terms:
        return Terms(self.ttl, 600)

    async def down(self, name: str) -> None:
        self.calls.append(f"down {name}")
        await asyncio.sleep(1)
        self._be(name, health="unknown", pid=None, url=None)

    async def room(self, wanted: str, occupants: Sequence[Occupant]) -> Room:
        return make_room(wanted, occupants, self._fits)

    def _fits(self, names: frozenset[str]) -> bool | None:
        return None if self.room_for is None else len(names) <= self.room_for

    def _be(self, name: str, **facts: Any) -> None:
        self.views[name] = replace(self.views[name], **facts)
        up = sum(view.pid is not None for view in self.views.values())
        self.most_up = max(self.most_up, up)


Use = Callable[[Fleet], Awaitable[None]]


def with_fleet(machine: Machine, use: Use, queue_limit: int = 64) -> None:
    async def main() -> None:
        fleet = Fleet(machine, queue_limit)
        await fleet.open()
        await use(fleet)
        await fleet.close()

    run(main())


async def ask(fleet: Fleet, name: str, seconds: float = 1.0) -> float:
    """One request; when it was answered."""
    lane = fleet.lane(name)
    place = await lane.enter()
    assert lane.state == "ready"
    try:
        await asyncio.sleep(seconds)
        assert lane.state == "ready", "taken down in the middle of a request"
    except BaseException:
        place.leave(served=False)
        raise
    place.leave(served=True)
    return asyncio.get_running_loop().time()


def asking(fleet: Fleet, name: str, count: int, seconds: float = 1.0) -> list[asyncio.Task[float]]:
    return [asyncio.ensure_future(ask(fleet, name, seconds)) for _ in range(count)]


def test_many_that_want_one_instance_start_it_once_and_come_in_their_order() -> None:
    machine = Machine("a", slots=2)

    async def use(fleet: Fleet) -> None:
        ends = await asyncio.gather(*asking(fleet, "a", 9))
        assert ends == sorted(ends)
        # Two slots and one request ahead: three at a time, of one second each.
        assert ends == [11.0] * 3 + [12.0] * 3 + [13.0] * 3

    with_fleet(machine, use)
    assert machine.calls == ["up a"]


def test_past_the_limit_of_the_queue_one_is_told_when_to_come_back() -> None:
    machine = Machine("a")

    async def use(fleet: Fleet) -> None:
        await asyncio.gather(*asking(fleet, "a", 3, seconds=4.0))
        there = asking(fleet, "a", 2 + 5, seconds=4.0)
        await asyncio.sleep(1)
        with pytest.raises(LaneFullError) as full:
            await fleet.lane("a").enter()
        assert full.value.waiting == 5
        assert full.value.retry_after == 20  # five before it, of 4 s each, in one slot
        await asyncio.gather(*there)
        assert fleet.figures()[0].counts.refused == 1

    with_fleet(machine, use, queue_limit=5)


@pytest.mark.parametrize(
    ("waiting", "slots", "service", "seconds"),
    [(64, 8, 2.5, 20), (1, 8, 0.001, 1), (0, 1, None, 1), (3, 1, None, 15)],
)
def test_when_to_come_back_is_estimated_from_recent_service(
    waiting: int, slots: int, service: float | None, seconds: int
) -> None:
    assert retry_after(waiting, slots, service) == seconds


def test_who_goes_leaves_the_queue_and_gives_back_what_he_was_given() -> None:
    machine = Machine("a")

    async def use(fleet: Fleet) -> None:
        first = asking(fleet, "a", 6, seconds=3.0)
        await asyncio.sleep(11)
        lane = fleet.lane("a")
        assert (lane.in_flight, lane.queued) == (2, 4)
        for gone in (first[0], first[2], first[5]):
            gone.cancel()
        await asyncio.sleep(0)
        assert (lane.in_flight, lane.queued) == (2, 1)
        # Given a place and cancelled before it could know: the place goes to the next one.
        first[1].cancel()
        await asyncio.sleep(0)
        first[4].cancel()
        await asyncio.gather(*first, return_exceptions=True)
        assert (lane.in_flight, lane.queued) == (0, 0)
        await asyncio.gather(*asking(fleet, "a", 2))

    with_fleet(machine, use)


def test_a_start_that_nobody_waits_for_any_more_is_not_begun() -> None:
    machine = Machine("a", "b", room_for=1)

    async def use(fleet: Fleet) -> None:
        long = asking(fleet, "a", 1, seconds=100.0)
        await asyncio.sleep(20)
        (waiting,) = asking(fleet, "b", 1)
        await asyncio.sleep(5)
        waiting.cancel()
        await asyncio.sleep(5)
        # Nobody needs a's room any more, so it takes requests again.
        assert await ask(fleet, "a") == 31.0
        await asyncio.gather(*long)

    with_fleet(machine, use)
    assert machine.calls == ["up a"]


def test_the_longest_unused_makes_room_and_no_more_than_needed() -> None:
    machine = Machine("a", "b", "c", room_for=2)

    async def use(fleet: Fleet) -> None:
        await ask(fleet, "a")
        await ask(fleet, "b")
        await ask(fleet, "a")
        await ask(fleet, "c")

    with_fleet(machine, use)
    assert machine.calls == ["up a", "up b", "down b", "up c"]


def test_nothing_makes_room_where_nobody_can_tell() -> None:
    machine = Machine("a", "b", "c")

    async def use(fleet: Fleet) -> None:
        for name in "abc":
            await ask(fleet, name)

    with_fleet(machine, use)
    assert machine.calls == ["up a", "up b", "up c"]


def test_one_in_use_is_waited_for_and_served_first() -> None:
    machine = Machine("a", "b", room_for=1)

    async def use(fleet: Fleet) -> None:
        (long,) = asking(fleet, "a", 1, seconds=60.0)
        await asyncio.sleep(20)
        assert await ask(fleet, "b") == 10 + 60 + 1 + 10 + 1
        assert long.done()

    with_fleet(machine, use)
    assert machine.calls == ["up a", "down a", "up b"]
    assert machine.most_up == 1


def test_two_models_that_need_each_others_memory_take_turns_and_none_starves() -> None:
    """Both are asked without a pause by four clients each, for an hour."""
    machine = Machine("a", "b", room_for=1)
    served = {"a": 0, "b": 0}
    waits: list[float] = []

    async def client(fleet: Fleet, name: str) -> None:
        clock = asyncio.get_running_loop().time
        while clock() < 3600:
            began = clock()
            await ask(fleet, name)
            waits.append(clock() - began)
            served[name] += 1

    async def use(fleet: Fleet) -> None:
        await asyncio.gather(*(client(fleet, name) for name in "ab" for _ in range(4)))

    with_fleet(machine, use)
    assert machine.most_up == 1
    assert 0.9 < served["a"] / served["b"] < 1.1
    # A turn: everybody who waits (4 s at most), a stop and a start; twice at most.
    assert max(waits) < 2 * (4 + 1 + 10) + 4
    assert machine.calls[:4] == ["up a", "down a", "up b", "down b"]


def test_a_large_one_is_not_passed_by_small_ones_for_ever() -> None:
    """Two small ones fit together and are asked all the time; the third needs all the room."""
    machine = Machine("a", "b", "large")

    def fits(names: frozenset[str]) -> bool:
        return names == {"large"} or "large" not in names

    machine._fits = fits  # type: ignore[method-assign]
    done: list[float] = []

    async def client(fleet: Fleet, name: str) -> None:
        while not done:
            await ask(fleet, name)

    async def use(fleet: Fleet) -> None:
        small = [asyncio.ensure_future(client(fleet, name)) for name in "ab" for _ in range(3)]
        await asyncio.sleep(30)
        done.append(await ask(fleet, "large"))
        await asyncio.gather(*small)

    with_fleet(machine, use)
    assert done[0] < 30 + 3 + 1 + 10 + 1 + 1


def test_an_unused_one_is_unloaded_after_its_time_and_never_in_the_middle_of_a_request() -> None:
    machine = Machine("a", ttl=30)

    async def use(fleet: Fleet) -> None:
        await ask(fleet, "a", seconds=300.0)
        assert machine.calls == ["up a"]
        await asyncio.sleep(29)
        await ask(fleet, "a")
        await asyncio.sleep(29)
        assert machine.calls == ["up a"]
        await asyncio.sleep(4)
        assert machine.calls == ["up a", "down a"]
        await ask(fleet, "a")
        assert fleet.figures()[0].counts.starts == 2
        assert fleet.figures()[0].counts.unloads == 1

    with_fleet(machine, use)


def test_who_comes_while_it_is_taken_down_waits_until_it_is_up_again() -> None:
    machine = Machine("a", ttl=30)

    async def use(fleet: Fleet) -> None:
        await ask(fleet, "a")
        await asyncio.sleep(30.5)
        assert machine.calls[-1] == "down a"
        assert fleet.lane("a").state == "stopping"
        await ask(fleet, "a")

    with_fleet(machine, use)
    assert machine.calls == ["up a", "down a", "up a"]


def test_a_start_that_fails_is_told_to_all_who_wait_and_for_a_while_to_who_comes() -> None:
    machine = Machine("a")
    machine.fails = ServerStartError("the file is no GGUF")

    async def use(fleet: Fleet) -> None:
        for refused in await asyncio.gather(*asking(fleet, "a", 3), return_exceptions=True):
            assert isinstance(refused, NotServedError)
            assert str(refused) == "a cannot be started: the file is no GGUF"
        with pytest.raises(NotServedError, match="no GGUF"):
            fleet.lane("a")
        assert machine.calls == ["up a"]
        machine.fails = None
        await asyncio.sleep(FAILURE_SECONDS)
        await ask(fleet, "a")

    with_fleet(machine, use)
    assert machine.calls == ["up a", "up a"]


def test_one_that_was_given_up_is_left_to_the_user() -> None:
    machine = Machine("a")
    machine._be("a", health="error", detail="5 restarts within 10 minutes")

    async def use(fleet: Fleet) -> None:
        with pytest.raises(NotServedError) as why:
            fleet.lane("a")
        assert str(why.value) == (
            "a has been given up (5 restarts within 10 minutes); once that is mended: "
            "llama-orch up a"
        )

    with_fleet(machine, use)
    assert machine.calls == []


def test_what_others_do_is_followed() -> None:
    """Started by hand it is asked at once; stopped by hand it is started when it is asked for."""
    machine = Machine("a")

    async def use(fleet: Fleet) -> None:
        machine._be("a", health="healthy", pid=7, url="http://127.0.0.1:9")
        await asyncio.sleep(2)
        assert await ask(fleet, "a") == 3.0
        machine._be("a", health="unreachable")  # too busy to answer, perhaps
        await asyncio.sleep(2)
        assert fleet.lane("a").state == "ready"
        machine._be("a", health="unknown", pid=None)
        await asyncio.sleep(2)
        assert fleet.lane("a").state == "down"
        await ask(fleet, "a")
        assert machine.calls == ["up a"]

    with_fleet(machine, use)


def test_a_server_where_nobody_listens_is_not_asked_again_before_its_death_is_noticed() -> None:
    """No look at it brings it back, nor the daemon, which takes it for running for a moment."""
    machine = Machine("a")

    async def up(name: str) -> tuple[InstanceView, Terms]:
        machine.calls.append("up")
        if asyncio.get_running_loop().time() > noticed_at:
            machine._be(name, health="healthy", pid=8, url="http://127.0.0.1:9")
        return machine.views[name], await machine.terms(name)

    machine.up = up  # type: ignore[method-assign]
    machine._be("a", health="healthy", pid=7, url="http://127.0.0.1:9")
    noticed_at = 0.25

    async def use(fleet: Fleet) -> None:
        lane = fleet.lane("a")
        assert lane.wire is not None
        lane.lost(lane.wire)
        await fleet.look()
        assert lane.state == "down"
        await ask(fleet, "a")
        assert lane.pid == 8
        assert 5 <= len(machine.calls) <= 7  # every 50 ms

    with_fleet(machine, use)


def test_a_server_that_goes_on_to_run_after_it_was_lost_is_asked_again() -> None:
    """Perhaps it has only turned one connection away."""
    machine = Machine("a")

    async def up(name: str) -> tuple[InstanceView, Terms]:
        return machine.views[name], await machine.terms(name)

    machine.up = up  # type: ignore[method-assign]
    machine._be("a", health="healthy", pid=7, url="http://127.0.0.1:9")

    async def use(fleet: Fleet) -> None:
        lane = fleet.lane("a")
        assert lane.wire is not None
        lane.lost(lane.wire)
        assert 2.0 <= await ask(fleet, "a") < 2.1  # a second each: not believed, and the answer
        assert lane.pid == 7

    with_fleet(machine, use)


def test_one_that_ends_as_soon_as_it_is_up_is_told_as_such() -> None:
    machine = Machine("a")

    async def up(name: str) -> tuple[InstanceView, Terms]:
        machine._be(name, detail="the server ended: killed by signal 9")
        return machine.views[name], await machine.terms(name)

    machine.up = up  # type: ignore[method-assign]

    async def use(fleet: Fleet) -> None:
        with pytest.raises(NotServedError) as told:
            await ask(fleet, "a")
        assert str(told.value) == (
            "a cannot be started: it was up, and is not any more: "
            "the server ended: killed by signal 9"
        )

    with_fleet(machine, use)


def test_a_lane_of_a_removed_instance_is_forgotten_with_its_queue_told() -> None:
    machine = Machine("a", "b", room_for=1)

    async def use(fleet: Fleet) -> None:
        (long,) = asking(fleet, "a", 1, seconds=30.0)
        await asyncio.sleep(15)
        (waiting,) = asking(fleet, "b", 1)
        await asyncio.sleep(2)
        del machine.views["b"]
        with pytest.raises(NotServedError, match="b has been removed"):
            await waiting
        await long
        await asyncio.sleep(2)
        assert [figures.name for figures in fleet.figures()] == ["a"]

    with_fleet(machine, use)


def test_trouble_with_taking_down_is_told_and_does_not_end_the_door() -> None:
    machine = Machine("a", "b", room_for=1)

    async def refuse(name: str) -> None:
        raise DaemonError(f"no daemon to stop {name}")

    async def use(fleet: Fleet) -> None:
        await ask(fleet, "a")
        machine.down = refuse  # type: ignore[method-assign]
        with pytest.raises(NotServedError, match="no room for b: no daemon to stop a"):
            await ask(fleet, "b")
        await asyncio.sleep(2)
        await ask(fleet, "a")

    with_fleet(machine, use)
    assert machine.calls == ["up a"]
