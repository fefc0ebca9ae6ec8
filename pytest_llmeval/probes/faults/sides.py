"""One connection of the proxy, on either side: how it ends, and who notices."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_llmeval.engines.address import Address
from pytest_llmeval.errors import FaultError

from .http import HEAD_LIMIT

HOST = "127.0.0.1"
CONNECT_WITHIN = 5.0
"""Seconds that the server may take to accept a connection."""

Result = TypeVar("Result")


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

    async def send(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Write pieces as they come, no faster than they are taken."""
        async with contextlib.aclosing(pieces):  # what feeds them ends with it
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


async def connect(address: Address) -> Side:
    """A connection to the endpoint; raises FaultError where nothing answers."""
    loop = asyncio.get_running_loop()
    reader = Ending()
    protocol = asyncio.StreamReaderProtocol(reader)
    opening = loop.create_connection(lambda: protocol, address.host, address.port)
    try:
        transport, _ = await asyncio.wait_for(opening, CONNECT_WITHIN)
    except (OSError, UnicodeError, asyncio.TimeoutError) as error:
        refused = isinstance(error, ConnectionRefusedError)
        late = f"no connection within {CONNECT_WITHIN:g} s"
        why = "connection refused" if refused else str(error) or late
        raise FaultError(
            f"nothing answers at {address.place} ({why}): start the server first, or correct "
            "the url"
        ) from error
    return Side(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


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
