"""The events of a streamed message, put together into the message that would have come whole. Pure.

Facts of the format: `message_start` holds the message without content; each block of content has a
`content_block_start`, any number of `content_block_delta` and a `content_block_stop` of its index;
`message_delta` brings the stop reason and the tokens so far (cumulative); `message_stop` is the
last. `ping` and events of types yet unknown may stand anywhere and are passed over, as the API's
rules ask of clients. An `error` ends it. llama.cpp leaves `message_start` out where the first token
is not a whole character; then nobody has counted the prompt.
"""

from __future__ import annotations

from typing import Any

from pytest_llmeval.engines.messages import answer_from_message
from pytest_llmeval.engines.reading import Unexpected, json_object, optional
from pytest_llmeval.engines.refusals import error_from_frame
from pytest_llmeval.engines.sse import Event
from pytest_llmeval.errors import EndpointUnreachable
from pytest_llmeval.records import Answer

#: By the type of a delta: the block it belongs to, and the field that its pieces add up to.
_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_use", "partial_json"),
}
_UNREAD_DELTAS = frozenset({"signature_delta", "citations_delta"})


class MessageEvents:
    """Takes the events of one message. `begun` says whether any of what was written has come."""

    def __init__(self, secret: str | None = None) -> None:
        self._secret = secret
        self._message: dict[str, Any] = {}
        self._blocks: list[_Block] = []
        self._stopped = False
        self.begun = False

    def add(self, event: Event) -> bool:
        """Take an event; returns whether it was the last one.

        Raises `Unexpected` for what breaks the format, and for an `error` the `EngineError` that it
        stands for.
        """
        data = json_object(event.data)
        kind = data.get("type")
        if kind == "error":
            raise error_from_frame(data, secret=self._secret)
        if kind == "message_start":
            self._start(data)
        elif kind == "message_stop":
            self._stopped = True
        elif kind == "message_delta":
            self._update(data)
        elif kind == "content_block_start":
            self._open(data)
        elif kind == "content_block_delta":
            self._extend(data)
        elif kind == "content_block_stop":
            self._block_of(data).open = False
        return self._stopped

    def answer(self) -> Answer:
        """Return what an unstreamed reply would have said.

        Raises `EndpointUnreachable` for a stream that ended in the middle of the message, and
        `Unexpected` for one that ended behind it without saying so.
        """
        if self._message.get("stop_reason") is None:
            raise EndpointUnreachable("The stream ended in the middle of an answer")
        if not self._stopped:
            raise Unexpected("its stream ended without a message_stop")
        content = [block.whole() for block in self._blocks]
        return answer_from_message({**self._message, "content": content})

    def _start(self, data: dict[str, Any]) -> None:
        message = optional(data, "message", dict)
        if message is None or self._message or self._blocks:
            raise Unexpected("message_start brings no message, or comes too late")
        self._message = message

    def _update(self, data: dict[str, Any]) -> None:
        delta = optional(data, "delta", dict) or {}
        usage = optional(data, "usage", dict) or {}
        before = optional(self._message, "usage", dict) or {}
        told = {key: value for key, value in usage.items() if value is not None}
        self._message = {**self._message, **delta, "usage": {**before, **told} or None}

    def _open(self, data: dict[str, Any]) -> None:
        block = optional(data, "content_block", dict)
        if block is None:
            raise Unexpected("content_block_start brings no block")
        if data.get("index") != len(self._blocks):
            raise Unexpected(f"content block {data.get('index')!r} is not the next one")
        self._blocks.append(_Block(block))
        self.begun = self.begun or block.get("type") == "tool_use"

    def _extend(self, data: dict[str, Any]) -> None:
        block, delta = self._block_of(data), optional(data, "delta", dict) or {}
        kind = delta.get("type")
        if kind in _UNREAD_DELTAS:
            return
        owner, key = _DELTAS.get(str(kind), (None, ""))
        if owner != block.start.get("type"):
            raise Unexpected(f"a {kind!r} belongs to no block of {block.start.get('type')!r}")
        piece: str = optional(delta, key, str) or ""
        block.pieces.append(piece)
        self.begun = self.begun or bool(piece)

    def _block_of(self, data: dict[str, Any]) -> _Block:
        index = data.get("index")
        if not isinstance(index, int) or not 0 <= index < len(self._blocks):
            raise Unexpected(f"{data.get('type')} is about content block {index!r}, unknown")
        if not self._blocks[index].open:
            raise Unexpected(f"content block {index} goes on behind its end")
        return self._blocks[index]


class _Block:
    """A block of content on its way: how it began, and the pieces of what it adds up to."""

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.pieces: list[str] = []
        self.open = True

    def whole(self) -> dict[str, Any]:
        kind, written = self.start.get("type"), "".join(self.pieces)
        if kind == "tool_use":
            return {**self.start, "input": self._input(written)}
        if kind in ("text", "thinking"):
            return {**self.start, kind: (optional(self.start, kind, str) or "") + written}
        return self.start

    def _input(self, written: str) -> object:
        """The object, or what was written where a limit has cut it off."""
        if not written:
            return self.start.get("input")
        try:
            return json_object(written.encode("utf-8", "surrogatepass"))
        except Unexpected:
            return written
