r"""The scorer numeric: the number that an answer commits itself to, compared exactly.

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

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.corrections import corrected
from pytest_llmeval.scoring.extraction import (
    Finding,
    Reading,
    judge,
    read,
    targets_of,
    text_of,
)
from pytest_llmeval.scoring.numbers import Number, numbers_in, plain_latex
from pytest_llmeval.scoring.scorer import register
from pytest_llmeval.scoring.standing import (
    bounds_in,
    denied_in,
    is_alone,
    is_aside,
    is_doubted,
    is_open,
    is_trailing,
    is_undone,
)
from pytest_llmeval.scoring.triggers import matches_at
from pytest_llmeval.scoring.units import DIMENSIONS, conversion, is_known, unit_after, word_after

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
#: What may follow a number at the end of a cut text without closing it.
_UNFINISHED = re.compile(r"(?:\s*(?:[-+−–/×÷·^=]|\*(?!\*)))?[\s.,'’]*(?P<word>[A-Za-z]*)\Z")
_MULTIPLIERS = ("dozen", "hundred", "thousand", "million", "billion", "trillion", "percent")
_STRUCK = re.compile(r"~~[^~\n]+~~")
_UNDERSCORES = re.compile(r"(?<!\w)_{1,2}(?=[^\s_])([^_\n]+)_{1,2}(?!\w)")


class Quantity(NamedTuple):
    """A number and the unit behind it, None unless units count."""

    number: Number
    unit: str | None


@register("numeric")
@dataclass(frozen=True, slots=True)
class Numeric:
    """The number of an answer equals the target, as exact fractions: 42 is 42.0, 3/4 is 0.75.

    `tolerance` is absolute, `relative_tolerance` a part of the target; the wider holds. Words after
    a number are ignored, unless `units: true`: then known units are converted, and units of
    different kinds differ; a target's unit must be a known one. `decimal_comma: true` reads 1.234,5 as 1234.5, in targets too, where a
    JSON number is read as JSON writes it (0.125); one that could be either (1.500) is refused.

    A number at the very end of an answer that was cut off is not committed: more digits might have
    come.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    tolerance: float = 0
    relative_tolerance: float = 0
    units: bool = False
    decimal_comma: bool = False

    def __post_init__(self) -> None:
        for option in ("tolerance", "relative_tolerance"):
            if not (math.isfinite(getattr(self, option)) and getattr(self, option) >= 0):
                raise ValueError(f"{option} must be 0 or more, got {getattr(self, option)!r}")

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        accepted = targets_of(item)
        targets = [self._target(item, target) for target in accepted]

        def matches(found: Quantity) -> bool:
            return any(self._agree(found, target) for target in targets)

        shown = [text_of(target) for target in accepted]
        return judge(self.name, read(answer), self._find, matches, shown)

    def _find(self, reading: Reading) -> Finding[Quantity] | None:
        text = _unmarked(plain_latex(reading.text))
        found = numbers_in(text, decimal_comma=self.decimal_comma)
        begin, refuted = corrected(
            text, found, _standing(text, found), partial(_answer_so_far, text)
        )
        if begin:
            text = text[begin:]
            found = numbers_in(text, decimal_comma=self.decimal_comma)
        chosen = _choose(text, found, {start - begin for start in refuted}) if found else None
        if chosen is None:
            return None
        number, how = chosen
        unit = unit_after(text, number.end) if self.units else None
        shown = text[number.start : number.end].strip()
        committed = how != _LAST and not _may_go_on(text, number.end)
        return Finding(Quantity(number, unit), shown, how, committed)

    def _target(self, item: Item, target: Any) -> Quantity:
        try:
            quantity = _quantity(text_of(target), self.decimal_comma)
        except ValueError as error:
            raise ValueError(f"item {item.id}: {error}") from None
        if quantity is None:
            raise ValueError(f"the target {target!r} of item {item.id} is not one number")
        if not self.units:
            return Quantity(quantity.number, None)
        if quantity.unit is not None and not is_known(quantity.unit):
            raise ValueError(
                f"the unit {quantity.unit!r} of item {item.id}'s target is none that is known: "
                f"{', '.join(DIMENSIONS)}; drop `units: true`, or the unit"
            )
        return quantity

    def _agree(self, found: Quantity, target: Quantity) -> bool:
        number = found.number
        if self.units:
            factor = conversion(found.unit, target.unit)
            if factor is None:
                return False
            number = number._replace(value=number.value * factor)
        if number.value == target.number.value and number.percent == target.number.percent:
            return True
        return number.distance(target.number) <= self._allowed(target.number.value)

    def _allowed(self, target: Fraction) -> Fraction:
        """How far off is still right: the options as the decimals that were written."""
        absolute, relative = _exactly(self.tolerance), _exactly(self.relative_tolerance)
        return max(absolute, relative * abs(target))


_LAST = "last number"


def _unmarked(text: str) -> str:
    """Take away Markdown's underscores (__42__), which would make a number part of a name, and
    what it strikes out; write a slash as all others are.
    """
    if "~~" in text:
        text = _STRUCK.sub(" ", text)
    if "\u2044" in text:
        text = text.replace("\u2044", "/")
    return _UNDERSCORES.sub(r"\1", text) if "_" in text else text


