"""The scorer numeric: the number that an answer commits itself to, compared exactly.

Which number that is, is decided in `committed_number`; what a number is at all, in `numbers`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.committed_number import LAST, committed_number
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
from pytest_llmeval.scoring.units import DIMENSIONS, conversion, is_known, unit_after, word_after

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
    different kinds differ; a target's unit must be a known one. `decimal_comma: true` reads
    1.234,5 as 1234.5, in targets too, where a JSON number is read as JSON writes it (0.125); one
    that could be either (1.500) is refused.

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
        chosen = committed_number(text, self.decimal_comma)
        if chosen is None:
            return None
        text, number, how = chosen
        unit = unit_after(text, number.end) if self.units else None
        shown = text[number.start : number.end].strip()
        committed = how != LAST and not _may_go_on(text, number.end)
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


def _unmarked(text: str) -> str:
    """Take away Markdown's underscores (__42__), which would make a number part of a name, and
    what it strikes out; write a slash as all others are.
    """
    if "~~" in text:
        text = _STRUCK.sub(" ", text)
    if "\u2044" in text:
        text = text.replace("\u2044", "/")
    return _UNDERSCORES.sub(r"\1", text) if "_" in text else text


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
