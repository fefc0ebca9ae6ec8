"""What an endpoint has sent, read strictly: what breaks its promise is named. Pure.

Readers raise `Unexpected` with what is wrong; `read_reply` makes the complete message of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from pytest_llmeval.depth import too_deep_at
from pytest_llmeval.engines.refusals import quote, shortened, without
from pytest_llmeval.errors import BadAnswer, BadLogprobs, EngineError
from pytest_llmeval.records import ToolCall

T = TypeVar("T")

_LONGEST_MS = 1e12
_LARGEST_COUNT = 1e18
"""Beyond this, a count of tokens or of nanoseconds is no such thing."""

_GZIP = b"\x1f\x8b"

encode = json.JSONEncoder(separators=(",", ":")).encode


class Unexpected(Exception):
    """Says what is wrong with a body, for `read_reply` to complete; `becomes` is the error then."""

    becomes: type[BadAnswer | BadLogprobs] = BadAnswer


class UnexpectedLogprob(Unexpected):
    """The same of a log probability that can be none."""

    becomes = BadLogprobs


def read_reply(body: bytes, read: Callable[[dict[str, Any]], T], secret: str | None = None) -> T:
    """Read the JSON object that is the body of a reply with status 200.

    Raises `BadAnswer` for anything that is not what `read` expects (`BadLogprobs` for a log
    probability that is none), quoting how the body begins; `secret` is taken out of the quotation.
    """
    try:
        return read(json_object(body))
    except Unexpected as problem:
        raise bad_answer(problem, body, secret) from None


def bad_answer(problem: Unexpected, body: bytes, secret: str | None) -> EngineError:
    """Complete what is wrong with a body by how it begins; `secret` is taken out of both."""
    words, beginning = without(str(problem), secret), quote(body, secret=secret)
    return problem.becomes(f"The answer cannot be used: {words}. It begins: {beginning}")


def json_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body, or the data of an event, holds."""
    try:
        data = _decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        packed = body.startswith(_GZIP)
        problem = "it is compressed (gzip), which nobody asked for" if packed else "it is not UTF-8"
        raise Unexpected(problem) from error
    except (ValueError, RecursionError) as error:
        raise Unexpected("it is not JSON") from error
    if not isinstance(data, dict):
        raise Unexpected(f"it is {kind_of(data)}, not an object")
    return data


def no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read."""
    raise Unexpected(f"it holds {name}, which is not JSON")


# One decoder for all bodies: json.loads with a function of its own makes a new one for every call.
_decode = json.JSONDecoder(parse_constant=no_constant).decode


def optional(data: Mapping[str, Any], key: str, expected: type) -> Any:
    """Return a field of the expected type, None when it is null or missing."""
    value = data.get(key)
    is_bool = isinstance(value, bool) and expected is not bool  # which Python counts as an int
    if value is not None and (is_bool or not isinstance(value, expected)):
        raise Unexpected(f"{key} is {kind_of(value)}, not {_KINDS[expected]}")
    return value


def objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of objects, empty when it is null or missing."""
    found = optional(data, key, list) or []
    if not all(isinstance(each, dict) for each in found):
        raise Unexpected(f"{key} is not a list of objects")
    return cast("list[dict[str, Any]]", found)


def count(data: Mapping[str, Any], key: str) -> int | None:
    """Return a number of tokens or of nanoseconds, None when it is null or missing."""
    value = optional(data, key, int)
    if value is not None and not 0 <= value < _LARGEST_COUNT:
        raise Unexpected(f"{key} is {shortened(str(value))}, which cannot be")
    return cast("int | None", value)


def milliseconds(timings: dict[str, Any], key: str) -> float | None:
    """Return one of llama.cpp's times, None when it is null or missing."""
    value = timings.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unexpected(f"timings.{key} is {kind_of(value)}, not a number")
    if not 0 <= value < _LONGEST_MS:
        raise Unexpected(f"timings.{key} is {value}, not a time")
    return float(value)


def call_of(name: str, arguments: object) -> ToolCall:
    """Return a tool call whose arguments are an object, or a text that may hold one."""
    if isinstance(arguments, dict):
        raw = encode(arguments)
        return ToolCall(name, None if _too_deep(raw) else _recordable(arguments), raw)
    if isinstance(arguments, str):
        return ToolCall(name, _parsed_arguments(arguments), arguments)
    return ToolCall(name, None, "" if arguments is None else encode(arguments))


def _parsed_arguments(raw: str) -> Mapping[str, Any] | None:
    if _too_deep(raw):
        return None
    try:
        value = _decode(raw)
    except (ValueError, RecursionError, Unexpected):
        return None
    return _recordable(value) if isinstance(value, dict) else None


def _too_deep(raw: str) -> bool:
    """Scorers walk through arguments, and would come to the end of Python's stack."""
    return too_deep_at(raw) is not None


def _recordable(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return None instead of arguments with a number such as 1e999: JSON that reads as infinity,
    which no JSON can hold again.
    """
    try:
        json.dumps(arguments, allow_nan=False)
    except ValueError:
        return None
    return arguments


def finite(value: object, what: str) -> float:
    """Return a number that is one, also where JSON has written 1e999; `what` names it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unexpected(f"{what} is {kind_of(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise Unexpected(f"{what} is {number}, not a number")
    return number


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
    """Say what kind of JSON a value is."""
    return _KINDS[type(value)]
