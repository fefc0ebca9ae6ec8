"""An endpoint that answers every request with the same bytes, and remembers what came."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.standins.listening import listening


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def event(data: object) -> bytes:
    return b"data: %b\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode())


def whole(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def stream(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*pieces)


@dataclass
class Upstream:
    """Answers every request with `reply`, then closes the connection if `closes`.

    `seen` are requests as they came, head and body; `gone` counts connections that have ended.
    """

    reply: bytes = field(default_factory=lambda: whole(b"{}", "Content-Type: application/json"))
    closes: bool = False
    silent: bool = False
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    connections: int = 0
    gone: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await self._head(reader):
                lengths = [line for line in head.split("\r\n") if line.startswith("Content-Length")]
                size = int(lengths[0].split(": ")[1]) if lengths else 0
                self.seen.append((head, await reader.readexactly(size)))
                if self.silent:
                    await reader.read()
                    break
                writer.write(self.reply)
                await writer.drain()
                if self.closes:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # clients that give up are among what is tested
        finally:
            writer.close()
            self.gone.release()

    async def _head(self, reader: asyncio.StreamReader) -> str:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return ""


def endpoint() -> Iterator[Upstream]:
    """One on a free port, for a fixture to yield from."""
    state = Upstream()
    with listening(state.serve) as state.port:
        yield state
