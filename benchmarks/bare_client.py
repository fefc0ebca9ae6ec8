"""The least that a client can do: the yardstick of every other.

    python benchmarks/bare_client.py --port N --requests 1000 --connections 9

N requests over a few connections straight on asyncio and httptools: the next request of a
connection is written where its last answer ends; answers are counted, not read.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import time
from collections.abc import Iterator, Sequence
from typing import cast

from httptools import HttpResponseParser

_HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


class _Asker(asyncio.Protocol):
    """A connection that takes payloads from a shared iterator until there are none."""

    def __init__(self, payloads: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._payloads = payloads
        self._done = done
        self._parser = HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 200:
            self._next()
        elif not self._done.done():
            self._done.set_exception(RuntimeError(f"the server answered {status}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        payload = next(self._payloads, None)
        if payload is not None:
            self._transport.write(payload)
        elif not self._done.done():
            self._done.set_result(None)


async def bare(port: int, bodies: Sequence[bytes], connections: int) -> float:
    """Ask every body once; return the wall seconds from first request to last answer."""
    loop = asyncio.get_running_loop()
    payloads = iter([_HEAD % (len(body), body) for body in bodies])
    started = time.perf_counter()
    done: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    opened = [
        await loop.create_connection(functools.partial(_Asker, payloads, ended), "127.0.0.1", port)
        for ended in done
    ]
    await asyncio.gather(*done)
    wall = time.perf_counter() - started
    for transport, _ in opened:
        transport.close()
    return wall


def sums(count: int) -> list[bytes]:
    """Return the bodies of `count` different sums, as a suite would ask them."""
    return [
        json.dumps(
            {
                "messages": [{"role": "user", "content": f"{number % 97} + {number} ="}],
                "max_tokens": 8,
                "temperature": 0,
                "seed": 7,
                "cache_prompt": True,
            }
        ).encode("ascii")
        for number in range(count)
    ]


def main() -> None:
    """Read the command line, ask, and print wall and CPU seconds as JSON."""
    parser = argparse.ArgumentParser(description="The bare asyncio client.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=9)
    given = parser.parse_args()
    bodies = sums(given.requests)
    cpu = time.process_time()
    wall = asyncio.run(bare(given.port, bodies, given.connections))
    cpu = time.process_time() - cpu
    print(json.dumps({"requests": given.requests, "wall_s": wall, "cpu_s": cpu}))


if __name__ == "__main__":
    main()
