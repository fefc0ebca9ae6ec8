"""JSON from endpoints, read with types: what is not as promised is told in words. Pure."""

from __future__ import annotations

import json
from typing import Any, cast

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null or missing",
}
_LARGEST = 1e18
"""Beyond this, a count of tokens or of nanoseconds is no such thing."""


class Unexpected(Exception):
    """Says what is wrong with a body, in words that follow "it cannot be used: "."""


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; raises `Unexpected` for anything else, NaN included."""
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Unexpected("it is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Unexpected("it is not JSON") from error
    if not isinstance(data, dict):
        raise Unexpected(f"it is {kind_of(data)}, not an object")
    return data


def optional(data: dict[str, Any], key: str, expected: type) -> Any:
    """A field of the expected type, None when it is null or missing."""
    value = data.get(key)
    is_bool = isinstance(value, bool) and expected is not bool
    if value is not None and (is_bool or not isinstance(value, expected)):
        raise Unexpected(f"{key} is {kind_of(value)}, not {_KINDS[expected]}")
    return value


def objects(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects, empty when it is null or missing."""
    found = optional(data, key, list) or []
    if not all(isinstance(each, dict) for each in found):
        raise Unexpected(f"{key} is not a list of objects")
    return cast("list[dict[str, Any]]", found)


def count(data: dict[str, Any], key: str) -> int | None:
    """A whole number from 0, None when it is null or missing."""
    value = optional(data, key, int)
    if value is not None and not 0 <= value < _LARGEST:
        raise Unexpected(f"{key} is {value}, which cannot be")
    return cast("int | None", value)


def number(data: dict[str, Any], key: str) -> float:
    """A finite number, which must be there."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unexpected(f"{key} is {kind_of(value)}, not a number")
    if not -_LARGEST < value < _LARGEST:  # 1e999 is JSON and reads as infinity
        raise Unexpected(f"{key} is {value}, which cannot be")
    return float(value)


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _KINDS[type(value)]


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read."""
    raise Unexpected(f"it holds {name}, which is not JSON")
