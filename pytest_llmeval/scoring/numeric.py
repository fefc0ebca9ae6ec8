r"""The scorer numeric: the number that an answer commits itself to, compared exactly.

Where it is looked for, in this order: after an anchor ("The answer is", "Result:", <answer>), in
the last \boxed{}, after the last ####, and else the last number of the text. The last of several
anchors wins. A number that is negated ("not 42") or one of two that the text leaves open ("5 or 6")
is no answer. What is a number at all is decided in `numbers`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from pytest_llmeval.records import Answer, Item, Score
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
from pytest_llmeval.scoring.units import conversion, unit_after

#: A cheap test that spares most texts the search for anchors.
_ANCHOR_WORDS = ("answer", "result", "solution", "total")
_ANCHOR = re.compile(
    r"""<answer>
      | \b(?:answer|result|solution|total)\b
        (?: \s+(?:to|of|for|here)\b [^.:=\n]{0,80}? )?
        [\s"'*_`]* (?: (?:is|was|are|equals|would\s+be|will\s+be|must\s+be|should\s+be
                          |(?:comes|adds|works)\s+(?:out\s+|up\s+)?to)\b | [:=→] | [-=]> )
      | \banswer\s+(?=[-−$]?\d)""",
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
_OPERATOR = re.compile(r"\s*(?:[-+−*/×÷·⋅^]\s*[\d(]|[x×]\s?\d|=|[A-Za-z]\s*=)")
_OR = re.compile(r"\W*(?:\w+\W+)?or\W+(?:\w+\W+)?", re.IGNORECASE)
_NOT = re.compile(
    r"(?:\bnot|n['’]t|\bnever|\brather\s+than|\binstead\s+of)\s+(?:be\s+|equal\s+(?:to\s+)?)?[$(*]*\Z",
    re.IGNORECASE,
)


class Quantity(NamedTuple):
    """A number and the known unit behind it, None unless units count."""

    number: Number
    unit: str | None


@register("numeric")
@dataclass(frozen=True, slots=True)
class Numeric:
    """The number of an answer equals the target, as exact fractions: 42 is 42.0, 3/4 is 0.75.

    `tolerance` is absolute, `relative_tolerance` a part of the target; the wider holds. Words after
    a number are ignored, unless `units: true`: then known units are converted, and units of
    different kinds differ. `decimal_comma: true` reads 1.234,5 as 1234.5, in targets too.
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

        expected = " | ".join(map(text_of, accepted))
        return judge(self.name, read(answer), self._find, matches, expected)

    def _find(self, reading: Reading) -> Finding[Quantity] | None:
        text = plain_latex(reading.text)
        found = numbers_in(text, decimal_comma=self.decimal_comma)
        chosen = _choose(text, found) if found else None
        if chosen is None:
            return None
        number, how = chosen
        unit = unit_after(text, number.end) if self.units else None
        shown = text[number.start : number.end].strip()
        return Finding(Quantity(number, unit), shown, how, committed=how != _LAST)

    def _target(self, item: Item, target: Any) -> Quantity:
        quantity = _quantity(text_of(target), isinstance(target, str) and self.decimal_comma)
        if quantity is None:
            raise ValueError(f"the target {target!r} of item {item.id} is not one number")
        return quantity if self.units else Quantity(quantity.number, None)

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


def _choose(text: str, found: Sequence[Number]) -> tuple[Number, str] | None:
    """Pick the number that the text commits itself to, and say where it stood."""
    for how, start, end in _places(text):
        number = _in_segment(text, found, start, end)
        if number is not None:
            return None if _is_open(text, found, number) else (number, how)
    for number in reversed(found):
        if not _is_negated(text, number):
            return None if _is_open(text, found, number) else (number, _LAST)
    return None


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    """Where a committed number may stand, the most binding first."""
    lower = text.lower()
    if any(word in lower for word in _ANCHOR_WORDS):
        for anchor in reversed(list(_ANCHOR.finditer(text))):
            how = f"after {' '.join(anchor[0].split())!r}"
            yield how, anchor.end(), _segment_end(text, anchor.end())
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


def _in_segment(text: str, found: Sequence[Number], start: int, end: int) -> Number | None:
    """The number that a segment states: what it begins with, or what its equation comes to, or,
    where it is a sentence, the last of its numbers that is not negated.
    """
    inside = [n for n in found if start <= n.start < end and not _is_negated(text, n)]
    if not inside:
        return None
    first = inside[0]
    is_sum = _OPERATOR.match(text, first.end)
    if not is_sum and _LEAD.fullmatch(text, start, first.start):
        return first
    equals = text.rfind("=", start, end)
    if equals >= 0:
        return next((number for number in inside if number.start > equals), None)
    return None if is_sum else inside[-1]


def _is_negated(text: str, number: Number) -> bool:
    return _NOT.search(text, max(0, number.start - 24), number.start) is not None


def _is_open(text: str, found: Sequence[Number], number: Number) -> bool:
    """Say whether the number is one side of "5 or 6"; "1/2 or 0.5" says one thing twice."""
    if "or" not in text and "OR" not in text:
        return False
    place = found.index(number)
    pairs = [
        (found[left], found[left + 1]) for left in (place - 1, place) if 0 <= left < len(found) - 1
    ]
    return any(
        _OR.fullmatch(text, left.end, right.start) is not None and left.distance(right) != 0
        for left, right in pairs
    )


@lru_cache(maxsize=65536)
def _quantity(text: str, decimal_comma: bool) -> Quantity | None:
    """Read a target: exactly one number, or a division that may come out whole."""
    division = re.fullmatch(r"\s*([-−]?\d+)\s*/\s*(\d+)\s*", text)
    if division and int(division[2]):
        value = Fraction(int(division[1].replace("−", "-")), int(division[2]))
        return Quantity(Number(0, len(text), value, percent=False), None)
    plain = plain_latex(text)
    found = numbers_in(plain, decimal_comma=decimal_comma)
    if len(found) != 1:
        return _quantity(text, False) if decimal_comma else None
    return Quantity(found[0], unit_after(plain, found[0].end))


@lru_cache
def _exactly(option: float) -> Fraction:
    return Fraction(Decimal(repr(option)))
