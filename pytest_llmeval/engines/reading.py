"""What servers send, read with care: JSON objects, their fields, and words for what is wrong. Pure.

Whatever a field promises and does not keep is `Unexpected`; only the reader of the whole knows what
to quote, and makes a `BadAnswer` of it (`bad_answer`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast, get_args

from pytest_llmeval.engines.refusals import quote, without
from pytest_llmeval.errors import BadAnswer
from pytest_llmeval.records import FinishReason, ToolCall

FINISH_REASONS = get_args(FinishReason)
_LONGEST_VALUE = 200
_GZIP = b"\x1f\x8b"

encode = json.JSONEncoder(separators=(",", ":")).encode


class Unexpected(Exception):
    """Says what is wrong with something that came, without saying what came."""


def bad_answer(problem: Unexpected, body: bytes, secret: str | None) -> BadAnswer:
    """Complete what is wrong with a body by how it begins; `secret` is taken out of both."""
    words, beginning = without(str(problem), secret), quote(body, secret=secret)
    return BadAnswer(f"The answer cannot be used: {words}. It begins: {beginning}")


def json_object(body: bytes) -> dict[str, Any]:
    """Read a body, or the data of an event, as a JSON object."""
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        packed = body.startswith(_GZIP)
        problem = "it is compressed (gzip), which nobody asked for" if packed else "it is not UTF-8"
        raise Unexpected(problem) from error
    except (ValueError, RecursionError) as error:
        raise Unexpected("it is not JSON") from error
    if not isinstance(data, dict):
        raise Unexpected(f"it is {kind_of(data)}, not an object")
    return data


def optional(data: Mapping[str, Any], key: str, expected: type) -> Any:
    """Return a field of the expected type, None when it is null or missing."""
    value = data.get(key)
    if value is not None and not isinstance(value, expected):
        raise Unexpected(f"{key} is {kind_of(value)}, not {_KINDS[expected]}")
    return value


def count(data: Mapping[str, Any], key: str) -> int | None:
    """Return a number of tokens, None when it is null or missing."""
    value = optional(data, key, int)
    if value is not None and (isinstance(value, bool) or value < 0):
        raise Unexpected(f"{key} is {json.dumps(value)}, not a number of tokens")
    return cast("int | None", value)


def finish_reason(value: object) -> FinishReason:
    """Return one of OpenAI's finish reasons as it is."""
    if value not in FINISH_REASONS:
        known = ", ".join(FINISH_REASONS)
        raise Unexpected(
            f"finish_reason is {json.dumps(value)[:_LONGEST_VALUE]}, not one of {known}"
        )
    return cast(FinishReason, value)


def call_of(name: str, arguments: object) -> ToolCall:
    """Return a tool call with arguments that are an object, or a text that may hold one."""
    if isinstance(arguments, dict):
        return ToolCall(name, _recordable(arguments), encode(arguments))
    if isinstance(arguments, str):
        return ToolCall(name, _parsed(arguments), arguments)
    return ToolCall(name, None, "" if arguments is None else encode(arguments))


def _parsed(raw: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError, Unexpected):
        return None
    return _recordable(value) if isinstance(value, dict) else None


def _recordable(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return None instead of arguments with a number such as 1e999: JSON that reads as infinity,
    which no JSON can hold again.
    """
    try:
        json.dumps(arguments, allow_nan=False)
    except ValueError:
        return None
    return arguments


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read."""
    raise Unexpected(f"it holds {name}, which is not JSON")


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null or missing",
}


def kind_of(value: object) -> str:
    """Return what kind of JSON value this is, in words."""
    return _KINDS[type(value)]
