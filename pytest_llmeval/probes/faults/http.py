"""HTTP/1.1 as the proxy reads and writes it: a head, then a body in the frame that it came in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from .plan import Asked

HEAD_LIMIT = 64 * 1024
"""Bytes of a head, and of the size of a chunk."""

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of a request, and of a whole reply that is rewritten."""

READ = 64 * 1024

Frame = int | Literal["none", "chunked", "close"]
"""How a body ends: after so many bytes, at once, with its last chunk, or with the connection."""


class NotHttp(Exception):
    """One of the two sides does not speak HTTP/1.1, or breaks off: the other one is cut, too."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a message, as they came."""

    first: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The last value of a header, "" where there is none."""
        found = [value for key, value in self.headers if key.lower() == name]
        return found[-1] if found else ""

    def without(self, *names: str) -> Head:
        """The same without some headers."""
        kept = tuple(each for each in self.headers if each[0].lower() not in names)
        return Head(self.first, kept)

    def plus(self, name: str, value: str) -> Head:
        """The same with a header in the place of those of its name."""
        return Head(self.first, (*self.without(name.lower()).headers, (name, value)))

    def encode(self) -> bytes:
        """As it is sent."""
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def status(self) -> int:
        """Of a reply."""
        words = self.first.split(" ", 2)
        if len(words) < 2 or not self.first.startswith("HTTP/1.") or not words[1].isdigit():
            raise NotHttp(f"no reply begins with {self.first[:60]!r}")
        return int(words[1])

    @property
    def is_stream(self) -> bool:
        """Whether a reply is a stream of events."""
        kind = self.get("content-type").partition(";")[0].strip().lower()
        return self.status == 200 and kind == "text/event-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. `asked` is what faults are chosen by."""

    head: Head
    body: bytes
    asked: Asked


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None where the other side has ended in order. Raises NotHttp."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial.strip():
            raise NotHttp("it ended in the middle of a head") from None
        return None
    except asyncio.LimitOverrunError:
        raise NotHttp("its head is too long") from None
    first, *lines = raw[:-4].decode("latin-1").lstrip("\r\n").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    if not first or not all(colon for _, colon, _ in pairs):
        raise NotHttp(f"no head has such lines: {first[:60]!r}")
    return Head(first, tuple((name.strip(), value.strip()) for name, _, value in pairs))


def request_frame(head: Head) -> Frame:
    """How the body of a request ends."""
    if "chunked" in head.get("transfer-encoding").lower():
        return "chunked"
    return _length(head) if head.get("content-length") else "none"


def reply_frame(head: Head, method: str) -> Frame:
    """How the body of a reply ends."""
    if method == "HEAD" or head.status in {204, 304} or head.status < 200:
        return "none"
    if "chunked" in head.get("transfer-encoding").lower():
        return "chunked"
    return _length(head) if head.get("content-length") else "close"


def _length(head: Head) -> int:
    length = head.get("content-length")
    if not length.isdecimal():
        raise NotHttp(f"no length is {length[:60]!r}")
    return int(length)


async def body_of(reader: asyncio.StreamReader, frame: Frame) -> AsyncIterator[bytes]:
    """The pieces of a body as they come; raises NotHttp where it breaks off."""
    if frame == "chunked":
        async for piece in _chunks(reader):
            yield piece
    elif frame == "close":
        while piece := await reader.read(READ):
            yield piece
    elif frame != "none":
        async for piece in _counted(reader, frame):
            yield piece


async def _counted(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, READ))
        if not piece:
            raise NotHttp("it ended in the middle of a body")
        size -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    try:
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            async for piece in _counted(reader, size):
                yield piece
            await reader.readexactly(2)
        while (await reader.readuntil(b"\r\n")).strip():
            pass  # trailers, which nobody here sends
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise NotHttp("it broke off, or garbled, its chunks") from None


def framed(piece: bytes, frame: Frame) -> bytes:
    """A piece of a body as it is sent."""
    if frame == "chunked":
        return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
    return piece


def end_of(frame: Frame) -> bytes:
    """What ends a body."""
    return b"0\r\n\r\n" if frame == "chunked" else b""


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The next request with all of its body; None where the client has gone. Raises NotHttp."""
    head = await read_head(reader)
    if head is None:
        return None
    words = head.first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise NotHttp(f"no request begins with {head.first[:60]!r}")
    frame = request_frame(head)
    if head.get("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    async for piece in body_of(reader, frame):
        body += piece
        if len(body) > BODY_LIMIT:
            raise NotHttp("its body is too long")
    head = head.without("expect", "transfer-encoding")
    if frame != "none":
        head = head.plus("Content-Length", str(len(body)))
    content = bytes(body)
    return Request(head, content, Asked(words[0], words[1].partition("?")[0], content))
