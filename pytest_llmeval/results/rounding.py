"""How numbers are said: the only place where anything is rounded."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pytest_llmeval.records import Interval

UNKNOWN = "-"


AS_GOOD_AS_NONE = 1e-9
"""A share this near to 0 or 1 got there by rounding: no run has so many trials."""


def difference_words(difference: float | None, interval: Interval) -> str:
    """A difference in points with its interval: `+2.5 [-3.8, +9.1]`."""
    told, low, high = map(points, (difference, interval.low, interval.high))
    if told is None:
        return UNKNOWN
    if low is None or high is None:
        return f"{told:+.1f}"
    return f"{told:+.1f} [{low:+.1f}, {high:+.1f}]"


def points(value: float | None) -> float | None:
    """A share in percentage points, not rounded."""
    return None if value is None else 100 * value


def p_words(p: float | None) -> str:
    """Say a p value with two digits that mean something."""
    if p is None:
        return "p " + UNKNOWN
    if p < 0.001:
        return "p < 0.001"
    return f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


def fixed_set_words(interval: Interval | None, *, signed: bool = False) -> str:
    """The interval for these very items, in percent or signed points; "" without repeats."""
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return "no repeat differed"
    if signed:
        return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    return bounds(interval)


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage without its sign.

    What is neither 0 nor 100 is not rounded to them: 2999 of 3000 are `99.97`.
    """
    if share is None:
        return UNKNOWN
    if AS_GOOD_AS_NONE < share < 1 - AS_GOOD_AS_NONE:
        while float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
            digits += 1
    return f"{100 * share:.{digits}f}"


def bounds(interval: Interval) -> str:
    """An interval of shares in percent: `89.8..96.5`."""
    if interval.low is None or interval.high is None:
        return UNKNOWN
    return f"{percent(interval.low)}..{percent(interval.high)}"


def whole(number: float | None) -> str:
    """A whole number with its thousands set apart."""
    return UNKNOWN if number is None else f"{round(number):,}"


def duration(seconds: float) -> str:
    """A length of time as one says it: `0.8 s`, `41 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest} s"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 model`, `2 models`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def significant(number: float | None, digits: int = 4) -> str:
    """A positive number with so many digits that mean something: `12.34`, `1,234`, `0.01234`."""
    if number is None:
        return UNKNOWN
    behind = digits - 1 - math.floor(math.log10(number)) if number > 0 else 0
    return f"{number:,.{max(0, behind)}f}"


def significant_bounds(interval: Interval) -> str:
    """An interval of such numbers: `12.01..12.66`."""
    if interval.low is None or interval.high is None:
        return UNKNOWN
    return f"{significant(interval.low)}..{significant(interval.high)}"


def likelihood_lines(likelihoods: Iterable[tuple[str, float]]) -> list[str]:
    """Texts with their log likelihoods in nats, in their order: `-0.6142  Paris`."""
    told = list(likelihoods)
    figures = [f"{total:.4f}" for _, total in told]
    width = max(map(len, figures), default=0)
    texts = [" ".join(text.split()) or repr(text) for text, _ in told]
    return [f"{f.rjust(width)}  {text}" for f, text in zip(figures, texts, strict=True)]
