"""The front door: listens, and lets clients in."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_llmeval.orchestrator.front_door.access import check_key
from pytest_llmeval.orchestrator.front_door.client import Client
from pytest_llmeval.orchestrator.front_door.fleet import Fleet, LaneFigures
from pytest_llmeval.orchestrator.front_door.keeping import ThreadedKeeping
from pytest_llmeval.orchestrator.front_door.messages import error
from pytest_llmeval.orchestrator.front_door.reading import Limits
from pytest_llmeval.orchestrator.front_door.room import Fits
from pytest_llmeval.orchestrator.front_door.serving import Serving
from pytest_llmeval.orchestrator.listening import listen
from pytest_llmeval.orchestrator.views import Instances

PORT = 9641
"""Where it listens unless told otherwise."""

QUEUE_LIMIT = 64
"""How many requests may wait for one instance."""

LIMITS = Limits()

TOO_MANY = error(
    503,
    "So many connections are open that no more are taken; close those that are not needed.",
    code="too_many_connections",
    retry_after=1,
)

SWEEP_SECONDS = 0.5
"""How often connections are looked at for those that take too long."""


@dataclass(frozen=True, slots=True)
class DoorFigures:
    """The front door now: open connections, and what every instance's lane does."""

    clients: int
    instances: tuple[LaneFigures, ...]


class FrontDoor:
    """Made by `open_front_door`; belongs to one event loop."""

    def __init__(
        self, listening: socket.socket, fleet: Fleet, key: str | None, limits: Limits
    ) -> None:
        self._listening = listening
        self._fleet = fleet
        self._serving = Serving(fleet, key)
        self._limits = limits
        self._clients: set[Client] = set()
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        number: int = self._listening.getsockname()[1]
        return number

    def snapshot(self) -> DoorFigures:
        """What goes on, as data."""
        return DoorFigures(len(self._clients), self._fleet.figures())

    async def open(self) -> None:
        """Begin to answer; raises LlmevalError where the instances cannot be looked at."""
        await self._fleet.open()
        self._server = await self._loop.create_server(self._welcome, sock=self._listening)
        self._sweep()

    async def close(self) -> None:
        """Stop listening and break off what is still going on. Instances stay as they are."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.abort()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next round
        await self._fleet.close()

    def _welcome(self) -> Client:
        client = Client(self._serving.serve, self._limits, self._loop.time, self._clients.discard)
        if len(self._clients) >= self._limits.clients:
            client.refuse(TOO_MANY)
        self._clients.add(client)
        return client

    def _sweep(self) -> None:
        now = self._loop.time()
        for client in tuple(self._clients):
            client.close_if_overdue(now)
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)


class DoorListener:
    """A front door on a socket that is bound already (`listening.Listener`)."""

    def __init__(
        self,
        instances: Instances,
        listening: socket.socket,
        key: str | None,
        fits: Fits,
        environ: Mapping[str, str],
    ) -> None:
        self._keeping = ThreadedKeeping(instances, fits, environ)
        self._listening = listening
        self._key = key
        self._ended = asyncio.Event()
        self._door: FrontDoor | None = None

    @property
    def figures(self) -> DoorFigures | None:
        """What goes on at the door; None while it is not open. To be asked in its loop."""
        return self._door.snapshot() if self._door is not None else None

    async def run(self) -> None:
        """Answer until `stop`."""
        fleet = Fleet(self._keeping, QUEUE_LIMIT)
        door = FrontDoor(self._listening, fleet, self._key, LIMITS)
        try:
            await door.open()
            self._door = door
            await self._ended.wait()
        finally:
            self._door = None
            await door.close()

    def stop(self) -> None:
        """End soon, and break off what is still going on."""
        self._ended.set()


async def open_front_door(
    instances: Instances,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    key: str | None = None,
    fits: Fits = lambda _names: None,
    environ: Mapping[str, str] = os.environ,
    queue_limit: int = QUEUE_LIMIT,
    limits: Limits = LIMITS,
) -> FrontDoor:
    """Open the front door; port 0 takes a free one. Raises LlmevalError.

    `key` is what requests must carry, and needed on any host but the loopback interface. `fits`
    says which instances fit into memory together. `environ` has the keys of the servers.
    """
    check_key(host, key)
    listening = listen(host, port, "--proxy-port")
    fleet = Fleet(ThreadedKeeping(instances, fits, environ), queue_limit)
    door = FrontDoor(listening, fleet, key, limits)
    try:
        await door.open()
    except BaseException:
        listening.close()
        raise
    return door
