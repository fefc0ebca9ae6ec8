"""What the items without a score could do to a verdict.

Missing is neither zero nor absent: a verdict is read again under what the missing may have been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from pytest_llmeval.records import Reading, Sensitivity
from pytest_llmeval.statistics.anytime import E_PROCESS, anytime_difference
from pytest_llmeval.statistics.checks import check_rate
from pytest_llmeval.statistics.comparisons import (
    MID_P,
    SEED,
    SIGN_FLIP,
    check_scores,
    graded_interval,
)
from pytest_llmeval.statistics.paired import (
    NO_DIFFERENCE,
    mcnemar_midp,
    paired_t_interval,
    sign_flip_test,
    sign_flip_tests,
    tango_interval,
)
from pytest_llmeval.statistics.sequential import running_anytime_p
from pytest_llmeval.statistics.tipping import fewest

Side = Literal["first", "second"]

MaybeScores = Mapping[str, float | None]
"""The score of each item in [0, 1], None (or no entry) where there is none."""

_Pair = tuple[float | None, float | None]
"""The scores of one item, first and second."""


#: From so many differences other than 0 on, the tipping count is looked for by Student's test,
#: which then says what the sign-flip test says, in a thousandth of the time.
_MANY = 200


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
    for binary scores; graded ones are changed in the order that moves the mean most, and judged by
    Student's test once 200 differ.

    No items give four undefined readings; one item shows nothing. Raises ValueError for a score
    outside [0, 1], or not 0 or 1 when `binary`. Source: Manski 1990; Yan, Lee & Li 2009.
    """
    check_rate("alpha", alpha, 0.05)
    items = sorted(first.keys() | second.keys())
    pairs = {item: (first.get(item), second.get(item)) for item in items}
    given = [score for pair in pairs.values() for score in pair if score is not None]
    is_binary = all(score in (0, 1) for score in given) if binary is None else binary

    check_scores(
        {"first": _scored(first), "second": _scored(second)},
        ("first", "second") if is_binary else (),
    )

    def better(differences: Sequence[float]) -> Side | None:
        return _better(differences, binary=is_binary, alpha=alpha, seed=seed)

    readings = _readings(_columns(pairs), binary=is_binary, alpha=alpha, seed=seed)
    return _sensitivity(pairs, readings, better)


def anytime_sensitivity(
    first: MaybeScores, second: MaybeScores, *, alpha: float, alpha_alone: float
) -> Sensitivity:
    """Read the verdict of a pair that might stop at any item again, as `unsupported_sensitivity`.

    On the items that both sides name, those that both were asked, in their order. By what
    `compare_anytime` takes: the e-process at its largest, significant below `alpha_alone`, and the
    interval of betting with `alpha`. The tipping count suffices to undo the verdict; where missing
    items are of several kinds, fewer may. Of those that move it alike, the earliest are changed:
    these speak in all of the looks that follow.
    """
    pairs = {item: (score, second[item]) for item, score in first.items() if item in second}
    check_scores({"first": _scored(first), "second": _scored(second)}, ())

    def better(differences: Sequence[float]) -> Side | None:
        return _shown_better(_anytime_reading(differences, alpha, alpha_alone))

    given = [[each for each in column if each is not None] for column in _columns(pairs)]
    readings = [_anytime_reading(each, alpha, alpha_alone) for each in given]
    return _sensitivity(pairs, readings, better)


def _anytime_reading(differences: Sequence[float], alpha: float, alpha_alone: float) -> Reading:
    n = len(differences)
    mean = math.fsum(differences) / n if n else None
    p = running_anytime_p(differences)[-1] if n else None
    return Reading(
        items=n,
        difference=mean,
        interval=anytime_difference(differences, alpha),
        test=E_PROCESS,
        p=p,
        significant=p is not None and p < alpha_alone,
        sign=None if mean is None else _sign(mean),
    )


def _columns(pairs: Mapping[str, _Pair]) -> list[list[float | None]]:
    """The differences of the complete case (None elsewhere), missing as 0, the worst, the best."""
    return [
        [None if None in pair else _apart(_filled(pair, 0.0, 0.0)) for pair in pairs.values()],
        [_apart(_filled(pair, 0.0, 0.0)) for pair in pairs.values()],
        [_apart(_favouring("second", pair)) for pair in pairs.values()],
        [_apart(_favouring("first", pair)) for pair in pairs.values()],
    ]


