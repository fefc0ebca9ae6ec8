"""Scorers of answers in JSON: json_valid, json_schema, json_fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

from pytest_llmeval.records import Answer, Item, Outcome, Score
from pytest_llmeval.scoring.extraction import Reading, brief, no_answer, targets_of, unread
from pytest_llmeval.scoring.json_reading import (
    JsonText,
    json_in,
    loaded_json,
    read_json,
    same_json,
    shown_json,
)
from pytest_llmeval.scoring.schemas import compiled_schema, first_mistake
from pytest_llmeval.scoring.scorer import register


@register("json_valid")
@dataclass(frozen=True, slots=True)
class JsonValid:
    """The answer is JSON: any value, strictly (see `json_in`); a fence around it is no part of it.

    The item needs no target. An answer that is no JSON is wrong, not unparsed: this is what was
    asked of it.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:  # noqa: ARG002 - any item will do
        """Judge an answer to an item."""
        reading = read_json(answer)
        if reading.missing is not None:
            return no_answer(self.name, reading, reading.missing)
        found = json_in(reading)
        if found.problem is not None:
            return _not_json(self.name, reading, found)
        stages = (*reading.stages, f"extract: {found.how}", "compare: JSON")
        return Score(self.name, "right", 1.0, "", reading.text.strip(), stages)


@register("json_schema")
@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The answer is JSON that keeps to a JSON Schema, read as Draft 2020-12 whatever it declares.

    The schema is `schema`, or the item's field that `schema_field` names, or else the target; in an
    item it may be an object or its JSON text. true is no number, 1.0 is an integer, `format` is a
    remark and not checked, as the draft has it, 0.3 is a multiple of 0.1. References lead within
    the schema: nothing is fetched. A pattern, in the syntax of `regex`, has a second at most. An
    answer that is no JSON is wrong.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    schema: Mapping[str, Any] | None = None
    schema_field: str | None = None

    def __post_init__(self) -> None:
        if self.schema is not None and self.schema_field is not None:
            raise ValueError("schema and schema_field exclude each other")
        if self.schema is not None:
            compiled_schema(shown_json(self.schema))

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        schema = compiled_schema(self._schema_of(item))
        reading = read_json(answer)
        if reading.missing is not None:
            return no_answer(self.name, reading, reading.missing)
        found = json_in(reading)
        if found.problem is not None:
            return _not_json(self.name, reading, found)
        mistake = first_mistake(schema, found.value)
        compared = f"compare: {mistake or 'the schema is kept to'}"
        stages = (*reading.stages, f"extract: {found.how}", compared)
        shown = shown_json(found.value)
        if mistake is None:
            return Score(self.name, "right", 1.0, "", shown, stages)
        return Score(self.name, "wrong", 0.0, "", shown, stages)

    def _schema_of(self, item: Item) -> str:
        if self.schema is not None:
            return shown_json(self.schema)
        if self.schema_field is None:
            schema = item.target
            what = f"item {item.id} has no target that is a schema"
        else:
            schema = _field(item, self.schema_field, "schema_field")
            what = f"field {self.schema_field} of item {item.id} is no schema"
        if isinstance(schema, str):
            return schema
        if isinstance(schema, Mapping):
            return shown_json(schema)
        what += f": {brief(repr(schema))}; it looks like {{type: object}}"
        raise ValueError(what)


