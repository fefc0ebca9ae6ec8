"""JSON Schemas for the scorer json_schema: compiled once, bounded in time, nothing fetched."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_llmeval.scoring.extraction import brief
from pytest_llmeval.scoring.json_reading import loaded_json
from pytest_llmeval.scoring.pattern import TIME_LIMIT, check_pattern, search

if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator


@lru_cache(maxsize=1024)
def compiled_schema(text: str) -> Validator:
    """The validator of a schema given as JSON text.

    Raises:
        ValueError: it is no JSON, no schema of Draft 2020-12, or refers to something outside.

    """
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    try:
        schema = loaded_json(text)
    except ValueError as problem:
        raise ValueError(f"the schema {brief(text)} is no JSON: {problem}") from None
    validator = _draft()
    try:
        validator.check_schema(schema, format_checker=_formats())
    except SchemaError as problem:
        raise ValueError(f"no JSON Schema (Draft 2020-12): {_told(problem)}") from None
    _refuse_endless(schema)
    _refuse_dangling(schema)
    # Without a registry of our own, jsonschema would fetch what a reference names.
    made: Validator = validator(schema, registry=Registry())
    return made


def first_mistake(schema: Validator, value: Any) -> str | None:
    """The most telling way in which a value breaks a schema, with its place; None when it does not.

    Raises:
        ValueError: the schema refers to something that is not in it, or to itself without end, or
            what it looks for takes too long.
        TimeoutError: a pattern, or all patterns together, took too long.

    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    token = _spent.set(_Spent())
    try:
        mistake = best_match(schema.iter_errors(value))
    except Unresolvable as problem:
        raise ValueError(_dangling(problem.ref)) from None
    except RecursionError:
        raise ValueError("the schema refers to itself without end") from None
    finally:
        _spent.reset(token)
    return None if mistake is None else _told(mistake)


@dataclass(slots=True)
class _Spent:
    """What one answer has cost so far: references followed, entries held against each other, and
    seconds in patterns. `allowed` are the values of each enum, by its id.
    """

    references: int = 0
    looks: int = 0
    comparisons: int = 0
    seconds: float = 0.0
    allowed: dict[int, frozenset[str]] = field(default_factory=dict)


_spent: ContextVar[_Spent] = ContextVar("spent")

_MOST_REFERENCES = 50_000
_MOST_COMPARISONS = 4 * 10**8
_MOST_LOOKS = 100_000

_MOST_SECONDS = 5 * TIME_LIMIT


def _search(pattern: str, text: str) -> bool:
    """As `search`; an answer of a thousand texts takes no thousand times the limit."""
    spent, begun = _spent.get(), time.perf_counter()
    found = search(pattern, text) is not None
    spent.seconds += time.perf_counter() - begun
    if spent.seconds > _MOST_SECONDS:
        raise TimeoutError(f"the patterns of the schema took longer than {_MOST_SECONDS:g} s")
    return found


def _counted(follow: Any) -> Any:
    """Follow a reference; some that refer twice to what refers twice are followed for years."""

    def counted(validator: Any, target: Any, value: Any, schema: Any) -> Any:
        spent = _spent.get()
        spent.references += 1
        if spent.references > _MOST_REFERENCES:
            message = f"more than {_MOST_REFERENCES:,} references were followed for one answer"
            raise ValueError(message)
        return follow(validator, target, value, schema)

    return counted


def _compared(look: Any) -> Any:
    """Look for what is unevaluated, where jsonschema holds each entry against all others."""

    def compared(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
        spent = _spent.get()
        entries = len(value) if isinstance(value, list | Mapping) else 0
        spent.looks += 1  # each goes into all schemas within, where there may be others
        spent.comparisons += entries**2
        if spent.looks > _MOST_LOOKS:
            raise ValueError(f"unevaluated entries were looked for more than {_MOST_LOOKS:,} times")
        if spent.comparisons > _MOST_COMPARISONS:
            raise ValueError(
                "unevaluated entries were looked for among too many: 20,000 in one place at most"
            )
        return look(validator, wanted, value, schema)

    return compared


def _told(mistake: Any) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in mistake.path)
    return f"at ${place}: {brief(mistake.message)}"


_ENTRIES = ("Items", "Properties")


