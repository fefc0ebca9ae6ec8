"""What httpx brings, in bounds: it would read whatever comes, and unpack it as often as is said.

A few kilobytes of gzip may hold gigabytes, and `Content-Encoding: gzip, gzip` thousands of times as
much. So nothing packed is asked for, nor read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from pytest_llmeval.errors import BadAnswer

if TYPE_CHECKING:
    import httpx

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of a whole reply; the longest answers with log probabilities take a few megabytes."""

DOWNLOAD_LIMIT = 8 * 1024**3
"""Bytes of a file of results."""

UNPACKED: Mapping[str, str] = {"Accept-Encoding": "identity"}
"""Asks for a reply that is not compressed."""


def packing_of(response: httpx.Response) -> str:
    """How a reply is compressed although nobody asked for it; nothing where it is not."""
    packing = response.headers.get("content-encoding", "").strip().lower()
    return "" if packing == "identity" else packing


async def pieces(response: httpx.Response, place: str, most: int) -> AsyncIterator[bytes]:
    """The body as it comes; BadAnswer when it is longer than `most`, or compressed.

    A refusal that is compressed has no body: what it says is in its status, too.
    """
    packing = packing_of(response)
    if packing and response.status_code == 200:
        words = f"{place} sent an answer that is compressed ({packing}), which nobody asked for"
        raise BadAnswer(words)
    if packing:
        return
    size = 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > most:
            raise BadAnswer(f"{place} sent an answer of more than {most:,} bytes")
        yield piece


async def whole(response: httpx.Response, place: str, most: int = BODY_LIMIT) -> bytes:
    """The whole body, as `pieces`."""
    return b"".join([piece async for piece in pieces(response, place, most)])


async def lines(
    response: httpx.Response, place: str, *, longest: int, most: int
) -> AsyncIterator[bytes]:
    r"""The lines of a body, ended by `\n` alone; BadAnswer for one of more than `longest` bytes."""
    begun: list[bytes] = []
    length = 0
    async for piece in pieces(response, place, most):
        first, *others = piece.split(b"\n")
        begun.append(first)
        length += len(first)
        if length > longest:
            raise BadAnswer(f"{place} sent a line of more than {longest:,} bytes")
        for other in others:
            yield b"".join(begun)
            begun, length = [other], len(other)
    if length:
        yield b"".join(begun)
