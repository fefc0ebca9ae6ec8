"""Which instance a request is for; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from pytest_llmeval.inputs.mistakes import did_you_mean
from pytest_llmeval.orchestrator.front_door.messages import Page, error
from pytest_llmeval.orchestrator.views import InstanceView

SCAN_FROM = 64 * 1024
"""Bytes from which a body is searched instead of parsed.

Parsing costs 2.6 ms for a picture of 1 MB in base64, searching 0.1: long texts are jumped over.
"""

_VALUE = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*")?', re.DOTALL)
_KEY_FOLLOWS = re.compile(rb"\s*:")
_DEPTH = dict.fromkeys(b"{[", 1) | dict.fromkeys(b"}]", -1)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _DEPTH)


class NotJsonError(ValueError):
    """A body is no JSON object."""


def model_of(body: bytes) -> str | None:
    """The text under the key `model` of a body's outermost object, None where there is none.

    Raises NotJsonError. Where a long body is not JSON, that may be left to the server to say.
    """
    if len(body) >= SCAN_FROM:
        return _search(body)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise NotJsonError(str(wrong)) from wrong
    if not isinstance(content, dict):
        raise NotJsonError(f"a JSON object is expected, not {type(content).__name__}")
    model = content.get("model")
    return model if isinstance(model, str) else None


def _search(body: bytes) -> str | None:
    """`model_of` without parsing: from quote to quote, counting the brackets between texts."""
    if not body.lstrip().startswith(b"{"):
        raise NotJsonError("a JSON object is expected")
    model, depth, at = None, 0, 0
    while (opening := body.find(b'"', at)) >= 0:
        for bracket in body[at:opening].translate(None, _NO_BRACKETS):
            depth += _DEPTH[bracket]
        at = _end_of_text(body, opening)
        if depth == 1 and _KEY_FOLLOWS.match(body, at) and _is_model(body[opening:at]):
            found = _VALUE.match(body, at)
            assert found is not None
            model = _text(found[1]) if found[1] else None
            at = found.end() if found[1] else at
    return model


def _end_of_text(body: bytes, opening: int) -> int:
    """The place after the quote that closes a text: an even number of backslashes precedes it."""
    at = opening
    while (at := body.find(b'"', at + 1)) >= 0:
        before = at - 1
        while body[before] == 0x5C:
            before -= 1
        if (at - before) % 2:
            return at + 1
    raise NotJsonError("a text has no end")


def _is_model(key: bytes) -> bool:
    return key == b'"model"' or (b"\\" in key and _text(key) == "model")


def _text(written: bytes) -> str:
    try:
        text: str = json.loads(written)
    except ValueError as wrong:
        raise NotJsonError(str(wrong)) from wrong
    return text


def names_of(views: Sequence[InstanceView]) -> dict[str, str]:
    """The instance for each name that requests may use. A name goes before an alias of another,
    and of two instances with one alias the first has it.
    """
    found = {view.name: view.name for view in views}
    for view in views:
        for alias in view.aliases:
            found.setdefault(alias, view.name)
    return found


def unknown_model(given: str, names: Mapping[str, str]) -> Page:
    """That there is no such model, which there are, and the nearest."""
    there_are = ", ".join(names) if names else "none yet; llama-orch init writes a first one"
    return error(
        404,
        f"no model {given!r}{did_you_mean(given, names)} (models: {there_are})",
        code="model_not_found",
        param="model",
    )


def no_model(names: Mapping[str, str]) -> Page:
    """That the request names no model although there are several."""
    return error(
        400,
        f"the request names no model: set `model` to one of {', '.join(names) or '(none yet)'}",
        code="missing_required_parameter",
        param="model",
    )