@lru_cache(maxsize=1)
def _draft() -> Any:
    """Draft 2020-12, its patterns searched with a time limit and its multiples counted exactly."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    theirs = Draft202012Validator.VALIDATORS
    ours = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "multipleOf": _multiple_of,
        "uniqueItems": _unique_items,
        "enum": _enum,
        **{key: _counted(theirs[key]) for key in ("$ref", "$dynamicRef")},
        **{f"unevaluated{what}": _compared(theirs[f"unevaluated{what}"]) for what in _ENTRIES},
    }
    return extend(Draft202012Validator, ours)  # type: ignore[no-untyped-call] # its stub has no types


def _pattern(_: Any, wanted: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _search(wanted, value):
        yield _mistake(f"{value!r} does not match {wanted!r}")


def _pattern_properties(
    validator: Any, wanted: Mapping[str, Any], value: Any, _: Any
) -> Iterator[ValidationError]:
    for each, schema in wanted.items() if isinstance(value, Mapping) else ():
        for key, inner in value.items():
            if _search(each, key):
                yield from validator.descend(inner, schema, path=key, schema_path=each)


def _additional_properties(
    validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    patterns = schema.get("patternProperties", {})
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if key in schema.get("properties", {}) or any(_search(each, key) for each in patterns):
            continue
        if wanted is False:
            yield _mistake(f"Additional properties are not allowed ({key!r} was unexpected)")
        else:
            yield from validator.descend(inner, wanted, path=key)


def _multiple_of(validator: Any, unit: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    """By the digits as they are written: 0.3 is three times 0.1, which its float is not."""
    if validator.is_type(value, "number") and Fraction(repr(value)) % Fraction(repr(unit)):
        yield _mistake(f"{value!r} is not a multiple of {unit}")


def _unique_items(_: Any, wanted: bool, value: Any, __: Any) -> Iterator[ValidationError]:
    """In one pass: an answer may hold many thousand objects."""
    if wanted and isinstance(value, list) and len(set(map(_written, value))) < len(value):
        yield _mistake(f"{value!r} has non-unique elements")


def _enum(_: Any, wanted: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    """What is allowed is looked through once for all entries of an answer."""
    allowed = _spent.get().allowed
    if id(wanted) not in allowed:
        allowed[id(wanted)] = frozenset(map(_written, wanted))
    if _written(value) not in allowed[id(wanted)]:
        yield _mistake(f"{value!r} is not one of {wanted!r}")


def _written(value: Any) -> str:
    """The same text for what is equal, and for nothing else: neither true nor "1" is 1."""
    return json.dumps(_by_value(value), sort_keys=True)


def _by_value(value: Any) -> Any:
    """JSON whose numbers are written the same where they are equal: 1 and 1.0 are."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _by_value(inner) for key, inner in value.items()}
    return list(map(_by_value, value)) if isinstance(value, list) else value


def _mistake(message: str) -> ValidationError:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _formats() -> FormatChecker:
    """The one format that a schema itself is held to: its patterns are those that we can search."""
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    checker.checkers = {"regex": (check_pattern, ValueError)}
    return checker


def _refuse_endless(schema: Any) -> None:
    """Refuse a schema whose patterns would be searched without a time limit, by jsonschema itself.

    Raises:
        ValueError: it has unevaluatedProperties, and patternProperties somewhere.

    """
    keys = set(_keys_within(schema))
    if {"unevaluatedProperties", "patternProperties"} <= keys:
        what = "a schema with unevaluatedProperties and patternProperties cannot be bounded in time"
        raise ValueError(f"{what}; additionalProperties can, or name the properties")


def _refuse_dangling(schema: Any) -> None:
    """Refuse references to what is not in the schema, wherever in it they stand.

    Raises:
        ValueError: with the reference.

    """
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    # The drafts of JSON Schema itself come with jsonschema.
    known = REGISTRY.with_resource(root.id() or "", root).crawl()
    waiting = [(root, known.resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        contents = resource.contents
        reference = contents.get("$ref") if isinstance(contents, Mapping) else None
        if isinstance(reference, str):
            try:
                found = resolver.lookup(reference).contents
            except (Unresolvable, TypeError, ValueError, AttributeError):  # the others: into a text
                found = None
            is_schema = isinstance(found, Mapping | bool)
            if not is_schema:
                raise ValueError(_dangling(reference))
        waiting += [(each, resolver.in_subresource(each)) for each in resource.subresources()]


def _dangling(reference: str) -> str:
    return f"the schema refers to {reference!r}, which is not in it; nothing is fetched"


def _keys_within(schema: Any) -> Iterator[str]:
    """All keys of a schema, at whatever depth."""
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            yield from part
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)
