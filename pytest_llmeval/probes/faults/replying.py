"""The bytes of a real reply with what the faults of the answer make of them, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from .http import BODY_LIMIT, Frame, Head, NotHttp, body_of, end_of, framed, reply_frame
from .plan import Hit
from .rewriting import REWRITERS, WHOLE, Blocks, Rewriter

PING = b": ping\n\n"
BLANK = b"\n"
"""What keeps a connection alive while a whole answer is awaited: JSON may begin with it."""


async def reply_bytes(
    head: Head, reader: asyncio.StreamReader, method: str, hits: Sequence[Hit]
) -> AsyncIterator[bytes]:
    """A reply as it is to be sent. Raises NotHttp where the server breaks off."""
    frame = reply_frame(head, method)
    body = body_of(reader, frame)
    if head.get("content-encoding"):  # nothing in it can be read, and a hang needs nothing
        hits = [hit for hit in hits if hit.fault.kind.name == "hang"]
    if not hits or frame == "none":
        yield head.encode()
    elif head.is_stream:
        head, frame = _open_ended(head, frame)
        yield head.encode()
        body = _stream(body, hits)
    else:
        written = _rewritten(await _whole(body), hits)
        if any(hit.fault.kind.name == "ping_flood" for hit in hits):
            head, frame = _open_ended(head, len(written))
        else:
            head = head.without("transfer-encoding").plus("Content-Length", str(len(written)))
            frame = len(written)
        yield head.encode()
        body = _paced(_once(written), hits, BLANK, stream=False)
    async for piece in body:
        yield framed(piece, frame)
    if end := end_of(frame):
        yield end


def _open_ended(head: Head, frame: Frame) -> tuple[Head, Frame]:
    """A frame for a body whose length is not known."""
    if isinstance(frame, int):
        return head.without("content-length").plus("Transfer-Encoding", "chunked"), "chunked"
    return head, frame


# Whole --------------------------------------------------------------------------------------------


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    found = bytearray()
    async for piece in body:
        found += piece
        if len(found) > BODY_LIMIT:
            raise NotHttp("its body is too long")
    return bytes(found)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _rewritten(body: bytes, hits: Sequence[Hit]) -> bytes:
    for hit in hits:
        rewrite = WHOLE.get(hit.fault.kind.name)
        written = rewrite(body, hit.chance) if rewrite else None
        if written is not None:
            hit.happen()
            body = written
    return body


# Streams ------------------------------------------------------------------------------------------


async def _stream(body: AsyncIterator[bytes], hits: Sequence[Hit]) -> AsyncIterator[bytes]:
    rewriters = [
        (hit, REWRITERS[hit.fault.kind.name](hit.chance))
        for hit in hits
        if hit.fault.kind.name in REWRITERS
    ]
    async for piece in _paced(_blocks(body, rewriters), hits, PING, stream=True):
        yield piece


async def _blocks(
    body: AsyncIterator[bytes], rewriters: Sequence[tuple[Hit, Rewriter]]
) -> AsyncIterator[bytes]:
    blocks = Blocks()
    async for piece in body:
        for block in blocks.feed(piece):
            for written in _through(block, rewriters):
                yield written
    if rest := blocks.rest():
        yield rest


def _through(block: bytes, rewriters: Sequence[tuple[Hit, Rewriter]]) -> list[bytes]:
    blocks = [block]
    for hit, rewriter in rewriters:
        following: list[bytes] = []
        for each in blocks:
            written = rewriter.feed(each)
            if written is None:
                following.append(each)
            else:
                hit.happen()
                following += written
        blocks = following
    return blocks


# What takes time ----------------------------------------------------------------------------------


def _paced(
    pieces: AsyncIterator[bytes], hits: Sequence[Hit], ping: bytes, *, stream: bool
) -> AsyncIterator[bytes]:
    for hit in hits:
        if hit.fault.kind.name == "ping_flood":
            pieces = _pings(pieces, hit, ping)
        elif hit.fault.kind.name == "hang":
            pieces = _hang(pieces, hit, hit.fault.number("events") if stream else 0)
    return pieces


async def _pings(pieces: AsyncIterator[bytes], hit: Hit, ping: bytes) -> AsyncIterator[bytes]:
    hit.happen()
    sent, count = 0, hit.fault.number("count")
    while not count or sent < count:
        yield ping
        sent += 1
        await asyncio.sleep(hit.fault.number("interval") / 1000)
    async for piece in pieces:
        yield piece


async def _hang(pieces: AsyncIterator[bytes], hit: Hit, events: int) -> AsyncIterator[bytes]:
    passed = 0
    while passed < events:
        try:
            piece = await pieces.__anext__()
        except StopAsyncIteration:
            return  # it was shorter than that
        passed += 1
        yield piece
    hit.happen()
    await asyncio.Event().wait()  # until the client goes away
