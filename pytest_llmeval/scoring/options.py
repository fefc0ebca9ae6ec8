"""Options of scorers: what a dataclass field accepts, and saying so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pytest_llmeval.errors import ScorerError

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
}


def checked_options(scorer: Any, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a suite gives a scorer class against its fields; lists become tuples.

    Types are strict: "yes" is no boolean, true is no number, only a whole number is a float too.

    Raises:
        ScorerError: an option it does not take, of the wrong type, or one it needs is missing.

    """
    hints = _option_types(scorer)
    for option, value in given.items():
        if option not in hints:
            raise ScorerError(_unknown(name, option, hints))
        if not _accepts(hints[option], value):
            allowed = _describe(hints[option])
            message = f"option {option} of scorer {name} must be {allowed}, got {value!r}."
            raise ScorerError(message)
    missing = _required(scorer) - given.keys()
    if missing:
        raise ScorerError(f"scorer {name} needs the option {', '.join(sorted(missing))}.")
    return {
        option: tuple(value) if isinstance(value, list) else value
        for option, value in given.items()
    }


@lru_cache
def _option_types(scorer: Any) -> dict[str, Any]:
    hints = get_type_hints(scorer)
    return {field.name: hints[field.name] for field in fields(scorer) if field.init}


@lru_cache
def _required(scorer: Any) -> frozenset[str]:
    from dataclasses import MISSING

    return frozenset(
        field.name
        for field in fields(scorer)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    )


def _unknown(name: str, option: str, hints: Mapping[str, Any]) -> str:
    if not hints:
        return f"scorer {name} takes no options, got {option!r}."
    near = get_close_matches(option, hints, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    takes = ", ".join(f"{key} ({_describe(hint)})" for key, hint in hints.items())
    return f"scorer {name} takes no option {option!r}.{hint} It takes: {takes}."


def _accepts(hint: Any, value: Any) -> bool:  # noqa: PLR0911 - one for each kind of hint
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_accepts(argument, value) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is Mapping:
        return isinstance(value, Mapping)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_accepts(arguments[0], v) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint not in _WORDS or isinstance(value, hint)


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_describe(argument) for argument in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin is Mapping:
        return "a mapping"
    if origin is tuple:
        return f"a list of which each is {_describe(arguments[0])}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))
