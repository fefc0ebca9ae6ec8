"""A front door on a real socket, before a server that plays scripts; all in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from httptools import HttpResponseParser

from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.front_door.door import FrontDoor, open_front_door
from pytest_llmeval.orchestrator.views import InstanceView
from tests.standins.instances import StandIn

Step = bytes | float | asyncio.Event | Literal["close", "reset", "hang"]
"""Bytes to send, what to wait for, or how it ends: in order, by a reset, or by saying no more."""


def whole(content: object, status: str = "200 OK", *headers: str) -> bytes:
    """A reply with its length."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Seen:
    """A request as the server got it."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Plays for the n-th request the n-th script, and the last one for all that follow."""

    scripts: list[Sequence[Step]]
    seen: list[Seen] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    most: int = 0
    now: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At the end of a test asyncio would report a script that was still played.
        ended = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ended):
            while await self._one(reader, writer):
                pass
        self.left.set()
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in rest)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.seen.append(Seen(line, headers, body))
        self.arrived.set()
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            script = self.scripts[min(len(self.seen), len(self.scripts)) - 1]
            return await self._play(script, reader, writer)
        finally:
            self.now -= 1

    async def _play(
        self, script: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step == "hang":
                await reader.read()
                return False
            else:
                if step == "reset":
                    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
                    sock: socket.socket = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
        return True


class DoorStandIn(StandIn):
    """Instances that are up where their upstream listens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.urls: dict[str, str] = {}

    def declare(self, name: str, url: str, *, up: bool = True, **facts: Any) -> None:
        """An instance whose server is, or will be, at this url."""
        self.urls[name] = url
        config = facts.pop("config", {})
        (self.add_up if up else self.add)(name, **{"url": url if up else None, **facts})
        self.configs[name] = InstanceConfig.model_validate({"model": {"path": name}, **config})

    def up(self, name: str) -> InstanceView:
        super().up(name)
        self.set(name, url=self.urls[name], pid=5000 + len(self.calls))  # a new server
        return self.view(name)

    def ups(self) -> list[str]:
        """Who was brought up, in order."""
        return [name for call, name in self.calls if call == "up"]

    def downs(self) -> list[str]:
        return [name for call, name in self.calls if call == "down"]


@dataclass
class Reply:
    """An answer as a strict client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        text: str = self.json["error"]["message"]
        return text


class Replies:
    """Collects complete answers out of bytes."""

    def __init__(self) -> None:
        self.complete: list[Reply] = []
        self.interim: list[int] = []
        self._parser = HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = b""

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.interim.append(status)
            return
        self.complete.append(Reply(status, self._headers, self._body))
        self._headers, self._body = {}, b""


@dataclass
class World:
    """A front door, the instances behind it and their server."""

    door: FrontDoor
    instances: DoorStandIn
    upstream: Upstream

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.door.port)

    async def ask(self, data: bytes, count: int = 1) -> list[Reply]:
        """Send bytes on a new connection and read so many answers, then close."""
        reader, writer = await self.connect()
        writer.write(data)
        replies = Replies()
        while len(replies.complete) < count and (piece := await reader.read(65536)):
            replies.feed(piece)
        writer.close()
        return replies.complete

    async def post(self, body: object, path: str = "/v1/chat/completions", *lines: str) -> Reply:
        (reply,) = await self.ask(post(body, path, *lines))
        return reply

    async def get(self, path: str, method: str = "GET", *lines: str) -> Reply:
        (reply,) = await self.ask(get(path, method, *lines))
        return reply


def post(body: object, path: str = "/v1/chat/completions", *lines: str) -> bytes:
    """A request as it is sent."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *lines, f"Content-Length: {len(content)}"]
    return "\r\n".join([*head, "", ""]).encode() + content


def get(path: str, method: str = "GET", *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that others bring about."""
    while not condition():  # noqa: ASYNC110 # of any kind, and from any thread
        await asyncio.sleep(0.005)


@pytest.fixture
def stand_in(tmp_path: Path) -> DoorStandIn:
    return DoorStandIn(tmp_path)


@contextlib.asynccontextmanager
async def opened(
    instances: DoorStandIn,
    *scripts: Sequence[Step],
    declare: dict[str, dict[str, Any]] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """A front door before one server, which is that of all declared instances (`tiny`)."""
    upstream = Upstream(list(scripts) or [[whole({"ok": True})]])
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    for name, facts in (declare if declare is not None else {"tiny": {}}).items():
        instances.declare(name, upstream.url, **facts)
    door = await open_front_door(instances, port=0, **options)
    try:
        yield World(door, instances, upstream)
    finally:
        await door.close()
        server.close()
