"""What an endpoint has sent, read strictly: what breaks its promise is named. Pure.

Readers raise `Unexpected` with what is wrong; `read_reply` makes the complete message of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

from pytest_llmeval.engines.refusals import quote, without
from pytest_llmeval.errors import BadAnswer

T = TypeVar("T")

LONGEST_VALUE = 200
"""So many characters of a value are shown in a message."""

_LONGEST_MS = 1e12


class Unexpected(Exception):
    """Says what is wrong with a body, for `read_reply` to complete."""


def read_reply(body: bytes, read: Callable[[dict[str, Any]], T], secret: str | None = None) -> T:
    """Read the JSON object that is the body of a reply with status 200.

    Raises `BadAnswer` for anything that is not what `read` expects, quoting how the body begins;
    `secret` is taken out of the quotation.
    """
    try:
        return read(json_object(body))
    except Unexpected as error:
        problem, beginning = without(str(error), secret), quote(body, secret=secret)
        raise BadAnswer(f"The answer cannot be used: {problem}. It begins: {beginning}") from None


def json_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds."""
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=no_constant)
    except UnicodeDecodeError as error:
        raise Unexpected("it is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Unexpected("it is not JSON") from error
    if not isinstance(data, dict):
        raise Unexpected(f"it is {kind_of(data)}, not an object")
    return data


def no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read."""
    raise Unexpected(f"it holds {name}, which is not JSON")


def optional(data: dict[str, Any], key: str, expected: type) -> Any:
    """Return a field of the expected type, None when it is null or missing."""
    value = data.get(key)
    if value is not None and not isinstance(value, expected):
        raise Unexpected(f"{key} is {kind_of(value)}, not {_KINDS[expected]}")
    return value


def count(data: dict[str, Any], key: str) -> int | None:
    """Return a number of tokens, None when it is null or missing."""
    value = optional(data, key, int)
    if value is not None and (isinstance(value, bool) or value < 0):
        raise Unexpected(f"{key} is {json.dumps(value)}, not a number of tokens")
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


def finite(value: object, what: str) -> float:
    """Return a number that is one, also where JSON has written 1e999; `what` names it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unexpected(f"{what} is {kind_of(value)}, not a number")
    if not math.isfinite(value):
        raise Unexpected(f"{what} is {value}, not a number")
    return float(value)


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
