"""The scorer tool_call: the calls a model made are the calls it should have made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_llmeval.records import Answer, Item, Score, ToolCall
from pytest_llmeval.scoring.calls import (
    Call,
    Wanted,
    as_arguments,
    differences,
    matched,
    wanted_calls,
)
from pytest_llmeval.scoring.extraction import Reading, brief, cut_by, no_answer, read, unread
from pytest_llmeval.scoring.json_reading import loaded_json
from pytest_llmeval.scoring.scorer import register

#: How models open a call in their text; a server that knows the model's format takes it out. A tag
#: in plain words may be spoken of, so that what a call is made of stands behind it.
_CALL_TAG = re.compile(
    r"""<\s*(?:tool_calls?|function_calls?|toolcall|function)\b
          (?: \s*=\s*[\w.-] | [^<>]{0,80}>\s*
              (?: \Z | (?:[\w.-]{1,64}\s*)? (?:```(?:json)?\s*)?
                  (?: [\[{] | <\s*(?:function|invoke|parameter|arg_key|tool)\b ) ) )
      | <\|(?:tool_calls?|python_tag)\b | \[TOOL_CALLS?\] | <｜tool▁calls?▁begin""",
    re.IGNORECASE | re.VERBOSE,
)
_CALL_OBJECT = re.compile(r"\s*(?:\[\s*)?\{\s*\"(?:name|type|function)\"\s*:")


@register("tool_call")
@dataclass(frozen=True, slots=True)
class ToolCallScorer:
    """The calls are the target's by name and arguments; several calls in any order.

    The target is a list of {name, arguments} (arguments an object, or the JSON of one), one such
    call, OpenAI's {type, function} around it, or the JSON of any of these; [] means that no tool is
    wanted. A call may also have `alternatives`, further values that an argument may have
    ({city: [Oslo, "Oslo, Norway"]}), and `optional`, a list of arguments that may be missing.

    Arguments are compared as JSON values: key order is free, 1 is 1.0, true is not 1. In strings
    case does not count, nor do spaces and , . / - _ * ^, as in BFCL, unless `exact_strings: true`;
    but beside a digit the signs do (-1 is not 1, 3.14 not 314), and where nothing else is there.
    A text where a call was due is wrong, and so is a call where none was. What is wrong is recorded
    in BFCL's categories: wrong count, wrong function, missing argument, unexpected argument, wrong
    type, wrong value.

    No answer, whether a call was due or not: nothing at all (an empty text, reasoning without an
    end), a call that the server left in the text (behind a tag such as <tool_call>, or the JSON of
    a call and nothing else), arguments that are no JSON object; {} may be written as null or as
    nothing where none are due. Calls that the token limit ended are truncated when they are some of
    those wanted and none beside.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    exact_strings: bool = False

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        wanted = wanted_calls(item, exact_strings=self.exact_strings)
        if not answer.tool_calls:
            return self._without_calls(answer, wanted)
        made = " ".join(f"{call.name}({call.raw})" for call in answer.tool_calls)
        calls = _readable(answer.tool_calls, wanted)
        if wanted and len(calls) < len(answer.tool_calls):
            return self._unreadable(answer, made)
        cut, missing = cut_by(answer), len(wanted) - len(calls)
        if cut and missing > 0 and len(matched(calls, wanted)) == len(calls):
            stage = f"compare: cut off, {missing} of {len(wanted)} calls not made yet"
            return Score(self.name, "no_answer", 0.0, cut, made, (stage,))
        return self._compared(made, _shown(calls) if calls else made, wanted, calls)

    def _compared(
        self, made: str | None, shown: str, wanted: Sequence[Wanted], calls: Sequence[Call]
    ) -> Score:
        mistakes = differences(calls, wanted)
        if made and not calls:  # unreadable ones, where none was wanted
            mistakes = ["wrong count: a call, none wanted"]
        sign = "≠" if mistakes else "="
        compared = f"compare: {brief(shown)} {sign} {brief(_shown([each.call for each in wanted]))}"
        stages = (compared, *(f"error: {mistake}" for mistake in mistakes))
        if mistakes:
            return Score(self.name, "wrong", 0.0, "", made, stages)
        return Score(self.name, "right", 1.0, "", made, stages)

    def _without_calls(self, answer: Answer, wanted: Sequence[Wanted]) -> Score:
        reading = read(answer)
        if reading.missing is not None:
            return no_answer(self.name, reading, reading.missing)
        if _holds_a_call(reading):
            stage = "extract: a call in the text, which the server did not read"
            return no_answer(self.name, reading, unread(reading), stage)
        if wanted and (reason := unread(reading)) != "unparsed":
            return no_answer(self.name, reading, reason)
        return self._compared(None, "no call", wanted, ())

    def _unreadable(self, answer: Answer, made: str) -> Score:
        reason = cut_by(answer) or "unparsed"
        stage = f"extract: arguments are no JSON object in {brief(made)}"
        return Score(self.name, "no_answer", 0.0, reason, made, (stage,))


def _readable(made: Sequence[ToolCall], wanted: Sequence[Wanted]) -> list[Call]:
    """The calls whose arguments are an object, or a text that holds one.

    Where no arguments are due none may be written as nothing or null, too.
    """
    bare = {each.call.name for each in wanted if each.call.arguments.keys() <= each.optional}
    calls = []
    for call in made:
        arguments = as_arguments(call.raw if call.arguments is None else call.arguments)
        if arguments is None and call.name in bare and call.raw.strip() in ("", "null"):
            arguments = {}
        if arguments is not None:
            calls.append(Call(call.name, arguments))
    return calls


def _shown(calls: Sequence[Call]) -> str:
    return " ".join(map(str, calls)) or "no call"


def _holds_a_call(reading: Reading) -> bool:
    """Say whether a text holds a call, or is nothing else: as JSON, or as the beginning of one."""
    if _CALL_TAG.search(reading.raw):
        return True
    if not _CALL_OBJECT.match(reading.text):
        return False
    try:
        value = loaded_json(reading.text)
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
