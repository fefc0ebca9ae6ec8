"""JSON in answers: reading it strictly, and comparing values as JSON does."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pytest_llmeval.depth import TOO_DEEP, too_deep_at
from pytest_llmeval.records import Answer
from pytest_llmeval.scoring.extraction import Reading, read

#: A fence alone in its line, or with what it holds named behind it.
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)([^\n`]*)$", re.MULTILINE)


class JsonText(NamedTuple):
    """What was read: the value and where it stood, or in `problem` why there is none.

    `twice` are the keys that were given more than once in some object.
    """

    value: Any
    how: str
    problem: str | None = None
    twice: tuple[str, ...] = ()


def read_json(answer: Answer) -> Reading:
    """Read an answer like `read`; but in what is JSON as it stands, tags are part of its texts."""
    reading = read(answer)
    if reading.raw != answer.text and _parsed(answer.text, "").problem is None:
        return replace(reading, text=answer.text, raw=answer.text, stages=(), missing=None)
    return reading


def json_in(reading: Reading) -> JsonText:
    """The JSON value that an answer is, or that its only fenced block holds.

    RFC 8259 to the letter: NaN and Infinity are none, nor are comments, trailing commas and single
    quotes, nor a number that is larger than a computer's. Of a key that is given twice the last
    value counts, as in Python, JavaScript and most parsers; that it was given twice is recorded.
    """
    whole = json_alone_in(reading)
    if whole.problem is None:
        return whole
    blocks = _blocks(reading.raw)
    return _parsed(blocks[0], "the fenced block") if len(blocks) == 1 else whole


def json_alone_in(reading: Reading) -> JsonText:
    """The JSON value that an answer is, with nothing but markup around all of it; see `json_in`."""
    return _parsed(reading.text, "the whole text")


def _blocks(text: str) -> list[str]:
    """What stands between fences, in one pass: each is closed by the next one of its own kind."""
    blocks: list[str] = []
    fence, begin = "", 0
    for line in _FENCE.finditer(text):
        if not fence:
            fence, begin = line[1], line.end() + 1
        elif line[1] == fence and not line[2].strip():
            blocks.append(text[begin : line.start()])
            fence = ""
    return blocks


def loaded_json(text: str) -> Any:
    """The value of JSON text; ValueError when it is none, or cannot be read (see `json_in`)."""
    if too_deep_at(text) is not None:
        raise ValueError(TOO_DEEP)
    return json.loads(text, parse_constant=_no_constant, parse_float=_finite)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large a number")
    return number


def _parsed(text: str, how: str) -> JsonText:
    twice: list[str] = []

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            times = Counter(name for name, _ in pairs)
            twice.extend(name for name in values if times[name] > 1)
        return values

    if too_deep_at(text) is not None:
        return JsonText(None, how, f"no JSON that can be read: {TOO_DEEP}")
    try:
        value = json.loads(
            text,
            object_pairs_hook=as_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except json.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        return JsonText(None, how, f"no JSON: {problem.msg} ({place})")
    except ValueError as problem:  # a constant, or a number of thousands of digits
        return JsonText(None, how, f"no JSON that can be read: {problem}")
    if twice:
        how += f"; given twice, the last counts: {', '.join(map(repr, twice))}"
    return JsonText(value, how, twice=tuple(twice))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def same_json(one: Any, other: Any, same_text: Callable[[str, str], bool] = str.__eq__) -> bool:
    """Equality of JSON values: objects without order, 1 equal to 1.0, true not equal to 1.

    `same_text` compares the strings in them; keys are compared as they are.
    """
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same_json(value, other[key], same_text) for key, value in one.items())
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(same_json(a, b, same_text) for a, b in zip(one, other, strict=True))
        )
    if isinstance(one, str):
        return isinstance(other, str) and same_text(one, other)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def shown_json(value: Any) -> str:
    """A value as JSON text, for records and messages."""
    return json.dumps(value, ensure_ascii=False, default=str)
