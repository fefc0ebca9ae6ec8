"""What faults make of real answers: whole bodies, and streams event by event. Pure.

An answer beside its fault is the model's: nothing is added that could be taken for it. Each
function gives None where there is nothing that its fault could happen to.
"""

from __future__ import annotations

import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_ENDS = ("[DONE]", "message_stop")

Whole = Callable[[bytes, random.Random], bytes | None]
"""Makes a body of a body."""


# Whole answers ------------------------------------------------------------------------------------


def cut_json(body: bytes, chance: random.Random) -> bytes:
    """An object or a list without its end is JSON at no place; anything else is given a beginning
    that has no end.
    """
    body = body.strip()
    if body[:1] not in {b"{", b"["} or len(body) < 2:
        return b"{"
    return body[: chance.randrange(1, len(body))]


def put_garbage(body: bytes, chance: random.Random) -> bytes:
    """0xFF stands in no UTF-8."""
    place = chance.randrange(len(body) + 1)
    return body[:place] + b"\xff\xfe" + body[place:]


def cut_calls(body: bytes, chance: random.Random) -> bytes | None:
    """The arguments of every tool call, cut where they are no JSON any more."""
    answer = _object(body)
    functions = [
        call["function"]
        for choice in _objects(answer, "choices")
        for call in _objects(choice.get("message"), "tool_calls")
        if isinstance(call.get("function"), dict)
    ]
    cut = False
    for function in functions:
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments.strip().startswith("{"):
            function["arguments"] = _cut_object(arguments.strip(), chance)
            cut = True
    return _dumped(answer) if cut else None


def _cut_object(written: str, chance: random.Random) -> str:
    return written[: chance.randrange(1, len(written))] if len(written) > 1 else written


def double_choice(body: bytes, _: random.Random) -> bytes | None:
    """The first choice twice, both of index 0."""
    answer = _object(body)
    choices = _objects(answer, "choices")
    if answer is None or not choices:
        return None
    answer["choices"] = [choices[0], *choices]
    return _dumped(answer)


WHOLE: Mapping[str, Whole] = {
    "invalid_json": cut_json,
    "garbage_utf8": put_garbage,
    "cut_arguments": cut_calls,
    "duplicate_index": double_choice,
}


# Streams ------------------------------------------------------------------------------------------


class Blocks:
    """Cuts a stream into its blocks, each with the blank line that ends it, wherever it was cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The blocks that some bytes complete."""
        # A CR at the end may be half of a CRLF: it waits for what follows.
        self._rest += piece
        while found := _BLANK_LINE.search(self._rest):
            block, self._rest = self._rest[: found.end()], self._rest[found.end() :]
            yield block

    def rest(self) -> bytes:
        """What the stream's end has cut off."""
        rest, self._rest = self._rest, b""
        return rest


class Rewriter(ABC):
    """Makes blocks of a block, None where the fault does not concern it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    @abstractmethod
    def feed(self, block: bytes) -> list[bytes] | None:
        """What is sent for a block."""


class SpoilOne(Rewriter):
    """Spoils the data of one of the first two events that are JSON."""

    def __init__(self, chance: random.Random, spoil: Callable[[bytes, random.Random], bytes]):
        super().__init__(chance)
        self._spoil = spoil
        self._left: int | None = chance.randrange(2)

    def feed(self, block: bytes) -> list[bytes] | None:
        """Spoil it when it is its turn."""
        if self._left is None or json_of(block) is None:
            return None
        if self._left:
            self._left -= 1
            return None
        self._left = None
        return [with_data(block, self._spoil(data_of(block), self.chance))]


class CutCalls(Rewriter):
    """Cuts the first piece of arguments that says something, and empties all that follow."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._cut: set[Any] = set()

    def feed(self, block: bytes) -> list[bytes] | None:
        """Cut its pieces of arguments, if it has any."""
        chunk = json_of(block)
        changed = False
        for call in _pieces_of_calls(chunk):
            function = call.get("function")
            written = function.get("arguments") if isinstance(function, dict) else None
            if not isinstance(function, dict) or not isinstance(written, str) or not written:
                continue
            first = call.get("index") not in self._cut
            function["arguments"] = _cut_object(written, self.chance) if first else ""
            self._cut.add(call.get("index"))
            changed = True
        return [with_data(block, _dumped(chunk))] if changed else None


class DropEnd(Rewriter):
    """Drops the event that says that the stream is complete."""

    def feed(self, block: bytes) -> list[bytes] | None:
        """Drop it if it is that one."""
        data = data_of(block).decode("utf-8", "replace").strip()
        kind = (json_of(block) or {}).get("type")
        return [] if data in _ENDS or kind in _ENDS else None


class Double(Rewriter):
    """A call begins twice under the same index, or the first choice that writes something stands
    twice, whichever comes first.
    """

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._done = False

    def feed(self, block: bytes) -> list[bytes] | None:
        """Double what is to be doubled, once."""
        chunk = json_of(block)
        choices = _objects(chunk, "choices")
        if self._done or chunk is None or not choices:
            return None
        if any((call.get("function") or {}).get("name") for call in _pieces_of_calls(chunk)):
            self._done = True
            return [block, block]
        delta = choices[0].get("delta") or {}
        if delta.get("content") or choices[0].get("text"):
            self._done = True
            chunk["choices"] = [choices[0], *choices]
            return [with_data(block, _dumped(chunk))]
        return None


class Pad(Rewriter):
    """Puts chunks that say nothing before each that does: no choices, and an empty delta."""

    def feed(self, block: bytes) -> list[bytes] | None:
        """Put them before it."""
        chunk = json_of(block)
        choices = _objects(chunk, "choices")
        if chunk is None or not choices or choices[0].get("finish_reason") is not None:
            return None
        kept = {key: value for key, value in chunk.items() if key not in {"usage", "timings"}}
        nothing: dict[str, Any] = {"text": ""} if "text" in choices[0] else {"delta": {}}
        empty = {"index": 0, "finish_reason": None, **nothing}
        blocks = [_dumped({**kept, "choices": each}) for each in ([], [empty])]
        return [*(with_data(block, each) for each in blocks), block]


REWRITERS: Mapping[str, Callable[[random.Random], Rewriter]] = {
    "invalid_json": lambda chance: SpoilOne(chance, cut_json),
    "garbage_utf8": lambda chance: SpoilOne(chance, put_garbage),
    "cut_arguments": CutCalls,
    "missing_done": DropEnd,
    "duplicate_index": Double,
    "empty_deltas": Pad,
}


def data_of(block: bytes) -> bytes:
    """The data of a block of a stream of events."""
    lines = [line for line in block.splitlines() if line.startswith(b"data:")]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def json_of(block: bytes) -> dict[str, Any] | None:
    """The JSON object that a block holds."""
    return _object(data_of(block))


def with_data(block: bytes, data: bytes) -> bytes:
    """The same block with other data; its event's name and the like stay."""
    others = [line for line in block.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*others, b"data: " + data, b"", b""])


def _pieces_of_calls(chunk: dict[str, Any] | None) -> list[dict[str, Any]]:
    choices = _objects(chunk, "choices")
    return [call for choice in choices for call in _objects(choice.get("delta"), "tool_calls")]


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text.decode("utf-8")) if text.strip().startswith(b"{") else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _objects(holder: object, key: str) -> list[dict[str, Any]]:
    found = holder.get(key) if isinstance(holder, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _dumped(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
