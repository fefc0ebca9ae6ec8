"""Tool calls: what a target wants, and how calls that were made differ from it.

The semantics are those of the Berkeley Function Calling Leaderboard (its AST checker), without its
need for the functions' descriptions: types are compared as JSON has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

from pytest_llmeval.records import Item
from pytest_llmeval.scoring.extraction import brief
from pytest_llmeval.scoring.json_reading import loaded_json, same_json, shown_json
from pytest_llmeval.scoring.text import composed

_CALL_KEYS = ("name", "arguments", "alternatives", "optional")
_OPENAI_KEYS = ("type", "function", "id")
#: What BFCL does not count in strings: "Oslo, Norway" is "oslo norway".
_SIGNS = " ,./-_*^"
_NO_SIGNS = str.maketrans("", "", _SIGNS)
_SOME_SIGNS = re.compile(f"[{re.escape(_SIGNS)}]+")
_NUMBERS = re.compile(rf"\d[\d{re.escape(_SIGNS)}]*")


class Call(NamedTuple):
    """A function's name and its arguments."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}({json.dumps(self.arguments, ensure_ascii=False, sort_keys=True)})"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is due: its arguments, further values that will do, those that may be missing."""

    call: Call
    alternatives: Mapping[str, Sequence[Any]]
    optional: frozenset[str]
    exact_strings: bool

    def mistakes(self, made: Call) -> list[str]:
        """How a call differs from this one, in BFCL's categories; nothing when it does not."""
        if made.name != self.call.name:
            return [f"wrong function: {made.name}, wanted {self.call.name}"]
        wanted = self.call.arguments
        return [
            *(
                f"missing argument: {argument}"
                for argument in wanted
                if argument not in made.arguments and argument not in self.optional
            ),
            *(f"unexpected argument: {each}" for each in made.arguments if each not in wanted),
            *filter(None, (self._mistake(made, each) for each in made.arguments if each in wanted)),
        ]

    def _mistake(self, made: Call, argument: str) -> str | None:
        given = made.arguments[argument]
        accepted = [self.call.arguments[argument], *self.alternatives.get(argument, ())]
        if any(self._agree(given, each) for each in accepted):
            return None
        kinds = dict.fromkeys(map(_kind, accepted))
        if _kind(given) not in kinds:
            is_one = f"{brief(shown_json(given))} is {_kind(given)}"
            return f"wrong type: {argument}: {is_one}, wanted {' or '.join(kinds)}"
        wanted = " or ".join(brief(shown_json(each)) for each in accepted)
        return f"wrong value: {argument}: {brief(shown_json(given))}, wanted {wanted}"

    def _agree(self, given: Any, accepted: Any) -> bool:
        return same_json(given, accepted, str.__eq__ if self.exact_strings else _same_loosely)


def _same_loosely(one: str, other: str) -> bool:
    return one == other or (_loose(one) == _loose(other) != "")


def _loose(text: str) -> str:
    """A text without the signs that do not count, in small letters.

    Beside a digit they count: there BFCL would take -1 for 1, 3.14 for 314, and one date for
    another.
    """
    text = composed(text).lower().replace("'", '"')
    kept, end = [], 0
    for numbers in _NUMBERS.finditer(text):
        words = text[end : numbers.start()]
        before = words.rstrip(_SIGNS)
        kept.append(before.translate(_NO_SIGNS))
        kept.append(_SOME_SIGNS.sub(_beside_digits, words[len(before) :] + numbers[0]))
        end = numbers.end()
    return "".join([*kept, text[end:].translate(_NO_SIGNS)])


def _beside_digits(match: re.Match[str]) -> str:
    """What counts of signs before, between or behind numbers: all but spaces.

    Spaces and commas alone are a space between two numbers, and nothing else: "April 1, 2024".
    """
    signs = match[0]
    if signs.strip(" ,"):
        return signs.replace(" ", "")
    if match.start() == 0 or match.end() == len(match.string):
        return ""
    return " " if " " in signs else signs


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a string" if isinstance(value, str) else "an array" if _is_list(value) else "an object"


# Which call is meant by which ---------------------------------------------------------------------


