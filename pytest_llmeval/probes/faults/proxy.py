"""The proxy itself: it listens on 127.0.0.1, passes requests on, and has the plan disturb them.

One connection of a client has one to the server, and what ends one of them ends the other, so that
a client that gives up is seen by the server as without a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_llmeval.engines.address import Address, parse_address
from pytest_llmeval.errors import ConfigError, FaultError

from .http import HEAD_LIMIT, Head, NotHttp, Request, read_head, read_request
from .plan import Hit, Plan
from .refusing import refusal
from .replying import reply_bytes
from .toxics import TOXICS, Closed, Reset, through
from .vocabulary import Fault

HOST = "127.0.0.1"
CONNECT_WITHIN = 5.0
"""Seconds that the server may take to accept a connection."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that has happened: `seconds` after the proxy began, to which request (from 1).

    A `down` that waited for no request has number 0 and no path.
    """

    seconds: float
    request: int
    method: str
    path: str
    fault: str


class Gone(Exception):
    """The other side of an exchange has ended its connection."""


class Ending(asyncio.StreamReader):
    """A reader that says when the other side has ended, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__(limit=HEAD_LIMIT)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        """Called by asyncio."""
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        """Called by asyncio."""
        super().set_exception(exc)
        self.ended.set()


@dataclass(slots=True)
class Side:
    """One of the two connections of a link."""

    reader: Ending
    writer: asyncio.StreamWriter

    async def send(self, pieces: AsyncIterator[bytes]) -> None:
        """Write pieces as they come, no faster than they are taken."""
        async for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        """End it with a RST."""
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        sock: socket.socket | None = self.writer.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # it may have ended by itself
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def close(self, delay: float = 0.0) -> None:
        """End it in order, what was written first."""
        try:
            await asyncio.sleep(delay)
        finally:
            self.writer.close()


class FaultServer:
    """Stands before one endpoint, in a running event loop. `tell` gets each fault that happens."""

    def __init__(self, url: str, plan: Plan, tell: Callable[[Injected], None], port: int = 0):
        self.address = upstream_address(url)
        self.plan = plan
        self.port = port
        self.requests = 0
        self._tell = tell
        self._began = time.monotonic()
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._links: dict[asyncio.Task[None], Side] = {}
        self._rising: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """What takes the place of the endpoint's url."""
        return f"http://{HOST}:{self.port}{self.address.path}"

    async def open(self) -> None:
        """Begin to listen. Raises FaultError when the endpoint, or the port, is not to be had."""
        side = await self._connect()
        await side.close()
        self._held = bind(self.port)
        self.port = self._held.getsockname()[1]
        down = self.plan.at_once()
        if down is None:
            await self._listen()
        else:
            self._record(down, 0, "", "")
            self._stay_down(down)

    async def change(self, plan: Plan) -> None:
        """Go by another plan from the next request on; what was down is up again."""
        self.plan = plan
        if self._server is None:
            if self._rising is not None:
                self._rising.cancel()
            await self._listen()

    async def close(self) -> None:
        """End every connection, and listen no more."""
        if self._rising is not None:
            self._rising.cancel()
        if self._server is not None:
            self._server.close()
        if self._held is not None:
            self._held.close()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Listening ------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        held, self._held = self._held or bind(self.port), None
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(Ending(), self._accept), sock=held
        )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, Ending)
        client = Side(reader, writer)
        task = asyncio.ensure_future(self._serve(client))
        self._links[task] = client
        task.add_done_callback(lambda task: self._links.pop(task, None))

    def _go_down(self, fault: Fault) -> None:
        """Break everything, and refuse what comes: a port that is bound and not listened on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, client in list(self._links.items()):
            client.reset()
            if task is not asyncio.current_task():
                task.cancel()
        self._stay_down(fault)

    def _stay_down(self, fault: Fault) -> None:
        with contextlib.suppress(FaultError):  # held for nobody else to take; it is refused anyway
            self._held = self._held or bind(self.port)
        if duration := fault.number("duration"):
            self._rising = asyncio.ensure_future(self._rise(duration / 1000))

    async def _rise(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()

    # One connection -------------------------------------------------------------------------------

    async def _serve(self, client: Side) -> None:
        """Serve a client until it goes, its server goes, or a fault ends it."""
        link = _Link(client)
        try:
            while (request := await link.next_request()) is not None:
                self.requests += 1
                if not await while_there(client, self._exchange(link, request, self.requests)):
                    break
        except (Reset, NotHttp, OSError, FaultError):  # the last: the server has gone
            client.reset()
        except (Closed, Gone):
            pass
        except asyncio.CancelledError:
            link.delays.clear()
            raise
        finally:
            await link.close()

    async def _exchange(self, link: _Link, request: Request, number: int) -> bool:
        """Answer one request, disturbed as planned; whether the connection goes on."""
        asked, plan = request.asked, self.plan
        hits = plan.choose(asked)
        for hit in hits:
            hit.tell = lambda fault: self._record(fault, number, asked.method, asked.path)
        try:
            return await self._disturbed(link, request, hits)
        finally:
            for hit in hits:
                if not hit.happened:
                    plan.take_back(hit)

    async def _disturbed(self, link: _Link, request: Request, hits: Sequence[Hit]) -> bool:
        for hit in hits:
            if hit.fault.kind.name == "down":
                hit.happen()
                self._go_down(hit.fault)
                raise Reset
            if hit.fault.kind.name == "slow_close":
                hit.happen()
                link.delays[str(hit.fault.values["stream"])] = hit.fault.number("delay") / 1000
        back = toxics_of(hits, "downstream")
        refused = next((hit for hit in hits if hit.fault.kind.layer == "refusal"), None)
        if refused is not None:
            refused.happen()
            await link.client.send(through(_once(refusal(refused.fault, time.time())), back))
            return request.head.get("connection").lower() != "close"
        if link.server is None:
            link.server = await self._connect()
        rewrites = [hit for hit in hits if hit.fault.kind.layer == "answer"]
        sent = self._forwarded(request, readable=bool(rewrites))
        await link.server.send(through(_once(sent), toxics_of(hits, "upstream")))
        reply = link.reply(request.asked.method, rewrites)
        await link.client.send(through(reply, back))
        return link.goes_on

    def _forwarded(self, request: Request, *, readable: bool) -> bytes:
        head = request.head.plus("Host", self.address.place)
        if readable:
            head = head.without("accept-encoding")
        return head.encode() + request.body

    async def _connect(self) -> Side:
        address = self.address
        loop = asyncio.get_running_loop()
        reader = Ending()
        protocol = asyncio.StreamReaderProtocol(reader)
        opening = loop.create_connection(lambda: protocol, address.host, address.port)
        try:
            transport, _ = await asyncio.wait_for(opening, CONNECT_WITHIN)
        except (OSError, UnicodeError, asyncio.TimeoutError) as error:
            why = str(error) or f"no connection within {CONNECT_WITHIN:g} s"
            raise FaultError(
                f"nothing answers at {address.place} ({why}): start the server first, or correct "
                "the url"
            ) from error
        return Side(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    def _record(self, fault: Fault, number: int, method: str, path: str) -> None:
        seconds = time.monotonic() - self._began
        self._tell(Injected(seconds, number, method, path, fault.text))


class _Link:
    """A client's connection and, from its first request on, the one to the server.

    `delays` are the seconds by which the end of a side is put off.
    """

    def __init__(self, client: Side) -> None:
        self.client = client
        self.server: Side | None = None
        self.goes_on = True
        self.delays: dict[str, float] = {}

    async def next_request(self) -> Request | None:
        """The client's next request; None when it, or meanwhile the server, has gone."""
        reading = read_request(self.client.reader, self.client.writer)
        if self.server is None:
            return await reading
        try:
            return await while_there(self.server, reading)
        except Gone:
            return None

    async def reply(self, method: str, rewrites: Sequence[Hit]) -> AsyncIterator[bytes]:
        """The server's reply as it is to be sent, interim ones before it."""
        assert self.server is not None
        while True:
            head = await read_head(self.server.reader)
            if head is None or head.status == 101:
                raise NotHttp("it went away, or changed its protocol")
            if head.status >= 200:
                break
            yield head.encode()
        self.goes_on = keeps(head)
        async for piece in reply_bytes(head, self.server.reader, method, rewrites):
            yield piece

    async def close(self) -> None:
        """End both sides."""
        ends = [self.client.close(self.delays.get("downstream", 0.0))]
        if self.server is not None:
            ends.append(self.server.close(self.delays.get("upstream", 0.0)))
        await asyncio.gather(*ends)


