"""Where a text mentions the options of a question, by label or by their own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from pytest_llmeval.scoring.triggers import GLUED, lower, starts_of


class Mention(NamedTuple):
    """An option is mentioned at `start` to `end`.

    `sure` is False for a bare "a", "b", "A dog" or "I": a label only where one is expected.
    It stands there by its label, in its `own_words`, or with both: "B) Paris"; by neither, it is
    counted ("the third option"), and never sure.
    """

    start: int
    end: int
    label: str
    sure: bool
    labelled: bool
    own_words: bool


#: After a bare "A" it is a label before these; before any other word it is the article.
_NO_ARTICLE = re.compile(
    r"""\s*(?: \Z | [\n.,:;!?)\]"'’”/&=–—-]
      | (?:is|isn['’]t|was|are|would|seems|looks|because|since|as|and|or|but|has|nor|must|cannot
           |can['’]t|could|does|doesn['’]t|can|over|instead|rather|not)\b )""",
    re.VERBOSE,
)
_NO_PRONOUN = re.compile(r"\s*(?:\Z|[\n.:;!?)\]/])")
#: A "no" before any other word is the determiner: "no idea", "no other city".
_NO_DETERMINER = re.compile(
    r"""\s*(?: \Z | [^\w\s] | \n
      | (?:I|it|he|she|we|they|you|that|this|there|because|since|as|and|or|but|is|was|would
          |not)\b )""",
    re.IGNORECASE | re.VERBOSE,
)
_NAMED = re.compile(r"\b(?:options?|choices?|letters?|alternatives?|answers?)\s+\Z", re.IGNORECASE)
#: What a letter belongs to that stands behind such a word.
_LETTERED = frozenset(
    ("vitamin", "vitamins", "plan", "hepatitis", "influenza", "grade", "appendix")
)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_NTH = re.compile(
    rf"(?:\bthe\s+)?\b(?:(?P<word>{'|'.join(_ORDINALS)})|(?P<digit>\d)(?:st|nd|rd|th))\s+\Z",
    re.IGNORECASE,
)
_COUNTED = ("option", "choice")
_LABEL_TO_TEXT = re.compile(r"\s*[.:)\]=,–—-]?\s*[\"'“‘(]?")


def mentions_in(text: str, labels: Sequence[str], texts: Sequence[str]) -> list[Mention]:
    """Find every mention of an option, in order; `texts` are in the order of `labels`, or empty.

    Of two that overlap the longer counts, so that "Paris, Texas" is no "Paris" and the letter in
    "Vitamin C" none at all. A label with its own words behind it is one mention. An option whose
    text is itself a label is known by its label only. An option "No" is not mentioned by "no idea".
    """
    known = {label.casefold() for label in labels}
    own = [
        (label, words)
        for label, words in zip(labels, texts, strict=False)
        if words.casefold() not in known
    ]
    covered = bytearray(len(text))
    mentions = list(_in_words(text, own, covered))
    mentions += (each for each in _by_label(text, tuple(labels)) if not covered[each.start])
    mentions += _by_place(text, labels)
    return _joined(text, sorted(each for each in mentions if not _is_determiner(text, each)))


def _is_determiner(text: str, mention: Mention) -> bool:
    if mention.end - mention.start != 2 or lower(text[mention.start : mention.end]) != "no":
        return False
    return _NO_DETERMINER.match(text, mention.end) is None


def _by_place(text: str, labels: Sequence[str]) -> Iterator[Mention]:
    """Options that are counted in words: "the third option"."""
    for start in starts_of(text, _COUNTED):
        nth = _NTH.search(text, max(0, start - 14), start)
        if nth is None:
            continue
        place = _ORDINALS.index(nth["word"].lower()) if nth["word"] else int(nth["digit"]) - 1
        end = start + len("option")  # both words are as long
        if 0 <= place < len(labels) and not text[end : end + 1].isalnum():
            yield Mention(
                nth.start(), end, labels[place], sure=False, labelled=False, own_words=False
            )


def _by_label(text: str, labels: tuple[str, ...]) -> Iterator[Mention]:
    canonical = {label.casefold(): label for label in labels}
    for match in _label_matches(text, labels):
        written = match["label"]
        label = canonical[written.casefold()]
        bracketed = match["close"] is not None
        sure = bracketed or _is_label(text, match, label)
        yield Mention(match.start(), match.end(), label, sure, labelled=True, own_words=False)


def _is_label(text: str, match: re.Match[str], label: str) -> bool:
    """Say whether what is written is a label anywhere: a bare "A" may be the article, a bare "I"
    the pronoun, and a small letter is a label where "option" stands before it.
    """
    written, end = match["label"], match.end()
    if _follows_its_name(text, match.start()):
        return False
    if written == "I" == label:
        return _NO_PRONOUN.match(text, end) is not None
    if written.upper() == "A" and written == label and _NO_ARTICLE.match(text, end):
        return True
    if written == label and written != "A":
        return True
    if written == "a" and not _NO_ARTICLE.match(text, end):
        return False
    return _NAMED.search(text, max(0, match.start() - 16), match.start()) is not None


def _follows_its_name(text: str, start: int) -> bool:
    """Say whether a letter belongs to the word before it: "vitamin A"."""
    if text[start - 1 : start] != " ":
        return False
    return lower(text[text.rfind(" ", 0, start - 1) + 1 : start - 1]) in _LETTERED


def _label_matches(text: str, labels: tuple[str, ...]) -> Iterator[re.Match[str]]:
    """Where labels stand, looked for only where one of their letters stands alone."""
    pattern, letters = _label_pattern(labels)
    if letters is None:
        yield from pattern.finditer(text)
        return
    end = 0
    for letter in letters.finditer(text):
        start = letter.start()
        for begin in (start - 1, start) if text[start - 1 : start] in ("(", "[") else (start,):
            if begin >= end and (match := pattern.match(text, begin)):
                yield match
                end = match.end()
                break


@lru_cache(maxsize=256)
def _label_pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    """The pattern of a label; and of its letter alone, where every label is one."""
    alternatives = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    pattern = re.compile(
        rf"""(?<![{GLUED}]) (?<!\w['’]) (?<!\w-) (?<!\w\.) (?<![-−](?=\d))
             [(\[]? (?P<label>{alternatives}) (?P<close>\s?[)\]])?
             (?! [{GLUED}] | ['’]\w | [+#*]\w | \+ | \# | -\w | \.\w )""",
        re.VERBOSE | re.IGNORECASE,
    )
    if not all(len(label) == 1 and label.isascii() and label.isalnum() for label in labels):
        return pattern, None
    letters = "".join(label.lower() + label.upper() for label in labels)
    return pattern, re.compile(rf"[{letters}](?![{GLUED}])")


def _in_words(text: str, own: Sequence[tuple[str, str]], covered: bytearray) -> Iterator[Mention]:
    """Occurrences of the options' own texts as whole words in any case, the longest first.

    Marks in `covered` the positions they take.
    """
    lowered = lower(text)
    for label, words in sorted(own, key=lambda pair: -len(pair[1])):
        needle = _needle(words)
        start = lowered.find(needle) if needle else -1
        while start >= 0:
            end = start + len(needle)
            if _stands_alone(lowered, start, end) and covered.find(1, start, end) < 0:
                covered[start:end] = bytes([1]) * len(needle)
                yield Mention(start, end, label, sure=True, labelled=False, own_words=True)
            start = lowered.find(needle, start + 1)


@lru_cache(maxsize=4096)
def _needle(words: str) -> str:
    return lower(" ".join(words.split()))


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    if text[start].isalnum() and (before.isalnum() or before == "_"):
        return False
    if text[end - 1].isalnum() and (after.isalnum() or after == "_"):
        return False
    if text[start].isdigit() and before in ("-", "−"):
        return False
    if (
        text[start].isdigit()
        and before in (".", ",", "/")
        and text[start - 2 : start - 1].isdigit()
    ):
        return False
    return not (
        text[end - 1].isdigit() and after in tuple(".,/") and text[end + 1 : end + 2].isdigit()
    )


def _joined(text: str, mentions: Sequence[Mention]) -> list[Mention]:
    """Make one mention of a label and its own words behind it: "B) Paris"."""
    joined: list[Mention] = []
    for mention in mentions:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.label == mention.label
            and mention.own_words
            and not last.own_words
            and _LABEL_TO_TEXT.fullmatch(text, last.end, mention.start)
        ):
            joined[-1] = last._replace(end=mention.end, sure=True, own_words=True)
        else:
            joined.append(mention)
    return joined
