r"""Which number a text commits itself to.

Where it is looked for, in this order: after an anchor ("The answer is", "Result:", <answer>) or
before one ("is the answer", "is the sum of"), in the last \boxed{}, after the last ####, a first
line that is only a number, and else the last number of the text. The last of several anchors wins.

What stands as an answer is decided in `standing`:

- a number that is denied ("not 42", "42 is wrong") is none, and one that is denied further on, or
  taken back ("Wait, no", "that is wrong"), gives way to what comes after; second thoughts ("Wait,")
  that come to another number without committing leave the answer open;
- of "5 or 6", "5 to 6", "5–6", "between 5 and 6" and "5 < 6" neither is the answer;
- operands of a sum left undone (17 + 25, 3 times 14) and bases of powers (2^10, 4²) are none;
- the last number is not one that only measures another ("42 is larger than 17", "42 > 17", "42 out
  of 50") or a remark behind it ("42 (rounded from 41.7)");
- two lines that are only a number, the first and the last of them, and different, leave it open.

What is a number at all is decided in `numbers`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from pytest_llmeval.scoring.corrections import corrected
from pytest_llmeval.scoring.numbers import Number, numbers_in
from pytest_llmeval.scoring.standing import (
    Standing,
    is_alone,
    is_aside,
    is_doubted,
    is_open,
    is_trailing,
    is_undone,
)
from pytest_llmeval.scoring.triggers import matches_at

#: How every match of `_ANCHOR` begins.
_ANCHOR_WORDS = ("answer", "result", "solution", "total", "<answer>")
_ANCHOR = re.compile(
    r"""<answer>
      | \b(?:answer|result|solution|total)\b
        (?: \s+(?:to|of|for|here)\b [^.:=\n]{0,80}? )?
        [\s"'*_`]* (?: (?:is|was|are|equals|would\s+be|will\s+be|must\s+be|should\s+be
                          |(?:comes|adds|works)\s+(?:out\s+|up\s+)?to)\b | [:=→] | [-=]> )
      | \banswer\s+(?=[-−$]?\d)""",
    re.IGNORECASE | re.VERBOSE,
)
#: "A common answer is 41" is not the answer.
_OF_OTHERS = re.compile(
    r"\b(?:an?|one|another|common|frequent|popular|naive|obvious|tempting)\s+(?:\w+\s+){0,2}\Z",
    re.IGNORECASE,
)
#: "42 is the answer", "42 is the sum of 17 and 25".
_CONFIRMED = re.compile(
    r"""[*_`"')\]}$]*\s+(?:is|are|would\s+be)\s+(?:(?!not\b|wrong\b|incorrect\b|false\b)\w+\s+){1,2}
        (?:answer|result|solution|total|sum|product|difference|quotient|remainder)\b""",
    re.IGNORECASE | re.VERBOSE,
)
#: What may stand between an anchor and its number without making it the number of a sentence.
_LEAD = re.compile(
    r"""[^\w\n]*
        (?: (?:approximately|about|around|roughly|exactly|simply|just|only|therefore|indeed|still
              |now|equal\s+to|probably|likely|then|also|a|[a-z]\s*(?==)) [^\w\n]* ){0,3}""",
    re.IGNORECASE | re.VERBOSE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n|</answer>", re.IGNORECASE)
_EQUATION = re.compile(r"\s*(?:=|[A-Za-z]\s*=)")

LAST = "last number"


class Commitment(NamedTuple):
    """What a text came to, after all that it took back: the number in it, and how it was found."""

    text: str
    number: Number
    how: str


def committed_number(text: str, decimal_comma: bool) -> Commitment | None:
    """Find the number that a text commits itself to; None when to none."""
    found = numbers_in(text, decimal_comma=decimal_comma)
    if not found:
        return None
    begin, refuted = corrected(Standing(text, found), _answer_of)
    if begin:
        text = text[begin:]
        found = numbers_in(text, decimal_comma=decimal_comma)
    chosen = _chosen(Standing(text, found, {start - begin for start in refuted}))
    return Commitment(text, *chosen) if chosen else None


def _answer_of(standing: Standing) -> Number | None:
    chosen = _first_choice(standing)
    return chosen[0] if chosen else None


def _chosen(standing: Standing) -> tuple[Number, str] | None:
    text, found = standing.text, standing.found
    chosen = _first_choice(standing)
    if chosen is None:
        return None
    denied_again = _last_denial(standing, chosen[0])
    if denied_again:
        chosen = _last(standing, after=denied_again.start)
    if chosen is None or is_undone(text, chosen[0]) or is_open(text, found, chosen[0]):
        return None
    return None if is_doubted(standing, chosen[0]) else chosen


def _last_denial(standing: Standing, chosen: Number) -> Number | None:
    """Where the text denies the number further on."""
    for number in reversed(standing.found):
        if number.start <= chosen.start:
            return None
        if number.value == chosen.value and standing.denies(number):
            return number
    return None


def _first_choice(standing: Standing) -> tuple[Number, str] | None:
    text, found = standing.text, standing.found
    for how, start, end in _places(standing):
        number = _in_segment(standing, start, end)
        if number is not None:
            return number, how
    if "\n" not in text.strip():
        return _last(standing)
    alone = [number for number in found if is_alone(text, number) and standing.stands(number)]
    if alone and "\n" not in text[: alone[0].start].lstrip():
        if all(number.value == alone[0].value for number in alone):
            return alone[0], "the opening line"
        if next(standing.backwards()) is alone[-1]:
            return None
    return _last(standing)


def _last(standing: Standing, after: int = -1) -> tuple[Number, str] | None:
    for number in standing.backwards():
        if number.start <= after:
            return None
        if not is_aside(standing.text, number):
            if is_trailing(standing, number):
                return None
            return _left_of_sum(standing, number) or number, LAST
    return None


def _left_of_sum(standing: Standing, operand: Number) -> Number | None:
    """The number that a sum is said to make before it is written: 42 in "42 = 6*7"."""
    text, near = standing.text, max(0, operand.start - 60)
    equals = max(text.rfind(word, near, operand.start) for word in ("=", "which is"))
    if equals < 0 or not is_undone(text, operand):
        return None
    before = next(standing.backwards(equals), None)
    if before is None or text[before.end : equals].strip(" *$,") or is_undone(text, before):
        return None
    return before


def _places(standing: Standing) -> Iterator[tuple[str, int, int]]:
    """Where a committed number may stand, the most binding first."""
    text = standing.text
    after = [
        (words.end(), words, None)
        for words in matches_at(_ANCHOR, text, _ANCHOR_WORDS)
        if not _OF_OTHERS.search(text, max(0, words.start() - 40), words.start())
    ]
    before = [
        (number.start, words, number.end)
        for number in standing.found
        if (words := _CONFIRMED.match(text, number.end)) and standing.stands(number)
    ]
    for start, words, end in sorted([*after, *before], key=lambda place: -place[0]):
        side = "after" if end is None else "before"
        yield f"{side} {' '.join(words[0].split())!r}", start, end or _segment_end(text, start)
    if "\\boxed" in text or "\\fbox" in text:
        opening = text.find("{", max(text.rfind("\\boxed"), text.rfind("\\fbox")))
        if opening >= 0:
            yield "boxed", opening + 1, _closing_brace(text, opening)
    if "####" in text:
        start = text.rfind("####") + 4
        yield "after ####", start, _segment_end(text, start)


def _segment_end(text: str, start: int) -> int:
    """The end of the sentence or line that begins at `start`, blank lines before it included."""
    while start < len(text) and not text[start].isalnum() and text[start] not in "<\\.":
        start += 1
    end = _SENTENCE_END.search(text, start)
    return end.start() if end else len(text)


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return len(text)


def _in_segment(standing: Standing, start: int, end: int) -> Number | None:
    """The number that a segment states: what it begins with, or what its equation comes to, or,
    where it is a sentence, the last of its numbers.
    """
    text, found = standing.text, standing.found
    between = found[bisect_left(found, (start,)) : bisect_left(found, (end,))]
    inside = [number for number in between if standing.stands(number)]
    if not inside:
        return None
    first = inside[0]
    leads = _LEAD.fullmatch(text, start, first.start) is not None
    equation = _EQUATION.match(text, first.end) is not None
    if leads and not equation and not is_undone(text, first):
        return first
    equals = text.rfind("=", start, end)
    if equals < 0:
        return first if leads else inside[-1]
    result = next((number for number in inside if number.start > equals), None)
    if result is not None and leads and equation and is_undone(text, result):
        return first
    return result