def matched(made: Sequence[Call], wanted: Sequence[Wanted]) -> dict[int, int]:
    """Pair as many calls as possible with what was wanted, each with one: made -> wanted.

    By augmenting paths: with values that are accepted in two places, taking the first that fits
    could leave another call without any.
    """
    fits = [
        [place for place, each in enumerate(wanted) if not each.mistakes(call)] for call in made
    ]
    taken: dict[int, int] = {}

    def place(call: int, seen: set[int]) -> bool:
        for target in fits[call]:
            if target not in seen:
                seen.add(target)
                if target not in taken or place(taken[target], seen):
                    taken[target] = call
                    return True
        return False

    for call in range(len(made)):
        place(call, set())
    return {call: target for target, call in taken.items()}


def differences(made: Sequence[Call], wanted: Sequence[Wanted]) -> list[str]:
    """Why calls are not those wanted; nothing when they are, in whatever order."""
    pairs = matched(made, wanted)
    found = []
    if len(made) != len(wanted):
        found.append(f"wrong count: {_count(len(made))}, {len(wanted) or 'none'} wanted")
    left = [each for place, each in enumerate(wanted) if place not in pairs.values()]
    for number, call in enumerate(made):
        if number not in pairs and left:
            nearest = min(left, key=lambda each: _far(each, call))
            left.remove(nearest)
            found += nearest.mistakes(call)
    return found


def _far(wanted: Wanted, call: Call) -> tuple[bool, int]:
    return wanted.call.name != call.name, len(wanted.mistakes(call))


def _count(calls: int) -> str:
    return "1 call" if calls == 1 else f"{calls} calls" if calls else "no call"


# Targets ------------------------------------------------------------------------------------------


def wanted_calls(item: Item, *, exact_strings: bool) -> list[Wanted]:
    """Read an item's target; raise ValueError, with what is allowed, when it is no such list."""
    try:
        target = loaded_json(item.target) if isinstance(item.target, str) else item.target
        calls = target if _is_list(target) else [target]
        return [_wanted(each, exact_strings=exact_strings) for each in calls]
    except (TypeError, KeyError, ValueError) as error:
        message = f"the target of item {item.id} is no list of calls: {brief(repr(item.target))}"
        if isinstance(error, _WrongKeyError):
            message += f" ({error})"
        example = '[{"name": "weather", "arguments": {"city": "Oslo"}}]'
        raise ValueError(f"{message}; it looks like {example}, or [] for none") from None


class _WrongKeyError(ValueError):
    """A call of a target has a key, or names an argument, that it cannot have."""


def _is_list(target: Any) -> bool:
    return isinstance(target, list | tuple)


def _wanted(each: Any, *, exact_strings: bool) -> Wanted:
    function = each
    if isinstance(each, Mapping) and "function" in each:
        _check_keys("key", each, _OPENAI_KEYS)
        function = each["function"]
    if not isinstance(function, Mapping):
        raise TypeError
    _check_keys("key", function, _CALL_KEYS)
    arguments = as_arguments(function.get("arguments", {}))
    alternatives, optional = function.get("alternatives", {}), function.get("optional", [])
    if arguments is None or not isinstance(alternatives, Mapping) or not _is_list(optional):
        raise TypeError
    if not all(map(_is_list, alternatives.values())):
        raise _WrongKeyError("alternatives: a list of further values for each argument")
    _check_keys("argument in alternatives", alternatives, tuple(arguments))
    _check_keys("argument in optional", optional, tuple(arguments))
    call = Call(str(function["name"]), arguments)
    return Wanted(call, alternatives, frozenset(optional), exact_strings)


def as_arguments(value: Any) -> Mapping[str, Any] | None:
    """Arguments as an object, whether they are one or its JSON text; None when they are neither."""
    for _ in range(2):  # a text in a text: some servers encode twice
        if isinstance(value, str):
            try:
                value = loaded_json(value)
            except ValueError:
                return None
    if not isinstance(value, Mapping):
        return None
    try:
        json.dumps(value, allow_nan=False, default=str)  # read by somebody else, perhaps loosely
    except ValueError:
        return None
    return value


def _check_keys(what: str, given: Iterable[str], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = (
                f", did you mean {near[0]}?" if near else f", known: {', '.join(known) or 'none'}"
            )
            raise _WrongKeyError(f"unknown {what} {key!r}{hint}")