def _sensitivity(
    pairs: Mapping[str, _Pair],
    readings: Sequence[Reading],
    better: Callable[[Sequence[float]], Side | None],
) -> Sensitivity:
    complete, zero, worst, best = readings
    return Sensitivity(
        complete_case=complete,
        missing_is_zero=zero,
        worst_for_first=worst,
        best_for_first=best,
        missing=len(pairs) - complete.items,
        missing_first=sum(one is None for one, _ in pairs.values()),
        missing_second=sum(other is None for _, other in pairs.values()),
        tipping_count=_tipping_count(pairs, _shown_better(complete), better),
    )


def _scored(scores: MaybeScores) -> dict[str, float]:
    return {item: score for item, score in scores.items() if score is not None}


def _readings(
    columns: Sequence[Sequence[float | None]], *, binary: bool, alpha: float, seed: int
) -> list[Reading]:
    """A reading of each column of differences, None where an item is left out."""
    given = [[each for each in column if each is not None] for column in columns]
    tested: list[float | None]
    if binary:
        tested = [mcnemar_midp(*_discordant(each)) if each else None for each in given]
    else:
        tested = sign_flip_tests(given, seed=seed)
    return [
        _reading(differences, p, binary=binary, alpha=alpha)
        for differences, p in zip(given, tested, strict=True)
    ]


def _reading(
    differences: Sequence[float], p: float | None, *, binary: bool, alpha: float
) -> Reading:
    n = len(differences)
    mean = math.fsum(differences) / n if n else None
    return Reading(
        items=n,
        difference=mean,
        interval=(
            tango_interval(*_discordant(differences), n) if binary else graded_interval(differences)
        ),
        test=MID_P if binary else SIGN_FLIP,
        p=p,
        significant=p is not None and p < alpha,
        sign=None if mean is None else _sign(mean),
    )


def _discordant(differences: Sequence[float]) -> tuple[int, int]:
    """On how many items the first side is ahead, and on how many behind."""
    ahead = sum(difference > NO_DIFFERENCE for difference in differences)
    return ahead, sum(difference < -NO_DIFFERENCE for difference in differences)


def _sign(difference: float) -> int:
    return 0 if abs(difference) < NO_DIFFERENCE else 1 if difference > 0 else -1


def _shown_better(reading: Reading) -> Side | None:
    """The side shown to be better; None when neither is."""
    if not reading.significant or not reading.sign:
        return None
    return "first" if reading.sign > 0 else "second"


def _filled(pair: _Pair, first: float, second: float) -> tuple[float, float]:
    one, other = pair
    return (first if one is None else one), (second if other is None else other)


def _favouring(side: Side, pair: _Pair) -> tuple[float, float]:
    """The pair with what is missing as good as can be for a side."""
    return _filled(pair, 1.0, 0.0) if side == "first" else _filled(pair, 0.0, 1.0)


# The tipping count --------------------------------------------------------------------------------


def _tipping_count(
    pairs: Mapping[str, _Pair],
    shown: Side | None,
    better: Callable[[Sequence[float]], Side | None],
) -> int | None:
    if shown is not None:
        return _tipping_for(shown, pairs, better, held=True)
    counts = [_tipping_for(side, pairs, better, held=False) for side in ("first", "second")]
    return min((count for count in counts if count is not None), default=None)


def _tipping_for(
    side: Side,
    pairs: Mapping[str, _Pair],
    better: Callable[[Sequence[float]], Side | None],
    *,
    held: bool,
) -> int | None:
    """The fewest missing items that take a side's verdict from it (`held`), or give it one."""
    other: Side = "second" if side == "first" else "first"
    kept, changed = (side, other) if held else (other, side)
    order = _most_telling_first(side, pairs)

    def undone(count: int) -> bool:
        against = set(order[:count])
        found = better(
            [
                _apart(_favouring(changed if item in against else kept, pair))
                for item, pair in pairs.items()
            ]
        )
        return (found == side) != held

    return fewest(undone, len(order))


def _better(differences: Sequence[float], *, binary: bool, alpha: float, seed: int) -> Side | None:
    """The side that these differences show to be better, by the test of the readings."""
    ahead, behind = _discordant(differences)
    if binary:
        shown, leaning = mcnemar_midp(ahead, behind) < alpha, ahead - behind
        return None if not shown or not leaning else "first" if leaning > 0 else "second"
    if ahead + behind >= _MANY:
        interval = paired_t_interval(differences, 1 - alpha)
        assert interval.low is not None
        assert interval.high is not None
        return "first" if interval.low > 0 else "second" if interval.high < 0 else None
    p = sign_flip_test(differences, seed=seed)
    sign = _sign(math.fsum(differences))
    return None if p is None or p >= alpha or not sign else "first" if sign > 0 else "second"


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
