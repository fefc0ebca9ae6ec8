"""What the procedures refuse, in words: what was given and what is allowed.

NaN and None have no place among numbers, and a count that is none, or that overflows where numpy's
do, would spoil a result without a word.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex


def check_finite(values: Iterable[float]) -> None:
    """Refuse NaN, infinity and None."""
    for value in values:
        if not _is_finite(value):
            raise ValueError(f"scores are finite numbers, got {value!r}; leave out what is missing")


def check_between(values: Sequence[float], low: float, high: float, message: str) -> None:
    """Refuse with `message` what lies outside [low, high] or is no number."""
    for value in values:
        if not _is_finite(value):
            raise ValueError(f"{message}, leave out what is missing; got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{message}; got {value!r}")


def check_level(level: float) -> None:
    """Refuse 95 where 0.95 is meant."""
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, got {level!r}")


def check_rate(name: str, value: float, usual: float) -> None:
    """Refuse 80 where 0.8 is meant, for power and alpha."""
    if not 0 < value < 1:
        raise ValueError(f"{name} lies between 0 and 1, such as {usual}; got {value!r}")


def check_resamples(resamples: int) -> None:
    """Refuse to draw nothing."""
    if whole(resamples) < 1:
        raise ValueError(f"at least one resample is needed, got {resamples}")


def whole(count: SupportsIndex) -> int:
    """Make a count one of Python's own integers, which do not overflow; refuse 2.5 and NaN."""
    try:
        return operator.index(count)
    except TypeError:
        raise ValueError(f"counts are whole numbers, got {count!r}") from None


def checked_counts(successes: int, n: int) -> tuple[int, int]:
    """Both counts as `whole` makes them; refuse those that no n trials have."""
    successes, n = whole(successes), whole(n)
    if not 0 <= successes <= n:
        raise ValueError(f"successes lie between 0 and n, got {successes} of {n}")
    return successes, n


def checked_items(n: int) -> int:
    """Make a number of items `whole`; refuse fewer than none."""
    n = whole(n)
    if n < 0:
        raise ValueError(f"there are 0 items or more, got {n}")
    return n


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type] # what is no number is what we ask
    except TypeError:
        return False
