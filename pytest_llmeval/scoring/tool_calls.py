"""The scorer tool_call: the calls a model made are the calls it should have made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import Reading, brief, no_answer, read, unread
from pytest_llmeval.scoring.scorer import register

#: How models open a call in their text; a server that knows the model's format takes it out.
_CALL_TAG = re.compile(
    r"""<\s*(?:tool_calls?|function_calls?|toolcall|function)\b | <\|(?:tool_calls?|python_tag)\b
      | \[TOOL_CALLS?\] | <｜tool▁calls?▁begin""",
    re.IGNORECASE | re.VERBOSE,
)
_CALL_OBJECT = re.compile(r"\s*\[?\s*\{\s*\"(?:name|type|function)\"\s*:")
_CALL_KEYS = ("name", "arguments")
_OPENAI_KEYS = ("type", "function", "id")


class Call(NamedTuple):
    """A function's name and its arguments."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        arguments = json.dumps(self.arguments, ensure_ascii=False, sort_keys=True)
        return f"{self.name}({arguments})"


@register("tool_call")
@dataclass(frozen=True, slots=True)
class ToolCallScorer:
    """The calls equal the target's by name and arguments; several calls in any order.

    The target is a list of {name, arguments} (arguments an object, or the JSON of one), one such
    call, OpenAI's {type, function} around it, or the JSON of any of these; [] means that no tool is
    wanted. Arguments are compared as JSON values: key order is free, 1 is 1.0, true is not 1.
    A text where a call was due is wrong, and so is a call where none was.

    No answer, whether a call was due or not: nothing at all (an empty text, reasoning without an
    end), a call that the server left in the text (a tag such as <tool_call>, or the JSON of a call
    and nothing else), arguments that are no JSON object. Calls that the token limit ended are
    truncated when they are some of those wanted and none beside.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        wanted = _wanted(item)
        if not answer.tool_calls:
            return self._without_calls(answer, wanted)
        made = " ".join(f"{call.name}({call.raw})" for call in answer.tool_calls)
        calls = [Call(c.name, c.arguments) for c in answer.tool_calls if c.arguments is not None]
        if wanted and len(calls) < len(answer.tool_calls):
            return self._unreadable(answer, made)
        missing = _missing(calls, wanted) if len(calls) == len(answer.tool_calls) else None
        if missing and answer.finish_reason == "length":
            return self._cut(made, missing)
        right = missing == []
        sign = "=" if right else "≠"
        compared = f"compare: {brief(_shown(calls) or made)} {sign} {brief(_shown(wanted))}"
        return self._score(made, compared, right=right)

    def _without_calls(self, answer: Answer, wanted: Sequence[Call]) -> Score:
        reading = read(answer)
        if reading.missing is not None:
            return no_answer(self.name, reading, reading.missing)
        if _holds_a_call(reading):
            stage = "extract: a call in the text, which the server did not read"
            return no_answer(self.name, reading, unread(reading), stage)
        if not wanted:
            return self._score(None, "compare: no call, none wanted", right=True)
        if reading.cut:
            return no_answer(self.name, reading, "truncated")
        return self._score(None, f"compare: no call ≠ {brief(_shown(wanted))}", right=False)

    def _unreadable(self, answer: Answer, made: str) -> Score:
        reason = "truncated" if answer.finish_reason == "length" else "unparsed"
        stage = f"extract: arguments are no JSON object in {brief(made)}"
        return Score(self.name, "no_answer", 0.0, reason, made, (stage,))

    def _cut(self, made: str, missing: Sequence[Call]) -> Score:
        stage = f"compare: cut off before {brief(_shown(missing))}"
        return Score(self.name, "no_answer", 0.0, "truncated", made, (stage,))

    def _score(self, made: str | None, stage: str, *, right: bool) -> Score:
        if right:
            return Score(self.name, "right", 1.0, "", made, (stage,))
        return Score(self.name, "wrong", 0.0, "", made, (stage,))


def _shown(calls: Sequence[Call]) -> str:
    return " ".join(map(str, calls)) or "no call"


def _holds_a_call(reading: Reading) -> bool:
    """Say whether a text holds a call, or is nothing else: as JSON, or as the beginning of one."""
    if _CALL_TAG.search(reading.raw):
        return True
    if not _CALL_OBJECT.match(reading.text):
        return False
    try:
        value = json.loads(reading.text)
    except ValueError:
        return True
    return any(map(_looks_like_a_call, value if isinstance(value, list) else [value]))


def _looks_like_a_call(value: Any) -> bool:
    call = value.get("function", value) if isinstance(value, Mapping) else None
    return (
        isinstance(call, Mapping)
        and "name" in call
        and bool(call.keys() & {"arguments", "parameters"})
    )


def _missing(made: Sequence[Call], wanted: Sequence[Call]) -> list[Call] | None:
    """The wanted calls that were not made, each taken once; None when another one was made."""
    left = list(wanted)
    for call in made:
        place = next((i for i, other in enumerate(left) if _equal(call, other)), None)
        if place is None:
            return None
        del left[place]
    return left


def _equal(call: Call, other: Call) -> bool:
    return call.name == other.name and same_json(call.arguments, other.arguments)


def same_json(one: Any, other: Any) -> bool:
    """Equality of JSON values: objects without order, 1 equal to 1.0, true not equal to 1."""
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same_json(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(same_json(a, b) for a, b in zip(one, other, strict=True))
        )
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


# Targets ------------------------------------------------------------------------------------------


def _wanted(item: Item) -> list[Call]:
    """Read an item's target; raise ValueError, with what is allowed, when it is no such list."""
    try:
        target = json.loads(item.target) if isinstance(item.target, str) else item.target
        return [_call(each) for each in (target if _is_list(target) else [target])]
    except (TypeError, KeyError, ValueError) as error:
        message = f"the target of item {item.id} is no list of calls: {brief(repr(item.target))}"
        if isinstance(error, _UnknownKeyError):
            message += f" ({error})"
        example = '[{"name": "weather", "arguments": {"city": "Oslo"}}]'
        raise ValueError(f"{message}; it looks like {example}, or [] for none") from None


class _UnknownKeyError(ValueError):
    """A call of a target has a key that calls do not have."""


def _is_list(target: Any) -> bool:
    return isinstance(target, list | tuple)


def _call(each: Any) -> Call:
    function = each
    if isinstance(each, Mapping) and "function" in each:
        _check_keys(each, _OPENAI_KEYS)
        function = each["function"]
    if not isinstance(function, Mapping):
        raise TypeError
    _check_keys(function, _CALL_KEYS)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(arguments, Mapping):
        raise TypeError
    return Call(str(function["name"]), arguments)


def _check_keys(given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f", did you mean {near[0]}?" if near else ""
            raise _UnknownKeyError(f"unknown key {key!r}{hint or ', known: ' + ', '.join(known)}")
