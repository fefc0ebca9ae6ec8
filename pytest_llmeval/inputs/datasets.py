"""Items out of rows: stable ids, names safe for tests, targets, tags, and a hash of it all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import DatasetError
from pytest_llmeval.inputs.mistakes import did_you_mean, shown
from pytest_llmeval.inputs.rows import Row, read_rows
from pytest_llmeval.records import Item

ID_FIELD = "id"
TAGS_FIELD = "tags"

_UNSAFE = re.compile(r"[^A-Za-z0-9_./+-]+")
_REPEAT = re.compile(r"(.+)\.([2-9]|[1-9][0-9]+)")
_LONGEST_SLUG = 100
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_EXPRESSION_WORDS = frozenset({"and", "or", "not", "true", "false", "none"})
_TAKEN_TAGS = frozenset(
    {"filterwarnings", "flaky", "llmeval", "parametrize", "skip", "skipif", "timeout"}
    | {"tryfirst", "trylast", "usefixtures", "xdist_group", "xfail"}
)


def load_items(path: Path, *, id_field: str | None, target_field: str | None) -> tuple[Item, ...]:
    """The items of a data file, in its order.

    `id_field` None means `id` where a row has it, else an id derived from the row's content;
    `target_field` None means items without a target. Raises DatasetError with file and line.
    """
    as_written = {id_field or ID_FIELD, *([target_field] if target_field else [])}
    rows = read_rows(path, as_written)
    return items_of(rows, path, id_field=id_field, target_field=target_field)


def items_of(
    rows: Iterable[Row], path: Path, *, id_field: str | None, target_field: str | None
) -> tuple[Item, ...]:
    """The items that `rows`, read from `path`, are; errors as `load_items`."""
    reader = _ItemReader(path, id_field, target_field)
    items = tuple([reader.item(row) for row in rows])
    if not items:
        raise DatasetError("the dataset is empty: at least one item is needed", path=path)
    reader.check_repeat_names()
    return items


def dataset_hash(items: Iterable[Item]) -> str:
    """sha256 over items in canonical JSON, sorted by id: 64 hex digits.

    The same for the same values whatever their order, the order of their keys, and the kind of
    file they come from. (CSV holds texts only, so 17 there is "17" elsewhere.) Raises DatasetError
    naming the item that holds a value JSON cannot hold.
    """
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.id):
        try:
            digest.update(_encode([item.id, item.target, item.tags, item.fields]))
        except _NOT_JSON as problem:
            message = f"the item {item.id!r} holds a value that JSON cannot hold: {problem}"
            raise DatasetError(message) from None
    return digest.hexdigest()


def item_hash(item: Item) -> str:
    """What tells an item from every other version of itself: the first 12 hex digits of its hash.

    It knows all that the item holds, shown in a prompt or not. Raises as `dataset_hash`.
    """
    return dataset_hash([item])[:12]


_CANONICAL = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
)


# What the encoder raises for a set or an object, for infinity, for half a character, for a cycle.
_NOT_JSON = (TypeError, ValueError, RecursionError)


def _encode(value: Any) -> bytes:
    return _CANONICAL.encode(value).encode()


def slug_of(id_: str) -> str:
    """The id as a part of a test's name.

    An id of letters, digits and `_ . / + -` is its own slug. In any other, what is not allowed
    becomes `-` and ten digits of its hash keep it apart from its like.
    """
    safe = _UNSAFE.sub("-", id_)[:_LONGEST_SLUG]
    if safe == id_:
        return id_
    return f"{safe.strip('-') or 'item'}-{_short_hash(id_.encode())}"


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:10]


class _ItemReader:
    """Makes items of rows, one by one, and remembers what must not come twice."""

    def __init__(self, path: Path, id_field: str | None, target_field: str | None):
        self._path = path
        self._id_field = id_field
        self._target_field = target_field
        self._lines: dict[str, int | None] = {}
        self._ids: dict[str, str] = {}
        self._known_tags: set[str] = set()

    def item(self, row: Row) -> Item:
        id_ = self._id(row)
        slug = self._slug(row, id_)
        if slug in self._lines:
            raise self._taken(row, id_, slug)
        self._lines[slug] = row.line
        self._ids[slug] = id_
        target = self._target(row) if self._target_field else None
        return Item(id_, slug, row.fields, target, self._tags(row))

    def check_repeat_names(self) -> None:
        """`.2` marks a second repeat in test names, so no item may be called like one."""
        for slug, line in self._lines.items():
            match = _REPEAT.fullmatch(slug)
            if match and match[1] in self._lines:
                first, second = self._ids[match[1]], self._ids[slug]
                raise DatasetError(
                    f"the ids {first!r} and {second!r} clash: .{match[2]} marks a repeat in test "
                    "names; write one of them differently",
                    path=self._path,
                    line=line,
                )

    def _id(self, row: Row) -> str:
        key = self._id_field or ID_FIELD
        if key not in row.fields:
            if self._id_field:
                raise self._missing(row, key, "id")
            return self._id_from_content(row)
        id_ = self._as_text(row, key)
        if not isinstance(id_, str) or not id_.strip():
            found = shown(row.fields[key])
            raise self._refusal(row, f"the id {key!r} must be a text or a number, found {found}")
        return id_

    def _slug(self, row: Row, id_: str) -> str:
        try:
            return slug_of(id_)
        except UnicodeEncodeError:
            half = "half a character: a lone \\ud800 to \\udfff escape"
            raise self._refusal(row, f"the id {id_!r} holds {half}") from None

    def _id_from_content(self, row: Row) -> str:
        try:
            return _short_hash(_encode(row.fields))
        except _NOT_JSON as problem:
            raise self._refusal(row, f"a value that JSON cannot hold: {problem}") from None

    def _target(self, row: Row) -> Any:
        key = self._target_field
        assert key is not None
        if key not in row.fields:
            raise self._missing(row, key, "target")
        target = self._as_text(row, key)
        if target is None or target == "":
            raise self._refusal(row, f"the target {key!r} is empty")
        return target

    def _as_text(self, row: Row, key: str) -> Any:
        """Scalars as text, the way the source spells them; lists, mappings and null as they are."""
        value = row.fields[key]
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            return row.written.get(key) or str(value)
        return value

    def _tags(self, row: Row) -> tuple[str, ...]:
        given = row.fields.get(TAGS_FIELD)
        if not given:
            return ()
        try:
            return checked_tags(given, self._known_tags)
        except ValueError as problem:
            raise self._refusal(row, str(problem)) from None

    def _taken(self, row: Row, id_: str, slug: str) -> DatasetError:
        before = self._lines[slug]
        place = f" on line {before}" if before is not None else ""
        key = self._id_field or ID_FIELD
        if key not in row.fields:
            message = f"the same row stands{place} already; leave one out, or give both an {key!r}"
        elif self._ids[slug] == id_:
            message = f"the id {id_!r} is given{place} already; ids must be unique"
        else:
            message = f"the id {id_!r} gives the test name of {self._ids[slug]!r}{place}"
        return self._refusal(row, message)

    def _missing(self, row: Row, key: str, what: str) -> DatasetError:
        names = sorted(row.fields)
        message = f"no field {key!r}, which is the {what}; the row has: {', '.join(names)}"
        return self._refusal(row, f"{message}{did_you_mean(key, names)}")

    def _refusal(self, row: Row, message: str) -> DatasetError:
        return DatasetError(message, path=self._path, line=row.line)


def checked_tags(given: Any, known: set[str] | None = None) -> tuple[str, ...]:
    """Tags from a list of texts or one comma-separated text, each usable after `pytest -m`.

    `known` collects tags that passed, so that a tag on 100,000 items is looked at once. Raises
    ValueError saying what is wrong with a tag and what would do.
    """
    tags = [tag.strip() for tag in given.split(",")] if isinstance(given, str) else given
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(
            f"tags must be texts in a list or separated by commas, found {shown(given)}"
        )
    known = set() if known is None else known
    for tag in tags:
        if tag not in known:
            _check_tag(tag)
            known.add(tag)
    return tuple(dict.fromkeys(tags))


def _check_tag(tag: str) -> None:
    if tag in _TAKEN_TAGS:
        raise ValueError(f"the tag {tag!r} has a meaning of its own to pytest; choose another word")
    if not _TAG.fullmatch(tag) or tag.lower() in _EXPRESSION_WORDS:
        better = re.sub(r"[^A-Za-z0-9_.-]+", "_", tag).strip("_-.") or "tag"
        better = (
            better
            if better[0].isalpha() and better.lower() not in _EXPRESSION_WORDS
            else f"tag_{better}"
        )
        raise ValueError(
            f"the tag {tag!r} cannot be used with pytest -m: letters, digits, '_', '-' and '.', "
            f"beginning with a letter, for instance {better!r}"
        )