def keeps(head: Head) -> bool:
    """Whether a connection goes on after a reply."""
    told = head.get("connection").lower()
    ends_itself = head.get("content-length") or head.get("transfer-encoding")
    return (
        bool(ends_itself or head.status in {204, 304})
        and told != "close"
        and (head.first.startswith("HTTP/1.1") or bool(told))
    )


def toxics_of(hits: Sequence[Hit], way: str) -> list[Hit]:
    """Those that act on bytes on their way in this direction."""
    return [
        hit
        for hit in hits
        if hit.fault.kind.name in TOXICS and hit.fault.values.get("stream") == way
    ]


async def while_there(side: Side, work: Coroutine[Any, Any, Result]) -> Result:
    """Do something as long as a side is there; raises Gone when it ends its connection first."""
    task = asyncio.ensure_future(work)
    ended = asyncio.ensure_future(side.reader.ended.wait())
    try:
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        for each in (task, ended):
            each.cancel()
        await asyncio.gather(task, ended, return_exceptions=True)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def upstream_address(url: str) -> Address:
    """Where the endpoint is; raises FaultError for what the proxy cannot stand before."""
    try:
        address = parse_address(url)
    except ConfigError as error:
        raise FaultError(error.message) from error
    if address.scheme != "http":
        raise FaultError(
            f"{url} is https, and the fault proxy reads what passes: give the http url of a server "
            "on this machine, such as http://127.0.0.1:8080"
        )
    return address


def bind(port: int) -> socket.socket:
    """Take a port of this machine, 0 for a free one; raises FaultError when it is taken."""
    sock = socket.socket()
    if sys.platform == "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except (OSError, OverflowError) as error:
        sock.close()
        raise FaultError(
            f"port {port} of {HOST} cannot be taken ({error}): give another one, or none for a "
            "free one"
        ) from error
    return sock
