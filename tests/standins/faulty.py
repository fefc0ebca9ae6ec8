"""A server that plays one named fault for each request that asks for it: raw bytes over a socket.

A request asks by `fault:NAME` anywhere in its body. What asks for none, or for `fault:none`, gets
a proper answer, and so do /props, /health and /v1/models. Each fault is a script: bytes to send,
seconds to wait, or how it ends. `PLAIN` are replies that come whole, `STREAMED` those to requests
that ask for a stream.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.standins.listening import listening

Step = bytes | float | Literal["close", "reset", "hang"] | list[bytes]
"""Bytes to send (or any number of them), seconds to wait, or: close, reset, say nothing more."""

Script = Sequence[Step]

USAGE = {"prompt_tokens": 21, "completion_tokens": 2}


# Whole replies ------------------------------------------------------------------------------------


def reply(body: object, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A reply written out; `body` is sent as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = headers or ("Content-Type: application/json",)
    size = len(content) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", *named, f"Content-Length: {size}", "", ""])
    return head.encode("latin-1") + content


def answer(message: object = None, finish: object = "stop", **fields: Any) -> dict[str, Any]:
    """A proper chat completion, but for what is given."""
    choice = {"index": 0, "message": message or {"content": "42"}, "finish_reason": finish}
    return {"choices": [choice], "usage": USAGE, **fields}


def error(status: str, message: str, *headers: str, **fields: Any) -> list[Step]:
    return [reply({"error": {"message": message, **fields}}, status, *headers)]


def call(arguments: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}


def dripping(data: bytes) -> list[Step]:
    """The same piece for ten seconds."""
    return [step for _ in range(200) for step in (data, 0.05)]


HTML = b"<!doctype html><title>Sign in</title>"
PAGE = "Content-Type: text/html"
GOOD = reply(answer())
HALF = reply(answer())[:-40]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON_CHUNKS = CHUNKED % b"application/json"
MEBIBYTE = b" " * 2**20
OVERFLOW = "request (908 tokens) exceeds the available context size (256 tokens), try increasing it"
VLLM_OVERFLOW = (
    "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 "
    "tokens. Please reduce the length of the messages."
)

PLAIN: dict[str, Script] = {
    "none": [GOOD],
    # Statuses
    "html_200": [reply(HTML, "200 OK", PAGE)],
    "html_404": [reply(HTML, "404 Not Found", PAGE)],
    "html_500": [reply(HTML, "500 Internal Server Error", PAGE)],
    "html_502": [reply(HTML, "502 Bad Gateway", PAGE)],
    "no_content_204": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "redirect_307": [reply(b"", "307 Temporary Redirect", "Location: https://host/v1")],
    "invalid_400": error("400 Bad Request", "temperature must be a number"),
    "wrong_key_401": error("401 Unauthorized", "Invalid API Key"),
    "forbidden_403": error("403 Forbidden", "this key may not"),
    "unknown_model_404": error("404 Not Found", "The model `m` does not exist."),
    "too_large_413": error("413 Payload Too Large", "payload of 9 MB"),
    "unprocessable_422": [reply({"detail": [{"loc": ["body"]}]}, "422 Unprocessable Entity")],
    "limit_429": error("429 Too Many Requests", "slow down"),
    "retry_after_429": error("429 Too Many Requests", "slow down", "Retry-After: 1"),
    "error_500": error("500 Internal Server Error", "Compute error"),
    "not_supported_501": error("501 Not Implemented", "not supported", type="not_supported_error"),
    "loading_503": error("503 Service Unavailable", "Loading model", type="unavailable_error"),
    "gateway_504": error("504 Gateway Timeout", "upstream timed out"),
    "overloaded_529": error("529 Overloaded", "Overloaded", type="overloaded_error"),
    "overflow_llama_cpp": error(
        "400 Bad Request",
        OVERFLOW,
        type="exceed_context_size_error",
        n_prompt_tokens=908,
        n_ctx=256,
    ),
    "overflow_vllm": error("400 Bad Request", VLLM_OVERFLOW, code="context_length_exceeded"),
    # Connections
    "closed_at_once": ["close"],
    "reset_at_once": ["reset"],
    "cut_head": [b"HTTP/1.1 200 OK\r\nContent-", "close"],
    "cut_body": [HALF, "close"],
    "reset_body": [HALF, 0.01, "reset"],
    "cut_chunks": [JSON_CHUNKS + b"fff\r\n{", "close"],
    "closed_while_idle": [GOOD, 0.01, "close"],
    "hang": ["hang"],
    "hang_after_headers": [HEAD, "hang"],
    "hang_in_body": [HALF, "hang"],
    "drip": [HEAD, *dripping(b" ")],
    # What is not HTTP, or too much of it
    "not_http": [b"SSH-2.0-OpenSSH_9.2\r\n", "hang"],
    "garbage_chunks": [JSON_CHUNKS + b"zz\r\n{}\r\n", "hang"],
    "garbage_length": [HEAD.replace(b"200\r\n", b"many\r\n"), "hang"],
    "endless_headers": [b"HTTP/1.1 200 OK\r\n", [b"X-Header: value\r\n" * 4096] * 4, "hang"],
    "endless_body": [b"HTTP/1.1 200 OK\r\n\r\n", [MEBIBYTE] * 65, "hang"],
    # Bodies
    "empty_body": [reply(b"")],
    "half_json": [reply(json.dumps(answer()).encode()[:-9])],
    "invalid_utf8": [reply(b'{"choices": "\xff"}')],
    "unasked_gzip": [reply(gzip.compress(json.dumps(answer()).encode()))],
    "json_list": [reply([answer()])],
    "nan": [reply(b'{"choices": [{"logprobs": NaN}]}')],
    "error_with_200": [reply({"error": {"message": "out of memory"}})],
    "no_choices": [reply({"object": "chat.completion"})],
    "empty_choices": [reply(answer(choices=[]))],
    "null_message": [reply({"choices": [{"message": None, "finish_reason": "stop"}]})],
    "content_is_list": [reply(answer({"content": [{"type": "text", "text": "42"}]}))],
    "no_finish_reason": [reply(answer(finish=None))],
    "unknown_finish_reason": [reply(answer(finish="eos"))],
    "usage_negative": [reply(answer(usage={"prompt_tokens": -1}))],
    "usage_text": [reply(answer(usage={"prompt_tokens": "21"}))],
    "nameless_call": [reply(answer({"tool_calls": [{"function": {"arguments": "{}"}}]}))],
    # Answers that are odd, and answers
    "wrong_content_type": [reply(answer(), "200 OK", PAGE)],
    "usage_missing": [reply(answer(usage=None))],
    "empty_answer": [reply(answer({"content": ""}))],
    "content_filter": [reply(answer({"content": ""}, "content_filter"))],
    "cut_by_limit": [reply(answer({"content": "So far"}, "length"))],
    "call_without_json": [reply(answer(call('{"city": "Os'), "tool_calls"))],
}


# Streams ------------------------------------------------------------------------------------------


def chunk(data: bytes) -> bytes:
    """A chunk of the transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(data: object) -> bytes:
    """An event as a chunk."""
    return chunk(b"data: %b\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode()))


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return frame({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def piece_of_call(index: int, **function: str) -> bytes:
    return delta(tool_calls=[{"index": index, "function": function}])


OPEN = CHUNKED % b"text/event-stream"
START = [OPEN, delta(role="assistant", content=""), delta(content="4")]
FINISH = [delta(content="2"), delta("stop"), frame({"choices": [], "usage": USAGE})]
DONE = frame(b"[DONE]")
END = b"0\r\n\r\n"
PING = chunk(b": ping\n\n")

STREAMED: dict[str, Script] = {
    "none": [*START, *FINISH, DONE, END],
    # The same as without a stream
    "stream_401": PLAIN["wrong_key_401"],
    "stream_503": PLAIN["loading_503"],
    "stream_overflow": PLAIN["overflow_llama_cpp"],
    # What is no stream of events
    "stream_json_instead": [GOOD],
    "stream_html": [reply(HTML, "200 OK", PAGE)],
    "stream_untyped": [b"HTTP/1.1 200 OK\r\n\r\n", *FINISH, "close"],
    # Ends too early
    "stream_closed": [*START, "close"],
    "stream_reset": [*START, 0.01, "reset"],
    "stream_ends_in_mid_answer": [*START, END],
    "stream_without_finish_reason": [*START, DONE, END],
    "stream_without_done": [*START, *FINISH, END],
    "stream_of_nothing": [OPEN, END],
    # Does not end
    "stream_hangs": [*START, "hang"],
    "stream_of_pings": [OPEN, *dripping(PING)],
    "stream_hangs_behind_done": [*START, *FINISH, DONE, "hang"],
    "endless_stream": [OPEN, [frame({"choices": [], "x": "x" * 2**20})] * 65, "hang"],
    # Frames
    "stream_bad_frame": [*START, frame(b"{not json"), "hang"],
    "stream_invalid_utf8": [*START, frame(b'{"choices": "\xff"}'), "hang"],
    "stream_nan": [*START, frame(b'{"choices": [], "logprob": NaN}'), "hang"],
    "stream_garbage_chunks": [*START, b"zz\r\n", "hang"],
    "stream_error": [*START, frame({"error": {"code": 500, "message": "Compute error"}}), "hang"],
    "stream_overloaded": [*START, frame({"error": {"type": "overloaded_error"}}), "hang"],
    "stream_second_choice": [*START, frame({"choices": [{"index": 1, "delta": {}}]}), "hang"],
    "stream_choice_twice": [
        *START,
        frame({"choices": [{"index": 0, "delta": {"content": "2"}}] * 2}),
        "hang",
    ],
    "stream_goes_on": [*START, *FINISH, delta(content="!"), "hang"],
    "stream_usage_text": [
        *START,
        delta("stop"),
        frame({"choices": [], "usage": {"prompt_tokens": "21"}}),
        DONE,
        END,
    ],
    "stream_call_twice": [
        OPEN,
        piece_of_call(0, name="weather", arguments="{}"),
        piece_of_call(0, name="weather", arguments="{}"),
        "hang",
    ],
    "stream_call_without_index": [OPEN, delta(tool_calls=[{"function": {"name": "f"}}]), "hang"],
    # Answers that are odd, and answers
    "stream_empty_answer": [OPEN, delta("stop"), DONE, END],
    "stream_call_without_json": [
        OPEN,
        piece_of_call(0, name="weather", arguments='{"city": "Os'),
        delta("tool_calls"),
        DONE,
        END,
    ],
}


# The server ---------------------------------------------------------------------------------------


ASKS = re.compile(rb"fault:(\w+)")


@dataclass
class Faulty:
    """The server's state: how often each fault was asked for. It is strict about requests: what is
    no complete HTTP/1.1 request, or asks for a fault that there is not, lands in `complaints`.
    `instead` are faults that it plays in the place of others.
    """

    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    instead: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until a script or its client ends it."""
        try:
            while (request := await self._read(reader)) and await _play(
                self._script(*request), reader, writer
            ):
                pass
        except ConnectionError:
            pass  # clients that give up are among what is tested
        except (asyncio.IncompleteReadError, ValueError, KeyError) as problem:
            self.complaints.append(repr(problem))
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
        """The path and the body of the next request, None where the client has gone."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise
            return None
        first, *lines = head[:-4].split("\r\n")
        _, path, version = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if version != "HTTP/1.1" or headers["host"] != f"127.0.0.1:{self.port}":
            raise ValueError(head)
        return path, await reader.readexactly(int(headers.get("content-length", "0")))

    def _script(self, path: str, body: bytes) -> Script:
        if path == "/health":
            return [reply({"status": "ok"})]
        if path == "/v1/models":
            return [reply({"data": [{"id": "m"}]})]
        if path != "/v1/chat/completions":
            return error("404 Not Found", "File Not Found")
        found = ASKS.search(body)
        asked = found[1].decode() if found else "none"
        name = self.instead.get(asked, asked)
        self.asked[name] += 1
        return (STREAMED if json.loads(body).get("stream") else PLAIN)[name]


def serve() -> Iterator[Faulty]:
    """A server on a free port, for a fixture to yield from."""
    state = Faulty()
    with listening(state.serve_one) as state.port:
        yield state
    assert state.complaints == []


async def _play(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Do what a script says; whether the connection goes on."""
    for step in script:
        if isinstance(step, float):
            await asyncio.sleep(step)
        elif not isinstance(step, str):
            for data in step if isinstance(step, list) else [step]:
                writer.write(data)
                await writer.drain()
        else:
            if step == "hang":
                await reader.read()  # until the client goes away
            elif step == "reset":
                linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
    return True
