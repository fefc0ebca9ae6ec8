"""The options of a multiple-choice item: their labels, their texts, and which of them is meant."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pytest_llmeval.records import Item
from pytest_llmeval.scoring.extraction import targets_of, text_of
from pytest_llmeval.scoring.text import composed

#: The letters looked for when an item does not say what its options are.
LETTERS = tuple("ABCDEFGHIJ")
DEFAULT_FIELD = "options"


@dataclass(frozen=True, slots=True)
class Listed:
    """Options in their order. `texts` is empty where only the labels are known."""

    labels: tuple[str, ...]
    texts: tuple[str, ...] = ()


def listed_in(item: Item, field: str | None) -> Listed:
    """The options in a field of an item: a list (labelled A, B, C ...) or a mapping from labels.

    Without a field that is named, it is `options`, and an item without that has letters alone.

    Raises:
        ValueError: the field that is named is not there, or holds something else.

    """
    options = item.fields.get(field or DEFAULT_FIELD)
    if options is None:
        if field is not None:
            raise ValueError(no_such_field(field, item))
        return Listed(LETTERS)
    if isinstance(options, Mapping):
        return Listed(tuple(map(str, options)), tuple(map(text_of, options.values())))
    if not isinstance(options, list | tuple) or not 0 < len(options) <= 26:
        what = f"field {field or DEFAULT_FIELD} of item {item.id}"
        raise ValueError(f"{what} must be a list of 1 to 26 options, or a mapping from labels")
    labels = tuple(string.ascii_uppercase[: len(options)])
    return Listed(labels, tuple(map(text_of, options)))


def no_such_field(field: str, item: Item) -> str:
    """Say that an item lacks the field that an option names."""
    near = get_close_matches(field, item.fields, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"item {item.id} has no field {field!r}, which options_field names.{hint}"


def accepted_in(item: Item, listed: Listed) -> frozenset[str]:
    """The labels that the item's targets mean: a label as it stands, else an option's text.

    Raises:
        ValueError: there is no target, or one that is neither.

    """
    return frozenset(_label_of(text_of(target), listed, item) for target in targets_of(item))


def _label_of(target: str, listed: Listed, item: Item) -> str:
    words = composed(target).strip().casefold()
    plain = words.strip("()[].")
    for label in listed.labels:
        if label.casefold() == plain:
            return label
    for label, text in zip(listed.labels, listed.texts, strict=False):
        if composed(text).strip().casefold() == words:
            return label
    known: Any = ", ".join(listed.labels)
    raise ValueError(f"the target {target!r} of item {item.id} is no label ({known}) and no option")