@register("json_fields")
@dataclass(frozen=True, slots=True)
class JsonFields:
    """The fields of the answer, a JSON object, have the values that the target has.

    `fields` names those that are compared, a path such as `address.city` or `items.0.name` leading
    into objects and lists; without it, all that the target has at its top. Others do not matter.
    The score is the share of fields that are right, or with `require: all` right only where all
    are. Values are compared as JSON: 1 is 1.0, but neither true nor "1".

    The target is an object, or its JSON text; of several the one that fits best counts.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    fields: tuple[str, ...] | None = None
    require: Literal["share", "all"] = "share"

    def __post_init__(self) -> None:
        if self.fields is not None and not self.fields:
            raise ValueError("fields names none; leave it out to compare all of the target's")

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        wanted = [self._wanted(target, item) for target in targets_of(item)]
        reading = read_json(answer)
        if reading.missing is not None:
            return no_answer(self.name, reading, reading.missing)
        found = json_in(reading)
        if found.problem is not None:
            return no_answer(self.name, reading, unread(reading), f"extract: {found.problem}")
        best = max((_compared(found.value, each) for each in wanted), key=lambda c: c.share)
        stages = (*reading.stages, f"extract: {found.how}", f"compare: {best}")
        share = best.share if self.require == "share" else float(not best.mistakes)
        outcome: Outcome = "right" if share == 1 else "wrong" if share == 0 else "graded"
        return Score(self.name, outcome, share, "", shown_json(found.value), stages)

    def _wanted(self, target: Any, item: Item) -> dict[str, Any]:
        values = _object(target, item)
        if self.fields is None:
            return values
        wanted = {path: _at(values, path) for path in self.fields}
        absent = [path for path, value in wanted.items() if value is _ABSENT]
        if absent:
            what = f"the target of item {item.id} has no field {absent[0]!r}"
            raise ValueError(f"{what}{_nearest(absent[0], values)}")
        return wanted


class _Comparison(NamedTuple):
    """How many fields were compared, and what is wrong with those that are."""

    fields: int
    mistakes: list[str]

    @property
    def share(self) -> float:
        return (self.fields - len(self.mistakes)) / self.fields

    def __str__(self) -> str:
        right = f"{self.fields - len(self.mistakes)} of {self.fields} fields right"
        return "; ".join([right, *self.mistakes])


def _compared(value: Any, wanted: Mapping[str, Any]) -> _Comparison:
    mistakes = []
    for path, target in wanted.items():
        given = _at(value, path)
        if given is _ABSENT:
            mistakes.append(f"{path} is missing")
        elif not same_json(given, target):
            mistakes.append(f"{path}: {brief(shown_json(given))} ≠ {brief(shown_json(target))}")
    return _Comparison(len(wanted), mistakes)


class _Absent:
    """Nothing stands there; null would be a value."""


_ABSENT = _Absent()


def _keys(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(value: Any, path: str) -> Any:
    """The value at a path; a key that has dots itself is found as it stands."""
    if path in _keys(value):
        return value[path]
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step, _ABSENT)
        elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdecimal():
            value = value[int(step)] if int(step) < len(value) else _ABSENT
        else:
            return _ABSENT
    return value


def _object(target: Any, item: Item) -> dict[str, Any]:
    value = _from_text(target) if isinstance(target, str) else target
    if not isinstance(value, Mapping) or not value:
        what = f"the target of item {item.id} is no object with fields: {brief(repr(target))}"
        raise ValueError(f'{what}; it looks like {{"name": "Ann", "age": 30}}')
    return dict(value)


@lru_cache(maxsize=4096)
def _from_text(target: str) -> Any:
    try:
        return loaded_json(target)
    except ValueError:
        return None


def _field(item: Item, field: str, option: str) -> Any:
    if field not in item.fields:
        what = f"item {item.id} has no field {field!r}, which {option} names"
        raise ValueError(f"{what}{_nearest(field, item.fields)}")
    return item.fields[field]


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, map(str, known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _not_json(scorer: str, reading: Reading, found: JsonText) -> Score:
    """An answer that should have been JSON and is not: wrong, unless it was cut off or declines."""
    reason = unread(reading)
    stages = (*reading.stages, f"extract: {found.problem}")
    if reason != "unparsed":
        return Score(scorer, "no_answer", 0.0, reason, reading.text.strip(), stages)
    return Score(scorer, "wrong", 0.0, "", reading.text.strip(), stages)
