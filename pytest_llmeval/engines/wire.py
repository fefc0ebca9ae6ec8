"""Requests over HTTP/1.1 with as little work as possible.

This is the one place where our own code beats a library: a run makes many thousands of small
requests to a server on the same machine, and a general client costs more than the server does
(httpx 1.0 to 1.4 ms of CPU a request, this 0.05 to 0.07). So it does only what servers of this
kind need: plain http, keep-alive, one request at a time on a connection, whole bodies. Everything
else is `secure.py`, behind the same `Wire`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from pytest_llmeval.engines.address import Address, parse_address
from pytest_llmeval.engines.connection import Connection, Flow, Reply, Sink, Taker, no_connection
from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.errors import (
    ConfigError,
    EndpointAbsent,
    EndpointTimeout,
    EndpointUnreachable,
)

__all__ = ["Flow", "PlainWire", "Taker", "Wire", "fits_header", "make_wire"]

Start = Callable[[Connection, float], "asyncio.Future[Reply]"]
"""Writes a request to a connection at this time of the loop; the future brings its end."""


class Wire(Protocol):
    """A way to send requests to one endpoint."""

    async def send(
        self, method: str, path: str, body: bytes = b"", sink: Sink | None = None
    ) -> Reply:
        """Send one request and wait for the whole reply, whatever its status.

        `path` is appended to that of the endpoint's url. With a sink, the body of a stream of
        events (status 200, text/event-stream) goes there as it comes. Raises `EndpointUnreachable`,
        `EndpointTimeout`, `BadAnswer` for what is not HTTP or beyond the size limits, and what the
        sink raises. The timeout holds for the whole: no stream can stall or drip beyond it.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class PlainWire:
    """Keep-alive connections to one http endpoint, as many as there are requests at once."""

    def __init__(self, address: Address, *, headers: Mapping[str, str], timeout: float) -> None:
        self._address = address
        self._headers = headers
        self._timeout = timeout
        self._heads: dict[tuple[str, str], bytes] = {}
        self._own_lines: bytes | None = None
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._closed = False

    async def send(
        self, method: str, path: str, body: bytes = b"", sink: Sink | None = None
    ) -> Reply:
        """Send on an idle connection or a new one, never on two but for a stale one (`Wire`)."""
        head = self._heads.get((method, path)) or self._make_head(method, path)
        payload = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        return await self._ask(lambda connection, now: connection.send(payload, now, sink))

    async def relay(self, request_line: bytes, headers: bytes, body: bytes, taker: Taker) -> None:
        """Pass on somebody else's request, and to `taker` its reply as it comes, of any length.

        `headers` are whole lines, without Host, Content-Length and what is about the connection.
        Raises as `send` does, also after the taker has begun: then the reply is incomplete. When
        cancelled, the server learns at once that nobody waits any more.
        """
        if self._own_lines is None:
            self._own_lines = self._make_own_lines()
        payload = b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
            request_line,
            self._own_lines,
            headers,
            len(body),
            body,
        )
        await self._ask(lambda connection, now: connection.relay(payload, now, taker))

    async def close(self) -> None:
        """Close every connection; requests in flight fail as unreachable."""
        self._closed = True
        for connection in tuple(self._open):
            connection.fail(EndpointUnreachable(f"Gave {self._address.place} up: closing"))
        await asyncio.sleep(0)  # asyncio closes the sockets in its next round

    async def _ask(self, start: Start) -> Reply:
        """Use an idle connection or a new one, and never two but where the first was stale."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        if self._idle:
            connection = self._idle.pop()
            try:
                return await self._exchange(connection, start, deadline)
            except EndpointUnreachable:
                if self._closed or not connection.was_stale(loop.time()):
                    raise
        return await self._exchange(await self._connect(deadline), start, deadline)

    async def _exchange(self, connection: Connection, start: Start, deadline: float) -> Reply:
        loop = asyncio.get_running_loop()
        waiter = start(connection, loop.time())
        timer = loop.call_at(deadline, connection.expire, self._timeout)
        try:
            reply = await waiter
        except BaseException:
            connection.abort()
            raise
        finally:
            timer.cancel()
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    async def _connect(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        address = self._address
        connection = Connection(address.place, self._forget)
        opening = loop.create_connection(lambda: connection, address.host, address.port)
        try:
            await asyncio.wait_for(opening, deadline - loop.time())
        except asyncio.TimeoutError as error:
            connection.abort()
            raise EndpointTimeout(
                f"{address.place} accepted no connection within {self._timeout:g} s"
            ) from error
        except (OSError, UnicodeError) as error:
            raise EndpointAbsent(no_connection(address.place, error)) from error
        except BaseException:
            connection.abort()
            raise
        if connection.lost:  # accepted, and closed before this task had its turn
            raise EndpointAbsent(f"{address.place} closed the connection before it was asked")
        self._open.add(connection)
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _make_head(self, method: str, path: str) -> bytes:
        """All of a request's head up to the value of its last header, Content-Length."""
        lines = [
            f"{method} {self._address.path}{path} HTTP/1.1",
            f"Host: {self._address.place}",
            "User-Agent: pytest-llmeval",
            "Accept: application/json",
            "Content-Type: application/json",
            *(f"{name}: {value}" for name, value in self._headers.items()),
            "Content-Length: ",
        ]
        head = "\r\n".join(lines).encode("ascii")
        self._heads[method, path] = head
        return head

    def _make_own_lines(self) -> bytes:
        """The headers that a relayed request has from us."""
        lines = [f"Host: {self._address.place}"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def fits_header(key: str) -> bool:
    """Whether a header can carry a key: what it cannot, a client may quote in its error."""
    return key.isascii() and key.isprintable() and key.strip() == key != ""


def make_wire(endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> Wire:
    """Return the wire that fits an endpoint's url; raises `ConfigError` for what cannot be used.

    `headers` go with every request and carry the API key; by default as a bearer token.
    """
    address = parse_address(endpoint.url)
    key = endpoint.api_key
    if key is not None and not fits_header(key):
        raise ConfigError(
            f"The API key for {address.place} is empty or holds characters that no header can "
            f"carry (a line break or a blank at its end?)."
        )
    if headers is None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
    if address.scheme == "https":
        from pytest_llmeval.engines.secure import SecureWire  # httpx takes 0.1 s

        return SecureWire(address, headers=headers, timeout=endpoint.timeout)
    return PlainWire(address, headers=headers, timeout=endpoint.timeout)
