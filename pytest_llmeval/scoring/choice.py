"""The scorer choice: which option of a multiple-choice question an answer picks."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, ClassVar

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.commitment import committed_option
from pytest_llmeval.scoring.declining import declines
from pytest_llmeval.scoring.extraction import (
    Finding,
    Reading,
    judge,
    read,
    targets_of,
    text_of,
)
from pytest_llmeval.scoring.scorer import register
from pytest_llmeval.scoring.text import composed

#: The letters looked for when an item does not say what its options are.
_LETTERS = tuple("ABCDEFGHIJ")
_DEFAULT_FIELD = "options"
#: One word, or a phrase of up to three: no sentence, no list.
_SHORT = re.compile(r"""["'“‘*`(]*[^\W_][\w.'’-]*(?:[ ][\w.'’-]+){0,2}["'”’*`).]*""")
#: Words that decline to answer, or answer in a way that no single option does.
_DECLINING = frozenset((
    "none", "neither", "nor", "both", "all", "any", "every", "either", "not", "no", "yes",
    "nothing", "unknown", "unsure", "unclear", "sorry", "idk", "i", "it", "cannot",
    "can't", "don't", "can’t", "don’t", "maybe", "perhaps", "hm", "hmm", "ok", "okay",
    "well", "error", "n.a", "null", "undefined"
))  # fmt: skip


@register("choice")
@dataclass(frozen=True, slots=True)
class Choice:
    """The option that an answer commits itself to is the target; `commitment` says how it is read.

    `options_field` is the item's field that holds the options: a list (labelled A, B, C ...) or a
    mapping from label to text. One that is named must be there; where none is, it is `options`, and
    an item without that is judged by letters A to J alone.

    A finished answer of one to three words that is none of the options ("fig", "E"), and resembles
    none, commits itself to something that is not there: it is wrong. Anything longer, anything that
    declines ("none of these"), and anything where the options' texts are unknown, is unparsed.

    The target is a label, or the text of an option. A number is never taken for a position in the
    list: datasets disagree on whether they count from 0 or 1.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    options_field: str | None = None

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        labels, texts = self._options(item)
        accepted = {_label_of(text_of(target), labels, texts, item) for target in targets_of(item)}
        find = partial(_find, labels, texts)
        return judge(self.name, read(answer), find, accepted.__contains__, sorted(accepted))

    def _options(self, item: Item) -> tuple[Sequence[str], Sequence[str]]:
        field = self.options_field or _DEFAULT_FIELD
        options = item.fields.get(field)
        if options is None:
            if self.options_field is not None:
                raise ValueError(_no_such_field(field, item))
            return _LETTERS, ()
        if isinstance(options, Mapping):
            return [str(key) for key in options], _texts(options.values())
        if not isinstance(options, list | tuple) or not 0 < len(options) <= 26:
            what = f"field {field} of item {item.id}"
            raise ValueError(f"{what} must be a list of 1 to 26 options, or a mapping from labels")
        return string.ascii_uppercase[: len(options)], _texts(options)


def _texts(options: Iterable[Any]) -> list[str]:
    return [composed(text_of(option)) for option in options]


def _find(labels: Sequence[str], texts: Sequence[str], reading: Reading) -> Finding[str] | None:
    found = committed_option(reading.text, labels, texts)
    if found is None and texts and not reading.cut:
        answer = reading.text.strip()
        if _is_something_else(answer, labels, texts):
            return Finding("", answer, "a whole answer that is no option", committed=True)
    return found


def _is_something_else(answer: str, labels: Sequence[str], texts: Sequence[str]) -> bool:
    """Say whether a whole answer is plainly a word or phrase that is no option and like none."""
    if len(answer) > 60 or not _SHORT.fullmatch(answer) or declines(answer):
        return False
    words = [word.strip("\"'“”‘’*`().") for word in answer.casefold().split()]
    known = {label.casefold() for label in labels}
    if _DECLINING.intersection(words) or known.intersection(answer.casefold().split("-")):
        return False
    if known.intersection(words):
        return False
    return not any(_are_alike(word, text.casefold()) for word in words for text in texts)


def _are_alike(word: str, option: str) -> bool:
    if len(word) < 3 or len(option) < 3:
        return word == option
    return word in option or option in word


def _no_such_field(field: str, item: Item) -> str:
    near = get_close_matches(field, item.fields, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"item {item.id} has no field {field!r}, which options_field names.{hint}"


def _label_of(target: str, labels: Sequence[str], texts: Sequence[str], item: Item) -> str:
    """The label that a target means: a label as it stands, else an option's text."""
    words = composed(target).strip().casefold()
    plain = words.strip("()[].")
    for label in labels:
        if label.casefold() == plain:
            return label
    for label, text in zip(labels, texts, strict=False):
        if text.strip().casefold() == words:
            return label
    known: Any = ", ".join(labels)
    raise ValueError(f"the target {target!r} of item {item.id} is no label ({known}) and no option")
