"""The proxy itself: it listens on 127.0.0.1, passes requests on, and has the plan disturb them.

One connection of a client has one to the server, and what ends one of them ends the other, so that
a client that gives up is seen by the server as without a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from pytest_llmeval.engines.address import Address, parse_address
from pytest_llmeval.errors import ConfigError, FaultError

from .http import NotHttp, Request
from .link import Link
from .plan import Hit, Plan
from .refusing import refusal
from .sides import HOST, Ending, Gone, Side, bind, connect, while_there
from .toxics import TOXICS, Closed, Reset, through
from .vocabulary import Fault


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
        self._is_waking = False

    @property
    def url(self) -> str:
        """What takes the place of the endpoint's url."""
        return f"http://{HOST}:{self.port}{self.address.path}"

    async def open(self) -> None:
        """Begin to listen. Raises FaultError when the endpoint, or the port, is not to be had."""
        side = await connect(self.address)
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
        """Go by another plan from the next request on; what was down is up again, unless the plan
        begins with a `down`.
        """
        self.plan = plan
        await self._rise_no_more()
        down = plan.at_once()
        if down is not None:
            self._record(down, 0, "", "")
            (self._stay_down if self._server is None else self._go_down)(down)
        elif self._server is None:
            await self._listen()

    async def close(self) -> None:
        """End every connection, and listen no more."""
        await self._rise_no_more()
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
        """Break everything, and refuse what comes: a port that is bound and not listened on.

        Requests that came together may each be hit; that is one going down.
        """
        if self._server is None:
            return
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
            self._is_waking = False
            self._rising = asyncio.ensure_future(self._rise(duration / 1000))

    async def _rise(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._is_waking = True  # a socket that begins to listen is nobody's when that is cancelled
        await self._listen()

    async def _rise_no_more(self) -> None:
        if self._rising is not None:
            if not self._is_waking:
                self._rising.cancel()
            await asyncio.wait([self._rising])
            self._rising, self._is_waking = None, False

    # One connection -------------------------------------------------------------------------------

    async def _serve(self, client: Side) -> None:
        """Serve a client until it goes, its server goes, or a fault ends it."""
        link = Link(client)
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

    async def _exchange(self, link: Link, request: Request, number: int) -> bool:
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

    async def _disturbed(self, link: Link, request: Request, hits: Sequence[Hit]) -> bool:
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
            reply = refusal(refused.fault, time.time(), head_only=request.asked.method == "HEAD")
            await link.client.send(through(_once(reply), back))
            return request.head.get("connection").lower() != "close"
        if link.server is None:
            link.server = await connect(self.address)
        rewrites = [hit for hit in hits if hit.fault.kind.layer == "answer"]
        sent = self._forwarded(request, readable=bool(rewrites))
        await link.server.send(through(_once(sent), toxics_of(hits, "upstream")))
        answer = link.reply(request.asked.method, rewrites)
        await link.client.send(through(answer, back))
        return link.goes_on

    def _forwarded(self, request: Request, *, readable: bool) -> bytes:
        head = request.head.plus("Host", self.address.place)
        if readable:
            head = head.without("accept-encoding")
        return head.encode() + request.body

    def _record(self, fault: Fault, number: int, method: str, path: str) -> None:
        seconds = time.monotonic() - self._began
        self._tell(Injected(seconds, number, method, path, fault.text))


def toxics_of(hits: Sequence[Hit], way: str) -> list[Hit]:
    """Those that act on bytes on their way in this direction."""
    return [
        hit
        for hit in hits
        if hit.fault.kind.name in TOXICS and hit.fault.values.get("stream") == way
    ]


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