def _standing(text: str, found: Sequence[Number]) -> Sequence[Number]:
    """The numbers that may be an answer: neither denied nor a bound of one."""
    no_more = {number.start for number in (*denied_in(text, found), *bounds_in(text, found))}
    return [number for number in found if number.start not in no_more] if no_more else found


def _answer_so_far(text: str, found: Sequence[Number]) -> Number | None:
    chosen = _first_choice(text, found)
    return chosen[0] if chosen else None


def _choose(
    text: str, found: Sequence[Number], refuted: Collection[int] = ()
) -> tuple[Number, str] | None:
    """Pick the number that the text commits itself to, and say where it stood."""
    denied = denied_in(text, found)
    no_more = {number.start for number in (*denied, *bounds_in(text, found))}.union(refuted)
    standing = [number for number in found if number.start not in no_more] if no_more else found
    chosen = _first_choice(text, standing)
    if chosen is None:
        return None
    again = [n.start for n in denied if n.start > chosen[0].start and n.value == chosen[0].value]
    if again:
        chosen = _last(text, [number for number in standing if number.start > again[-1]])
    if chosen is None or is_undone(text, chosen[0]) or is_open(text, found, chosen[0]):
        return None
    return None if is_doubted(text, standing, chosen[0]) else chosen


def _first_choice(text: str, standing: Sequence[Number]) -> tuple[Number, str] | None:
    for how, start, end in _places(text, standing):
        number = _in_segment(text, standing, start, end)
        if number is not None:
            return number, how
    if "\n" not in text.strip():
        return _last(text, standing)
    alone = [number for number in standing if is_alone(text, number)]
    if alone and "\n" not in text[: alone[0].start].lstrip():
        opens = all(number.value == alone[0].value for number in alone)
        if opens:
            return alone[0], "the opening line"
        if standing[-1] is alone[-1]:
            return None
    return _last(text, standing)


def _last(text: str, standing: Sequence[Number]) -> tuple[Number, str] | None:
    last = next((number for number in reversed(standing) if not is_aside(text, number)), None)
    if last is None or is_trailing(text, standing, last):
        return None
    return _left_of_sum(text, standing, last) or last, _LAST


def _left_of_sum(text: str, standing: Sequence[Number], operand: Number) -> Number | None:
    """The number that a sum is said to make before it is written: 42 in "42 = 6*7"."""
    near = max(0, operand.start - 60)
    equals = max(text.rfind(word, near, operand.start) for word in ("=", "which is"))
    if equals < 0 or not is_undone(text, operand):
        return None
    before = [number for number in standing if number.end <= equals]
    if not before or text[before[-1].end : equals].strip(" *$,") or is_undone(text, before[-1]):
        return None
    return before[-1]


def _places(text: str, standing: Sequence[Number]) -> Iterator[tuple[str, int, int]]:
    """Where a committed number may stand, the most binding first."""
    after = (
        (words.end(), words, None)
        for words in matches_at(_ANCHOR, text, _ANCHOR_WORDS)
        if not _OF_OTHERS.search(text, max(0, words.start() - 40), words.start())
    )
    confirmed = ((number, _CONFIRMED.match(text, number.end)) for number in standing)
    before = ((number.start, words, number.end) for number, words in confirmed if words)
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


def _in_segment(text: str, standing: Sequence[Number], start: int, end: int) -> Number | None:
    """The number that a segment states: what it begins with, or what its equation comes to, or,
    where it is a sentence, the last of its numbers.
    """
    inside = [number for number in standing if start <= number.start < end]
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


def _may_go_on(text: str, end: int) -> bool:
    """Say whether a number at the end of a cut text could have become another one."""
    tail = _UNFINISHED.match(text, end)
    if tail is None:
        return False
    return any(word.startswith(tail["word"].lower()) for word in ("", *_MULTIPLIERS))


@lru_cache(maxsize=65536)
def _quantity(text: str, decimal_comma: bool) -> Quantity | None:
    """Read a target: exactly one number, or a division that may come out whole.

    Raises:
        ValueError: with `decimal_comma`, a number such as 1.500 without any comma: JSON writes one
            and a half like this, and people 1500.

    """
    plain = _plain_quantity(text, decimal_comma=False)
    if not decimal_comma:
        return plain
    comma = _plain_quantity(text, decimal_comma=True)
    if plain and comma and "," not in text and plain.number.value != comma.number.value:
        one, other = (f"{float(each.number.value):g}" for each in (plain, comma))
        message = f"with decimal_comma the target {text!r} may be {one} or {other}"
        raise ValueError(f"{message}; write the one with a decimal comma, the other without dots")
    return comma or plain


def _plain_quantity(text: str, *, decimal_comma: bool) -> Quantity | None:
    division = re.fullmatch(r"\s*([-−]?\d+)\s*/\s*(\d+)\s*", text)
    if division and int(division[2]):
        value = Fraction(int(division[1].replace("−", "-")), int(division[2]))
        return Quantity(Number(0, len(text), value, percent=False), None)
    plain = plain_latex(text)
    found = numbers_in(plain, decimal_comma=decimal_comma)
    return Quantity(found[0], word_after(plain, found[0].end)) if len(found) == 1 else None


@lru_cache
def _exactly(option: float) -> Fraction:
    return Fraction(Decimal(repr(option)))
