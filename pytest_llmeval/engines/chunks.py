"""The chunks of a streamed completion, put together into what would have come whole. Pure.

Everything is read by the same code whether it was streamed or not: chunks become the object of an
unstreamed reply, and what is special here is only what can go wrong between them. Facts of the
format: deltas hold `content`, `reasoning_content` (or `reasoning`) and `tool_calls`, of which id
and name come with the first delta of an index and the arguments in pieces; `finish_reason` comes
once; then perhaps a chunk without choices that has `usage` and llama.cpp's `timings`; then
`data: [DONE]`. In a raw completion the pieces are called `text`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_llmeval.engines.chat import REASONING
from pytest_llmeval.engines.reading import Unexpected, json_object, kind_of, optional
from pytest_llmeval.engines.refusals import error_from_frame
from pytest_llmeval.engines.sse import Event
from pytest_llmeval.errors import EndpointUnreachable
from pytest_llmeval.records import Answer

Read = Callable[[dict[str, Any]], Answer]
"""Reads an answer that is JSON already; raises `Unexpected`."""

_DONE = b"[DONE]"
_BESIDES = ("usage", "timings")


class Chunks:
    """Takes the events of one answer. `begun` says whether any of what was written has come.

    `read` makes the answer of the object; `secret` is taken out of a server's words.
    """

    def __init__(self, read: Read, secret: str | None = None) -> None:
        self._read = read
        self._secret = secret
        self._written: dict[str, list[str]] = {}
        self._calls: list[_Call] = []
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: object = None
        self._besides: dict[str, Any] = {}
        self._done = False
        self.begun = False

    def add(self, event: Event) -> bool:
        """Take an event; returns whether it was the last one.

        Raises `Unexpected` for what is no chunk, and for an error in its place the `EngineError`
        that it stands for.
        """
        if event.data == _DONE:
            self._done = True
            return True
        chunk = json_object(event.data)
        if chunk.get("error") is not None:
            raise error_from_frame(chunk, secret=self._secret)
        choices = optional(chunk, "choices", list)
        if choices is None:
            raise Unexpected("it has no choices")
        if len(choices) > 1:  # also twice the first one, whose text would be taken twice
            raise Unexpected("it has a second choice, and one was asked for")
        for choice in choices:
            self._take(choice)
        self._besides |= {key: chunk[key] for key in _BESIDES if chunk.get(key) is not None}
        return False

    def answer(self) -> Answer:
        """Return what an unstreamed reply would have said; raises as `whole`, and `Unexpected`."""
        return self._read(self.whole())

    def whole(self) -> dict[str, Any]:
        """Return the object that an unstreamed reply would have been.

        Raises `EndpointUnreachable` for a stream that ended in the middle of the answer, and
        `Unexpected` for one that ended behind it without saying so.
        """
        if self._finish_reason is None:
            raise EndpointUnreachable("The stream ended in the middle of an answer")
        if not self._done:
            raise Unexpected("its stream ended without data: [DONE]")
        written = {key: "".join(parts) for key, parts in self._written.items()}
        choice: dict[str, Any] = {"finish_reason": self._finish_reason}
        if "text" in written:
            choice["text"] = written.pop("text")
        message: dict[str, Any] = {key: text for key, text in written.items() if text}
        if self._calls:
            message["tool_calls"] = [call.whole() for call in self._calls]
        if self._logprobs:
            choice["logprobs"] = self._logprobs
        return {"choices": [{**choice, "message": message}], **self._besides}

    def _take(self, choice: object) -> None:
        if not isinstance(choice, dict):
            raise Unexpected(f"an entry of choices is {kind_of(choice)}, not an object")
        if choice.get("index") not in (0, None):
            raise Unexpected("it has a second choice, and one was asked for")
        delta = optional(choice, "delta", dict) or {}
        calls = optional(delta, "tool_calls", list) or ()
        pieces = [(key, optional(delta, key, str)) for key in ("content", *REASONING)]
        pieces.append(("text", optional(choice, "text", str)))
        if calls or any(piece for _, piece in pieces):
            self.begun = True
            if self._finish_reason is not None:
                raise Unexpected("it goes on behind its finish_reason")
        for key, piece in pieces:
            if piece is not None:
                self._written.setdefault(key, []).append(piece)
        for call in calls:
            self._take_call(call)
        for key, tokens in (optional(choice, "logprobs", dict) or {}).items():
            if isinstance(tokens, list):
                self._logprobs.setdefault(key, []).extend(tokens)
        self._finish(choice.get("finish_reason"))

    def _finish(self, reason: object) -> None:
        if reason is not None and self._finish_reason not in (None, reason):
            raise Unexpected("it has a second finish_reason, another one")
        self._finish_reason = self._finish_reason or reason

    def _take_call(self, delta: object) -> None:
        index = delta.get("index") if isinstance(delta, dict) else None
        if not isinstance(delta, dict) or not isinstance(index, int):
            raise Unexpected("a piece of a tool call has no index")
        function = optional(delta, "function", dict) or {}
        given, name = optional(delta, "id", str), optional(function, "name", str)
        if index == len(self._calls):
            self._calls.append(_Call(given, name))
        elif not 0 <= index < len(self._calls):
            raise Unexpected(f"tool call {index} comes after {len(self._calls)} others")
        elif name or (given and given != self._calls[index].id):
            raise Unexpected(f"tool call {index} begins a second time")
        self._calls[index].arguments.append(optional(function, "arguments", str) or "")


class _Call:
    """A tool call on its way: id and name are there from the first piece on."""

    def __init__(self, id_: str | None, name: str | None) -> None:
        self.id = id_
        self.name = name
        self.arguments: list[str] = []

    def whole(self) -> dict[str, Any]:
        return {"function": {"name": self.name, "arguments": "".join(self.arguments)}}


class LlamaCppPieces:
    """The same for llama.cpp's own /completion: pieces of `content`, of which the last one, with
    `stop: true`, holds everything else of the reply.
    """

    def __init__(self, read: Read, secret: str | None = None) -> None:
        self._read = read
        self._secret = secret
        self._content: list[str] = []
        self._logprobs: list[Any] = []
        self._last: dict[str, Any] | None = None
        self.begun = False

    def add(self, event: Event) -> bool:
        """Take an event; returns whether it was the last one; raises as `Chunks.add`."""
        piece = json_object(event.data)
        if piece.get("error") is not None:
            raise error_from_frame(piece, secret=self._secret)
        content = optional(piece, "content", str)
        if content is None:
            raise Unexpected("it has no content")
        self._content.append(content)
        self._logprobs += optional(piece, "completion_probabilities", list) or ()
        self.begun = self.begun or bool(content)
        if piece.get("stop") is True:
            self._last = piece
        return self._last is not None

    def answer(self) -> Answer:
        """Return what an unstreamed reply would have said; raises as `Chunks.answer`."""
        if self._last is None:
            raise EndpointUnreachable("The stream ended in the middle of an answer")
        joined = {"content": "".join(self._content), "completion_probabilities": self._logprobs}
        return self._read({**self._last, **joined})
