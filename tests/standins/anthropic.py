"""A stand-in for Anthropic's Messages API: strict about every field, and answers like the real one.

Facts: the API's reference (version 2023-06-01) and the types of its Python SDK. What the real one
would refuse is refused in its words, and also noted in `complaints`, unless the request asks for a
fault by its text. The last user message says what comes back:

    think: X      a thinking block, then X        call NAME     a tool_use of that tool
    cut: X        X, stopped by max_tokens        stop: X       X, stopped by a stop sequence
    refuse        stop_reason refusal             pause         stop_reason pause_turn
    overloaded    529                             slow down     429 with Retry-After
    too long      400, the prompt is too long     break off     in a stream: an error in the middle
    anything else: the text itself
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-ant-right"
MODEL = "claude-stand-in"
VERSION = "2023-06-01"

Number = (int, float)
#: Every field of a request that ours may send, with what it must be.
FIELDS: Mapping[str, Any] = {
    "model": str,
    "max_tokens": int,
    "messages": list,
    "system": (str, list),
    "temperature": Number,
    "top_p": Number,
    "top_k": int,
    "stop_sequences": list,
    "stream": bool,
    "tools": list,
    "tool_choice": dict,
}


class Refused(Exception):
    """A status, and the type and words of an error."""

    def __init__(self, status: int, type_: str, words: str, headers: Sequence[str] = ()) -> None:
        super().__init__(words)
        self.status = status
        self.type = type_
        self.words = words
        self.headers = headers


@dataclass
class AnthropicStandIn:
    """The server's state: what it was asked, and what the real one would not have taken."""

    port: int
    seen: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def serve() -> Iterator[AnthropicStandIn]:
    """A stand-in on a free port, for a fixture to yield from."""
    state = AnthropicStandIn(0)
    handler = type("Handler", (MessagesHandler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


class MessagesHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: AnthropicStandIn

    def do_GET(self) -> None:
        self._answer(self._models)

    def do_POST(self) -> None:
        self._answer(self._message)

    def _answer(self, work: Any) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            work(body)
        except Refused as error:
            known = self.path in ("/v1/messages", "/v1/models")
            if known and error.status in (400, 404) and error.words != TOO_LONG:
                self.state.complaints.append(error.words)
            shape = {"type": error.type, "message": error.words}
            content = {"type": "error", "error": shape, "request_id": "req_1"}
            self._send(error.status, content, error.headers)

    def _models(self, _: bytes) -> None:
        if self.path != "/v1/models":
            raise Refused(404, "not_found_error", "Not found")
        self._check_head()
        model = {"type": "model", "id": MODEL, "display_name": "Stand-in", "created_at": "2026"}
        page = {"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL}
        self._send(200, page)

    def _message(self, body: bytes) -> None:
        if self.path != "/v1/messages":
            raise Refused(404, "not_found_error", "Not found")
        self._check_head()
        asked = json.loads(body)
        check(asked)
        self.state.seen.append(asked)
        message = message_for(asked)
        if asked.get("stream"):
            self._stream(message, broken=last_text(asked) == "break off")
        else:
            self._send(200, message)

    def _check_head(self) -> None:
        if "Authorization" in self.headers:
            raise Refused(400, "invalid_request_error", "Authorization is not how this is done")
        if self.headers.get("x-api-key") != KEY:
            raise Refused(401, "authentication_error", "invalid x-api-key")
        if self.headers.get("anthropic-version") != VERSION:
            raise Refused(400, "invalid_request_error", "anthropic-version: header is required")
        if self.command == "POST" and self.headers.get("Content-Type") != "application/json":
            raise Refused(400, "invalid_request_error", "content-type: must be application/json")

    def _send(self, status: int, content: Any, headers: Sequence[str] = ()) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for line in ["Content-Type: application/json", *headers, f"Content-Length: {len(data)}"]:
            self.send_header(*line.split(": ", 1))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, message: dict[str, Any], *, broken: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events_for(message, broken=broken):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_request(self, *_: object) -> None:
        """Say nothing."""


# Requests -----------------------------------------------------------------------------------------


def need(condition: object, words: str) -> None:
    """Refuse a request as invalid unless something holds."""
    if not condition:
        raise Refused(400, "invalid_request_error", words)


def check(asked: dict[str, Any]) -> None:
    """Check every field of a request."""
    for key, value in asked.items():
        need(key in FIELDS, f"{key}: Extra inputs are not permitted")
        wrong_bool = isinstance(value, bool) and FIELDS[key] is not bool
        need(isinstance(value, FIELDS[key]) and not wrong_bool, f"{key}: Input is of a wrong type")
    for key in ("model", "max_tokens", "messages"):
        need(key in asked, f"{key}: Field required")
    if asked["model"] != MODEL:
        raise Refused(404, "not_found_error", f"model: {asked['model']}")
    need(asked["max_tokens"] >= 1, "max_tokens: must be at least 1")
    need(0 <= asked.get("temperature", 1) <= 1, "temperature: range: 0..1")
    need(0 < asked.get("top_p", 1) <= 1, "top_p: range: 0..1")
    need(asked.get("top_k", 1) >= 0, "top_k: must not be negative")
    for stop in asked.get("stop_sequences", []):
        need(isinstance(stop, str) and stop, "stop_sequences: each must be a text")
    if isinstance(asked.get("system"), list):
        check_blocks("system", asked["system"])
    check_messages(asked["messages"])
    check_tools(asked)


def check_messages(messages: list[Any]) -> None:
    need(messages, "messages: at least one message is required")
    for message in messages:
        need(set(message) == {"role", "content"}, "messages: role and content and nothing else")
        role = message["role"]
        need(role in ("user", "assistant"), f'messages: Unexpected role "{role}"')
        if isinstance(message["content"], list):
            check_blocks("messages", message["content"])
        else:
            need(isinstance(message["content"], str), "messages: content must be a text or blocks")


def check_blocks(where: str, blocks: list[Any]) -> None:
    for block in blocks:
        need(set(block) == {"type", "text"} and block["type"] == "text", f"{where}: bad block")


def check_tools(asked: dict[str, Any]) -> None:
    for tool in asked.get("tools", []):
        extra = set(tool) - {"name", "description", "input_schema", "strict"}
        need(not extra, f"tools: Extra inputs are not permitted: {sorted(extra)}")
        need(isinstance(tool.get("name"), str), "tools: name: Field required")
        schema = tool.get("input_schema")
        need(isinstance(schema, dict), "tools: input_schema: Field required")
        need(schema.get("type") == "object", "tools: input_schema: type must be object")
    choice = asked.get("tool_choice")
    need(choice is None or asked.get("tools"), "tool_choice: only with tools")
    need(choice in (None, {"type": "auto"}), "tool_choice: ours is auto")


# Answers ------------------------------------------------------------------------------------------

TOO_LONG = "prompt is too long: 210000 tokens > 200000 maximum"
FAULTS: Mapping[str, Any] = {
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "slow down": (429, "rate_limit_error", "This would exceed it", ["Retry-After: 3"]),
    "too long": (400, "invalid_request_error", TOO_LONG),
}
ENDINGS = {"refuse": "refusal", "pause": "pause_turn"}


def last_text(asked: dict[str, Any]) -> str:
    text: str = asked["messages"][-1]["content"]
    return text


def message_for(asked: dict[str, Any]) -> dict[str, Any]:
    """The whole answer to a request."""
    text = last_text(asked)
    if text in FAULTS:
        raise Refused(*FAULTS[text])
    what, _, rest = text.partition(": ")
    stop, found = ENDINGS.get(text, "end_turn"), None
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if what == "think":
        thought = {"type": "thinking", "thinking": f"They want {rest}.", "signature": "EqQB"}
        blocks = [thought, {"type": "text", "text": rest}]
    elif what in ("cut", "stop"):
        blocks = [{"type": "text", "text": rest}]
        stop = "max_tokens" if what == "cut" else "stop_sequence"
        found = asked["stop_sequences"][0] if what == "stop" else None
    elif text.startswith("call "):
        name = text.removeprefix("call ")
        stop, given = "tool_use", {"city": "Zürich", "days": [1, 2]}
        use = {"type": "tool_use", "id": "toolu_01", "name": name, "input": given}
        blocks = [{"type": "text", "text": "Let me look."}, use]
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": found,
        "usage": usage_for(asked, blocks),
    }


def usage_for(asked: dict[str, Any], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "input_tokens": len(json.dumps(asked["messages"])),
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 5,
        "output_tokens": len(json.dumps(blocks)),
        "service_tier": "standard",
    }


def events_for(message: dict[str, Any], *, broken: bool) -> Iterator[dict[str, Any]]:
    """The same answer in pieces, with what may stand between them."""
    usage = message["usage"]
    beginning: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
    counted = {**usage, "output_tokens": 1}
    yield {"type": "message_start", "message": {**message, **beginning, "usage": counted}}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        yield from block_events(index, block)
        if broken:
            yield {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            return
        yield {"type": "content_block_stop", "index": index}
        yield {"type": "an_event_of_next_year"}
    delta = {key: message[key] for key in ("stop_reason", "stop_sequence")}
    told = {"output_tokens": usage["output_tokens"]}
    yield {"type": "message_delta", "delta": delta, "usage": told}
    yield {"type": "message_stop"}


def block_events(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    key = {"text": "text", "thinking": "thinking", "tool_use": "input"}[kind]
    empty: Any = {} if kind == "tool_use" else ""
    hidden = {"signature": ""} if kind == "thinking" else {}
    start = {**block, key: empty, **hidden}
    yield {"type": "content_block_start", "index": index, "content_block": start}
    written = json.dumps(block[key], ensure_ascii=False) if kind == "tool_use" else block[key]
    type_, field_ = {
        "text": ("text_delta", "text"),
        "thinking": ("thinking_delta", "thinking"),
        "tool_use": ("input_json_delta", "partial_json"),
    }[kind]
    for place in range(0, len(written), 3):
        delta = {"type": type_, field_: written[place : place + 3]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if kind == "thinking":
        sign = {"type": "signature_delta", "signature": block["signature"]}
        yield {"type": "content_block_delta", "index": index, "delta": sign}
