"""Toxiproxy's toxics: what becomes of bytes on their way, as iterators over timed pieces.

A piece carries when it came, so that a delay counts from there, however long others took: what
comes in a row is late together, and not one after the other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from .plan import Hit

Piece = tuple[float, bytes]
"""When it came, by the loop's time, and the bytes."""

Pieces = AsyncIterator[Piece]

INTERVAL = 0.1
"""Seconds between the slices of `bandwidth`, as in toxiproxy."""

_ON_THEIR_WAY = 256
"""Pieces that wait between the reader and the toxics; then the reader waits."""


class Closed(Exception):
    """A fault ends the connection in order."""


class Reset(Exception):
    """A fault ends the connection with a reset."""


async def latency(pieces: Pieces, hit: Hit) -> Pieces:
    """Each piece later by latency ± jitter."""
    loop = asyncio.get_running_loop()
    middle, jitter = hit.fault.number("latency"), hit.fault.number("jitter")
    async for came, data in pieces:
        due = came + max(0.0, middle + hit.chance.uniform(-jitter, jitter)) / 1000
        await asyncio.sleep(due - loop.time())
        yield due, data


async def bandwidth(pieces: Pieces, hit: Hit) -> Pieces:
    """No more than rate KB a second."""
    per_slice = int(hit.fault.number("rate") * 1000 * INTERVAL)
    async for came, data in pieces:
        for start in range(0, len(data), per_slice):
            part = data[start : start + per_slice]
            await asyncio.sleep(INTERVAL * len(part) / per_slice)
            yield came, part


async def timeout(_: Pieces, hit: Hit) -> Pieces:
    """Nothing passes; the end comes after timeout ms, or never."""
    after = hit.fault.number("timeout")
    await (asyncio.sleep(after / 1000) if after else asyncio.Event().wait())
    raise Closed
    yield  # it is a generator like the others


async def reset_peer(pieces: Pieces, hit: Hit) -> Pieces:
    """A reset timeout ms after the first data."""
    async for _ in pieces:
        await asyncio.sleep(hit.fault.number("timeout") / 1000)
        raise Reset
    yield (0.0, b"")


async def slicer(pieces: Pieces, hit: Hit) -> Pieces:
    """Small pieces, each with a pause behind it."""
    size, variation = hit.fault.number("average_size"), hit.fault.number("size_variation")
    pause = hit.fault.number("delay") / 1_000_000
    async for came, data in pieces:
        for start, end in slices(len(data), size, variation, hit.chance):
            yield came, data[start:end]
            if pause:
                await asyncio.sleep(pause)


def slices(length: int, size: int, variation: int, chance: random.Random) -> list[tuple[int, int]]:
    """Where to cut, pieces of `size` ± `variation`."""
    found = []
    start = 0
    while start < length:
        end = min(length, start + max(1, size + chance.randint(-variation, variation)))
        found.append((start, end))
        start = end
    return found


async def limit_data(pieces: Pieces, hit: Hit) -> Pieces:
    """The end after so many bytes."""
    left = hit.fault.number("bytes")
    async for came, data in pieces:
        if left:
            yield came, data[:left]
        if len(data) >= left:
            hit.happen()
            raise Closed
        left -= len(data)


Toxic = Callable[[Pieces, Hit], Pieces]

TOXICS: Mapping[str, Toxic] = {
    "latency": latency,
    "bandwidth": bandwidth,
    "timeout": timeout,
    "reset_peer": reset_peer,
    "slicer": slicer,
    "limit_data": limit_data,
}


@dataclass(frozen=True, slots=True)
class _End:
    """The source has ended, by this error if there was one."""

    error: BaseException | None = None


async def through(source: AsyncIterator[bytes], hits: list[Hit]) -> AsyncGenerator[bytes, None]:
    """The bytes of a source with what the toxics make of them, the first hit nearest to it."""
    if not hits:
        async for data in source:
            yield data
        return
    waiting: asyncio.Queue[Piece | _End] = asyncio.Queue(_ON_THEIR_WAY)
    pump = asyncio.ensure_future(_pump(source, waiting))
    try:
        pieces = _from(waiting)
        for hit in hits:
            if hit.fault.kind.name != "limit_data":  # short data are none of its business
                hit.happen()
            pieces = TOXICS[hit.fault.kind.name](pieces, hit)
        async for _, data in pieces:
            yield data
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def _pump(source: AsyncIterator[bytes], into: asyncio.Queue[Piece | _End]) -> None:
    """Read on while toxics wait, so that each piece has the time at which it came."""
    loop = asyncio.get_running_loop()
    try:
        async for data in source:
            await into.put((loop.time(), data))
    except Exception as error:  # noqa: BLE001 - it is the reader's, and is raised there
        await into.put(_End(error))
    else:
        await into.put(_End())


async def _from(waiting: asyncio.Queue[Piece | _End]) -> Pieces:
    while not isinstance(piece := await waiting.get(), _End):
        yield piece
    if piece.error is not None:
        raise piece.error
