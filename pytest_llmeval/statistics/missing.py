"""What the items without a score could do to a verdict.

Missing is neither zero nor absent: a verdict is read again under what the missing may have been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.comparisons import SEED, compare_all
from pytest_llmeval.statistics.gates import fewest
from pytest_llmeval.statistics.paired import NO_DIFFERENCE

Side = Literal["first", "second"]

MaybeScores = Mapping[str, float | None]
"""The score of each item in [0, 1], None (or no entry) where there is none."""

_Pair = tuple[float | None, float | None]
"""The scores of one item, first and second."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The paired verdict under one assumption about the missing. Undefined figures are None."""

    items: int
    difference: float | None
    interval: Interval
    test: str
    p: float | None
    significant: bool

    @property
    def sign(self) -> int | None:
        """1 when the first side is ahead, -1 when the second is, 0 when they are level."""
        if self.difference is None:
            return None
        if abs(self.difference) < NO_DIFFERENCE:
            return 0
        return 1 if self.difference > 0 else -1

    @property
    def better(self) -> Side | None:
        """The side shown to be better; None when neither is."""
        if not self.significant or not self.sign:
            return None
        return "first" if self.sign > 0 else "second"


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Four readings of one comparison, and how many missing items its verdict hangs on.

    `missing` items lack a score on some side, `missing_first` on the first, `missing_second` on the
    second. `tipping_count` is None when no values of the missing could undo the verdict.
    """

    complete_case: Reading
    missing_is_zero: Reading
    worst_for_first: Reading
    best_for_first: Reading
    missing: int
    missing_first: int
    missing_second: int
    tipping_count: int | None

    @property
    def conclusion_robust(self) -> bool:
        """All four readings agree in sign and in significance."""
        readings = (
            self.complete_case,
            self.missing_is_zero,
            self.worst_for_first,
            self.best_for_first,
        )
        found = {(reading.sign, reading.significant) for reading in readings}
        return len(found) == 1 and self.complete_case.sign is not None


def unsupported_sensitivity(
    first: MaybeScores,
    second: MaybeScores,
    *,
    binary: bool | None = None,
    alpha: float = 0.05,
    seed: int = SEED,
) -> Sensitivity:
    """Read the paired verdict of two conditions again under what the missing may have been.

    On the items that either side names: the complete case (those that both sides have), missing as
    0, and Manski's bounds, the worst for the first side (its own missing 0, the other's 1) and the
    best. Each by the test and interval of `compare_all`: McNemar mid-p and Tango when `binary`, by
    default when every score is 0 or 1, else sign-flip (with `seed`) and t. Significant is p <
    `alpha`, uncorrected.

    The tipping count is the fewest missing items whose values must speak against the verdict of the
    complete case for it to be another, the other missing items speaking for it; of a difference
    not shown, the fewest that must speak for one side, the others for the other, to show one. Exact
    for binary scores; graded ones are changed in the order that moves the mean most.

    No items give four undefined readings; one item shows nothing. Raises ValueError for a score
    outside [0, 1], or not 0 or 1 when `binary`. Source: Manski 1990; Yan, Lee & Li 2009.
    """
    items = sorted(first.keys() | second.keys())
    pairs = {item: (first.get(item), second.get(item)) for item in items}
    given = [score for pair in pairs.values() for score in pair if score is not None]
    is_binary = all(score in (0, 1) for score in given) if binary is None else binary

    def read(filled: Mapping[str, _Pair]) -> Reading:
        return _reading(filled, binary=is_binary, alpha=alpha, seed=seed)

    complete = read({item: pair for item, pair in pairs.items() if None not in pair})
    return Sensitivity(
        complete_case=complete,
        missing_is_zero=read({item: _filled(pair, 0.0, 0.0) for item, pair in pairs.items()}),
        worst_for_first=read({item: _favouring("second", pair) for item, pair in pairs.items()}),
        best_for_first=read({item: _favouring("first", pair) for item, pair in pairs.items()}),
        missing=len(pairs) - complete.items,
        missing_first=sum(one is None for one, _ in pairs.values()),
        missing_second=sum(other is None for _, other in pairs.values()),
        tipping_count=_tipping_count(pairs, complete.better, read),
    )


def _reading(pairs: Mapping[str, _Pair], *, binary: bool, alpha: float, seed: int) -> Reading:
    sides = {
        "first": {item: one for item, (one, _) in pairs.items() if one is not None},
        "second": {item: other for item, (_, other) in pairs.items() if other is not None},
    }
    (found,) = compare_all("", "", sides, binary=tuple(sides) if binary else (), seed=seed)
    return Reading(
        items=found.items,
        difference=found.difference,
        interval=found.interval,
        test=found.test,
        p=found.p,
        significant=found.p is not None and found.p < alpha,
    )


def _filled(pair: _Pair, first: float, second: float) -> tuple[float, float]:
    one, other = pair
    return (first if one is None else one), (second if other is None else other)


def _favouring(side: Side, pair: _Pair) -> tuple[float, float]:
    """The pair with what is missing as good as can be for a side."""
    return _filled(pair, 1.0, 0.0) if side == "first" else _filled(pair, 0.0, 1.0)


def _tipping_count(
    pairs: Mapping[str, _Pair], better: Side | None, read: Callable[[Mapping[str, _Pair]], Reading]
) -> int | None:
    if better is not None:
        return _tipping_for(better, pairs, read, held=True)
    counts = [_tipping_for(side, pairs, read, held=False) for side in ("first", "second")]
    return min((count for count in counts if count is not None), default=None)


def _tipping_for(
    side: Side,
    pairs: Mapping[str, _Pair],
    read: Callable[[Mapping[str, _Pair]], Reading],
    *,
    held: bool,
) -> int | None:
    """The fewest missing items that take a side's verdict from it (`held`), or give it one."""
    other: Side = "second" if side == "first" else "first"
    kept, changed = (side, other) if held else (other, side)
    order = _most_telling_first(side, pairs)

    def undone(count: int) -> bool:
        favoured = dict.fromkeys(order, kept) | dict.fromkeys(order[:count], changed)
        filled = {
            item: _favouring(favoured[item], pair) if item in favoured else pair
            for item, pair in pairs.items()
        }
        return (read(filled).better == side) != held

    return fewest(undone, len(order))


def _most_telling_first(side: Side, pairs: Mapping[str, _Pair]) -> list[str]:
    """The missing items, those first whose change moves a side's verdict most.

    An item that both sides lack moves the difference by 2, any other by 1. Of two that move it the
    same, a loss that comes or goes tells more than a win that goes or comes: it takes discordance
    along, and the same difference says less where more items disagree.
    """
    sign = 1 if side == "first" else -1

    def key(item: str) -> tuple[float, float]:
        best = _apart(_favouring("first", pairs[item]))
        worst = _apart(_favouring("second", pairs[item]))
        return worst - best, min(sign * best, sign * worst)

    return sorted(_missing(pairs), key=key)


def _missing(pairs: Mapping[str, _Pair]) -> Iterable[str]:
    return (item for item, pair in pairs.items() if None in pair)


def _apart(pair: tuple[float, float]) -> float:
    return pair[0] - pair[1]
