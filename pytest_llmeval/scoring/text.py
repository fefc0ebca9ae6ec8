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
#: Where signs may be a part of what they stand beside: from a digit, or from + or # on.
_SIGNED = re.compile(r"[\d+#](?:[^\w\s]|[\d_])*")
_SIGNS = re.compile(r"(?:[^\w\s]|_)+")
#: A comma that separates thousands: 1,000 is 1000.
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
#: Characters that nobody sees: soft hyphen, zero-width space, word joiner, byte order mark, and the
#: marks that turn the direction of writing. And minus signs and dashes, which look the same.
_PLAIN = {
    **dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff\u061c\u200e\u200f")),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-"),
}
#: Scripts that put no space between words, or (Korean) attach particles to them.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


@register("exact")
@dataclass(frozen=True, slots=True)
class Exact:
    """The answer is the target, up to surrounding space, Unicode composition (NFC), and line ends.

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
        return composed(text).replace("\r\n", "\n").strip() if self.normalize else text


@register("normalized_exact")
@dataclass(frozen=True, slots=True)
class NormalizedExact:
    """The answer is the target after SQuAD's normalisation, made to hold for all of Unicode.

    Case is folded, punctuation deleted, the articles a, an, the dropped (unless nothing else is
    left), space collapsed. Accents and symbols other than ASCII's are kept.

    Not so in numbers and names of which the signs are a part, where SQuAD would take 3.5 for 35:
    signs between digits are kept (but 1,000 is 1000), a minus or a point before a number, and + and
    # behind a word (C++).
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

    `whole_words: true` asks for a word boundary on both sides, so that "no" is not in "know", nor
    42 in 42.5; scripts that put no space between words have one everywhere. Fences and what stands
    on their lines count too.
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
    if not text.isascii():
        text = composed(text).translate(_PLAIN)
    text = _with_signs_of_names(_THOUSANDS.sub("", text) if "," in text else text)
    return " ".join(_ARTICLES.sub(" ", text).split()) or " ".join(text.split())


def _without_punctuation(text: str) -> str:
    if text.isascii():
        return text.translate(_ASCII_PUNCTUATION)
    return "".join(filter(_is_kept, text))


def _with_signs_of_names(text: str) -> str:
    """A text without punctuation, but for the signs that are a part of a number or a name."""
    kept, end = [], 0
    for signed in _SIGNED.finditer(text):
        if signed[0].isalnum() and text[signed.start() - 1 : signed.start()] not in ("-", "."):
            continue  # a bare number
        start = end + len(text[end : signed.start()].rstrip("-."))
        kept.append(_without_punctuation(text[end:start]))
        end = start
        for signs in _SIGNS.finditer(text, start, signed.end()):
            kept += [text[end : signs.start()], _kept_of(signs)]
            end = signs.end()
        kept.append(text[end : signed.end()])
        end = signed.end()
    return "".join([*kept, _without_punctuation(text[end:])])


def _kept_of(match: re.Match[str]) -> str:
    """What is kept of signs that stand together: those that are a part of a number or a name."""
    text, signs = match.string, match[0]
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 1]
    if after.isdigit():
        if before.isdigit():
            return signs
        if not before.isalpha():
            place = len(signs.rstrip("-."))
            return _without_punctuation(signs[:place]) + signs[place:]
    elif before.isalnum() and not after.isalnum():
        place = len(signs) - len(signs.lstrip("+#"))
        return signs[:place] + _without_punctuation(signs[place:])
    return _without_punctuation(signs)


def _is_kept(character: str) -> bool:
    return character not in string.punctuation and unicodedata.category(character)[0] != "P"


@lru_cache(maxsize=4096)
def _as_words(target: str) -> re.Pattern[str]:
    """A target between two word boundaries, which a number has not within another number."""
    before, after = f"(?<![^\\W{_UNSPACED}])", f"(?![^\\W{_UNSPACED}])"
    if target[:1].isdigit():
        before += r"(?<!\d[.,])"
    if target[-1:].isdigit():
        after += r"(?![.,]\d)"
    before = "" if _IS_UNSPACED.match(target[:1]) else before
    after = "" if _IS_UNSPACED.match(target[-1:]) else after
    return re.compile(before + re.escape(target) + after)
