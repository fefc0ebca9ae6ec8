"""A server that costs nothing: OpenAI's chat completions with S slots and a fixed latency.

    python benchmarks/stub.py --port 0 --slots 8 --latency-ms 20 --pieces 16

It prints `{"port": N}` and serves until it is stopped. A request that finds no free slot queues; a
slot is held for the latency. The answer to "17 + 25 =" is "42", to anything else "ok". One that is
asked to stream says it in so many pieces, spread over the latency.
`GET /stats` says how busy the slots were from the first request to the last answer, and
`POST /reset` starts that count anew. It reads no more of a request than it must, so that what is
measured is the client. What has more words than its context has tokens is refused, as by a server
that is honest: a run takes its time over suites for one that is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import cast

from httptools import HttpParserError, HttpRequestParser

CONTEXT = 4096
_SUM = re.compile(rb".*\D(\d+) \+ (\d+)", re.DOTALL)  # greedy: the last sum of the conversation
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_CHAT = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"stub","choices":[{"index":'
    b'0,"finish_reason":"stop","message":{"role":"assistant","content":"%s"}}],"usage":{'
    b'"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,"prompt_tokens_details":{'
    b'"cached_tokens":8}},"timings":{"cache_n":8,"prompt_n":4,"prompt_ms":0.5,"predicted_n":2,'
    b'"predicted_ms":1.5}}'
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_PIECE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"stub",'
    b'"choices":[{"index":0,"finish_reason":null,"delta":{"content":" ok"}}]}\n\n'
)
_CHUNK = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
_STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_STREAMED = re.compile(rb'"stream": ?true')
_REFUSAL = (
    b'{"error":{"code":400,"message":"the request exceeds the available context size",'
    b'"type":"exceed_context_size_error","n_ctx":%d}}'
)


def answer_to(body: bytes) -> bytes:
    """Return the content of the answer to a request's body."""
    found = _SUM.match(body)
    return b"%d" % (int(found[1]) + int(found[2])) if found else b"ok"


def _page(body: bytes, status: bytes = b"200 OK") -> bytes:
    return _HEAD % (status, len(body), body)


@dataclass
class Slots:
    """The slots, who holds one, who waits for one, and how busy they were (monotonic seconds)."""

    total: int
    latency: float
    pieces: int = 16
    free: int = field(init=False)
    waiting: deque[tuple[StubProtocol, bytes]] = field(default_factory=deque)
    requests: int = 0
    busy_seconds: float = 0.0
    first_request: float | None = None
    last_answer: float | None = None

    def __post_init__(self) -> None:
        self.free = self.total

    def ask(self, protocol: StubProtocol, body: bytes) -> None:
        """Take a slot for a request, or a place in the queue."""
        if body.count(b" ") >= CONTEXT:
            protocol.reply(_page(_REFUSAL % CONTEXT, b"400 Bad Request"))
            return
        self.requests += 1
        now = asyncio.get_running_loop().time()
        if self.first_request is None:
            self.first_request = now
        if self.free:
            self.free -= 1
            self._hold(protocol, body, now)
        else:
            self.waiting.append((protocol, body))

    def _hold(self, protocol: StubProtocol, body: bytes, now: float) -> None:
        loop = asyncio.get_running_loop()
        if _STREAMED.search(body):
            protocol.reply(_STREAM_HEAD)
            for number in range(1, self.pieces):
                loop.call_at(now + self.latency * number / self.pieces, protocol.reply, _CHUNK)
            loop.call_at(now + self.latency, self._release, protocol, body, now)
        elif self.latency:
            loop.call_at(now + self.latency, self._release, protocol, body, now)
        else:
            self._release(protocol, body, now)

    def _release(self, protocol: StubProtocol, body: bytes, since: float) -> None:
        streamed = _STREAMED.search(body)
        protocol.reply(_STREAM_END if streamed else _page(_CHAT % answer_to(body)))
        now = asyncio.get_running_loop().time()
        self.busy_seconds += now - since
        self.last_answer = now
        self.free += 1
        if self.waiting:
            self.free -= 1
            self._hold(*self.waiting.popleft(), now)

    def reset(self) -> None:
        """Forget the counts; slots that are held stay held."""
        self.requests = 0
        self.busy_seconds = 0.0
        self.first_request = self.last_answer = None

    def stats(self) -> dict[str, float | None]:
        """What GET /stats shows; the utilisation is None before the first answer."""
        utilisation = None
        if self.first_request is not None and self.last_answer is not None:
            span = self.last_answer - self.first_request
            utilisation = self.busy_seconds / (self.total * span) if span > 0 else None
        return {
            "requests": self.requests,
            "busy_slot_seconds": self.busy_seconds,
            "first_request": self.first_request,
            "last_answer": self.last_answer,
            "utilisation": utilisation,
        }


class StubProtocol(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._parser = HttpRequestParser(self)
        self._path = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that replies are written to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse on; what is not HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Keep the path."""
        self._path = url

    def on_body(self, body: bytes) -> None:
        """Keep the body."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Ask for a slot, or answer the other paths at once."""
        body, self._body = self._body, b""
        if self._path.endswith(b"/chat/completions"):
            self._slots.ask(self, body)
        else:
            self.reply(self._other_page())

    def reply(self, page: bytes) -> None:
        """Write a whole reply; a client that is gone gets nothing."""
        if not self._transport.is_closing():
            self._transport.write(page)

    def _other_page(self) -> bytes:
        slots = self._slots
        if self._path == b"/reset":
            slots.reset()
        pages: dict[bytes, object] = {
            b"/health": {"status": "ok"},
            b"/reset": {"status": "ok"},
            b"/stats": slots.stats(),
            b"/props": {
                "total_slots": slots.total,
                "default_generation_settings": {"n_ctx": CONTEXT},
                "model_path": "stub.gguf",
                "chat_template": "stub",
                "build_info": "stub",
            },
            b"/v1/models": {"object": "list", "data": [{"id": "stub", "object": "model"}]},
        }
        if self._path not in pages:
            return _page(b'{"error":{"message":"no such path"}}', b"404 Not Found")
        return _page(json.dumps(pages[self._path]).encode("ascii"))


async def serve(port: int, slots: int, latency: float, pieces: int) -> None:
    """Serve on 127.0.0.1 until cancelled; port 0 takes a free one. `latency` is in seconds."""
    loop = asyncio.get_running_loop()
    shared = Slots(slots, latency, pieces)
    server = await loop.create_server(lambda: StubProtocol(shared), "127.0.0.1", port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A stub server with slots and a fixed latency.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--pieces", type=int, default=16)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.slots, given.latency_ms / 1000, given.pieces))


if __name__ == "__main__":
    main()
