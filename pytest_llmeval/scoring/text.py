"""Scorers that compare the text as a whole: exact, normalized_exact, includes."""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import (
    Reading,
    as_read,
    judge,
    read,
    targets_of,
    text_of,
    whole_text,
)
from pytest_llmeval.scoring.scorer import register

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
#: Characters that nobody sees: soft hyphen, zero-width space, word joiner, byte order mark.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))


@register("exact")
@dataclass(frozen=True, slots=True)
class Exact:
    """The answer is the target, up to surrounding space and Unicode composition (NFC).

    With `normalize: false` every code point of the answer counts. A fence around the whole answer
    is no part of it, unless the target has one too.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    ignore_case: bool = False
    normalize: bool = True

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [text_of(target) for target in targets_of(item)]
        accepted = {self._form(target) for target in targets}

        def matches(reading: Reading) -> bool:
            return any(self._form(text) in accepted for text in reading.ways)

        return judge(self.name, read(answer), as_read, matches, targets)

    def _form(self, text: str) -> str:
        if self.ignore_case:
            text = text.casefold()
        return composed(text).strip() if self.normalize else text


@register("normalized_exact")
@dataclass(frozen=True, slots=True)
class NormalizedExact:
    """The answer is the target after SQuAD's normalisation, made to hold for all of Unicode.

    Case is folded, punctuation deleted, the articles a, an, the dropped (unless nothing else is
    left), space collapsed. Accents and symbols other than ASCII's are kept.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [text_of(target) for target in targets_of(item)]
        accepted = {normalized(target) for target in targets}

        def matches(text: str) -> bool:
            return normalized(text) in accepted

        return judge(self.name, read(answer), whole_text, matches, targets)


@register("includes")
@dataclass(frozen=True, slots=True)
class Includes:
    """The target stands somewhere in the answer, in any case unless told otherwise.

    `whole_words: true` asks for a word boundary on both sides, so that "no" is not in "know".
    Fences and what stands on their lines count too.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    ignore_case: bool = True
    whole_words: bool = False

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [text_of(target) for target in targets_of(item)]
        if not all(target.strip() for target in targets):
            raise ValueError(f"item {item.id} has an empty target, which every answer includes")

        def matches(reading: Reading) -> bool:
            forms = [self._form(text) for text in reading.ways]
            return any(
                self._stands_in(self._form(each), text) for each in targets for text in forms
            )

        return judge(self.name, read(answer), as_read, matches, targets)

    def _form(self, text: str) -> str:
        return composed(text.casefold() if self.ignore_case else text).strip()

    def _stands_in(self, target: str, text: str) -> bool:
        if not self.whole_words:
            return target in text
        return _as_words(target).search(text) is not None


def composed(text: str) -> str:
    """Unicode's composed form (NFC): é as one character, however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def normalized(text: str) -> str:
    """SQuAD's normalisation for any script; see `NormalizedExact`."""
    text = composed(text).casefold()
    if text.isascii():
        text = text.translate(_ASCII_PUNCTUATION)
    else:
        text = "".join(filter(_is_kept, composed(text).translate(_INVISIBLE)))
    return " ".join(_ARTICLES.sub(" ", text).split()) or " ".join(text.split())


def _is_kept(character: str) -> bool:
    return character not in string.punctuation and unicodedata.category(character)[0] != "P"


@lru_cache(maxsize=4096)
def _as_words(target: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(target)}(?!\w)")
