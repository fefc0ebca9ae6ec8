"""The scorer choice: which option of a multiple-choice question an answer picks."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.commitment import committed_option
from pytest_llmeval.scoring.extraction import (
    Finding,
    Reading,
    judge,
    read,
    targets_of,
    text_of,
)
from pytest_llmeval.scoring.scorer import register

#: The letters looked for when an item does not say what its options are.
_LETTERS = tuple("ABCDEFGHIJ")


@register("choice")
@dataclass(frozen=True, slots=True)
class Choice:
    """The option that an answer commits itself to is the target; `commitment` says how it is read.

    `options_field` is the item's field that holds the options: a list (labelled A, B, C ...) or a
    mapping from label to text. An item without it is judged by letters A to J alone. The target is
    a label, or the text of an option. A number is never taken for a position in the list: datasets
    disagree on whether they count from 0 or 1.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    options_field: str = "options"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        labels, texts = self._options(item)
        accepted = {_label_of(text_of(target), labels, texts, item) for target in targets_of(item)}
        find = partial(_find, labels, texts)
        return judge(
            self.name, read(answer), find, accepted.__contains__, " | ".join(sorted(accepted))
        )

    def _options(self, item: Item) -> tuple[Sequence[str], Sequence[str]]:
        options = item.fields.get(self.options_field)
        if options is None:
            return _LETTERS, ()
        if isinstance(options, Mapping):
            return [str(key) for key in options], [text_of(text) for text in options.values()]
        if not isinstance(options, list | tuple) or not 0 < len(options) <= 26:
            what = f"field {self.options_field} of item {item.id}"
            raise ValueError(f"{what} must be a list of 1 to 26 options, or a mapping from labels")
        return string.ascii_uppercase[: len(options)], [text_of(option) for option in options]


def _find(labels: Sequence[str], texts: Sequence[str], reading: Reading) -> Finding[str] | None:
    return committed_option(reading.text, labels, texts)


def _label_of(target: str, labels: Sequence[str], texts: Sequence[str], item: Item) -> str:
    """The label that a target means: a label as it stands, else an option's text."""
    plain = target.strip().strip("()[].").casefold()
    for label in labels:
        if label.casefold() == plain:
            return label
    for label, text in zip(labels, texts, strict=False):
        if text.strip().casefold() == target.strip().casefold():
            return label
    known: Any = ", ".join(labels)
    raise ValueError(f"the target {target!r} of item {item.id} is no label ({known}) and no option")
