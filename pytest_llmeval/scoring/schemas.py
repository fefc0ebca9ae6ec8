"""JSON Schemas for the scorer json_schema: compiled once, bounded in time, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_llmeval.scoring.extraction import brief
from pytest_llmeval.scoring.pattern import search

if TYPE_CHECKING:
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
        schema = json.loads(text)
    except ValueError as problem:
        raise ValueError(f"the schema {brief(text)} is no JSON: {problem}") from None
    validator = _draft()
    try:
        validator.check_schema(schema)
    except SchemaError as problem:
        raise ValueError(f"no JSON Schema (Draft 2020-12): {_told(problem)}") from None
    # Without a registry of our own, jsonschema would fetch what a reference names.
    made: Validator = validator(schema, registry=Registry())
    return made


def first_mistake(schema: Validator, value: Any) -> str | None:
    """The most telling way in which a value breaks a schema, with its place; None when it does not.

    Raises:
        ValueError: the schema refers to something that is not in it.

    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        if schema.is_valid(value):
            return None
        mistake = best_match(schema.iter_errors(value))
    except Unresolvable as problem:
        message = f"the schema refers to {problem.ref!r}, which is not in it; nothing is fetched"
        raise ValueError(message) from None
    return _told(mistake)


def _told(mistake: Any) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in mistake.path)
    return f"at ${place}: {brief(mistake.message)}"


@lru_cache(maxsize=1)
def _draft() -> Any:
    """Draft 2020-12, its patterns searched with a time limit."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(_: Any, wanted: str, value: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(value, str) and not search(wanted, value):
            yield ValidationError(f"{value!r} does not match {wanted!r}")

    def pattern_properties(
        validator: Any, wanted: Mapping[str, Any], value: Any, _: Any
    ) -> Iterator[ValidationError]:
        for each, schema in wanted.items() if isinstance(value, Mapping) else ():
            for key, inner in value.items():
                if search(each, key):
                    yield from validator.descend(inner, schema, path=key, schema_path=each)

    ours = {"pattern": pattern, "patternProperties": pattern_properties}
    return extend(Draft202012Validator, ours)  # type: ignore[no-untyped-call] # its stub has no types
