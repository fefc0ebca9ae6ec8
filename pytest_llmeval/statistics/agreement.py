"""Whether judges agree, with each other and with themselves.

A rating is any label; None stands for one that is missing and is left out. Where nothing varies
there is no agreement to measure, and the result is None: judges who always say "good" may be right
or asleep.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import Any, Literal, TypeVar, cast, get_args

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite
from pytest_llmeval.statistics.intervals import wilson

Ratings = Sequence[Sequence[Hashable | None]]
"""For every item its ratings, one from each rater."""


_Scale = Literal["nominal", "ordinal", "interval"]

T = TypeVar("T", bound=Hashable)

_DISTANCES: Mapping[str | None, Callable[[Any, Any], float]] = {
    None: lambda a, b: float(a != b),
    "linear": lambda a, b: float(abs(a - b)),
    "quadratic": lambda a, b: float((a - b) ** 2),
}


# Chance-corrected ---------------------------------------------------------------------------------


def cohen_kappa(
    first: Sequence[Hashable | None],
    second: Sequence[Hashable | None],
    weights: Literal["linear", "quadratic"] | None = None,
) -> float | None:
    """Cohen's kappa of two raters over the same n items: 1 is agreement, 0 what chance gives.

    1 - observed / expected disagreement, where two ratings disagree by 1 if they differ, or with
    weights (then ratings are numbers) by |a - b| or (a - b)^2, and expected is over all pairs of a
    rating of the first with one of the second. Items that one of them did not rate are left out.
    None when nothing is left or both always say the same. Source: Cohen 1960, 1968.
    """
    pairs = _pairs(first, second)
    if weights not in _DISTANCES:
        raise ValueError(f"weights are 'linear', 'quadratic' or None, got {weights!r}")
    if weights is not None:
        _numbers(chain.from_iterable(pairs))
    distance = _DISTANCES[weights]
    rows, columns = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    observed = math.fsum(distance(a, b) for a, b in pairs)
    expected = math.fsum(rows[a] * columns[b] * distance(a, b) for a in rows for b in columns)
    return 1 - len(pairs) * observed / expected if expected else None


def fleiss_kappa(ratings: Ratings) -> float | None:
    """Fleiss' kappa of m >= 2 ratings for each of n items; who rated does not matter.

    (P - Pe) / (1 - Pe), P the share of agreeing pairs of ratings of one item, Pe the sum of the
    squared shares of the labels. None without items, and when all ratings are the same. Every item
    needs the same number of ratings, none missing, else ValueError: `krippendorff_alpha` takes the
    others. Source: Fleiss 1971.
    """
    _check_labels(chain.from_iterable(ratings))
    sizes = {len(row) for row in ratings}
    if len(sizes) > 1 or sizes & {0, 1} or any(label is None for row in ratings for label in row):
        message = "fleiss_kappa takes equally many ratings of every item, two or more"
        raise ValueError(f"{message}; where some are missing, use krippendorff_alpha")
    labels = Counter(chain.from_iterable(ratings))
    total = labels.total()
    by_chance = sum(count**2 for count in labels.values())
    if by_chance == total**2:
        return None
    raters = sizes.pop()
    agreeing = sum(count * (count - 1) for row in ratings for count in Counter(row).values())
    expected = by_chance / total**2
    return (agreeing / (total * (raters - 1)) - expected) / (1 - expected)


def krippendorff_alpha(ratings: Ratings, scale: _Scale = "nominal") -> float | None:
    """Krippendorff's alpha of any number of ratings for each item; None marks a missing one.

    1 - observed / expected disagreement: the mean of delta^2 over pairs of ratings of one item,
    each item weighing as much as it has ratings, against that over all pairs. delta^2 is 0 or 1 on
    a nominal scale, (a - b)^2 on an interval scale, and the same of the mid-ranks of all ratings on
    an ordinal one (numbers in the last two). Items with fewer than two ratings say nothing and are
    left out. None when no item is left, or no rating differs. Source: Krippendorff 2011.
    """
    if scale not in get_args(_Scale):
        allowed = "'nominal', 'ordinal' or 'interval'"
        raise ValueError(f"a scale is {allowed}, got {scale!r}")
    _check_labels(chain.from_iterable(ratings))
    given = [[label for label in row if label is not None] for row in ratings]
    units = [unit for unit in given if len(unit) > 1]
    if scale == "nominal":
        return _alpha(units, _unlike)
    values = [_numbers(unit) for unit in units]
    return _alpha(_mid_ranks(values) if scale == "ordinal" else values, _squared_distances)


def _alpha(
    units: Sequence[Sequence[T]], disagreement: Callable[[Sequence[T]], float]
) -> float | None:
    everything = list(chain.from_iterable(units))
    if len(set(everything)) < 2:
        return None
    observed = math.fsum(disagreement(unit) / (len(unit) - 1) for unit in units)
    return 1 - (len(everything) - 1) * observed / disagreement(everything)


# The sum of delta^2 over all pairs, each in both orders ------------------------------------------


def _unlike(ratings: Sequence[Hashable]) -> float:
    return len(ratings) ** 2 - sum(count**2 for count in Counter(ratings).values())


def _squared_distances(ratings: Sequence[float]) -> float:
    mean = math.fsum(ratings) / len(ratings)
    return 2 * len(ratings) * math.fsum((each - mean) ** 2 for each in ratings)


def _mid_ranks(units: Sequence[Sequence[float]]) -> list[list[float]]:
    """Each rating's rank among all of them, ties at the middle of their ranks."""
    counts = Counter(chain.from_iterable(units))
    ranks: dict[float, float] = {}
    below = 0
    for value in sorted(counts):
        ranks[value] = below + counts[value] / 2
        below += counts[value]
    return [[ranks[value] for value in unit] for unit in units]


# Numbers ------------------------------------------------------------------------------------------


def _pairs(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None]
) -> list[tuple[Hashable, Hashable]]:
    """The ratings of the items that both rated."""
    if len(first) != len(second):
        raise ValueError(f"both rate the same items, got {len(first)} and {len(second)} ratings")
    _check_labels(chain(first, second))
    return [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]


def _check_labels(ratings: Iterable[Hashable]) -> None:
    """Refuse NaN, which would be a label of its own that agrees with none."""
    for rating in ratings:
        if rating != rating:  # noqa: PLR0124 - NaN
            raise ValueError("a rating is NaN; mark what is missing by None")


def _numbers(ratings: Iterable[Hashable]) -> list[float]:
    for rating in ratings:
        if not isinstance(rating, Real):
            message = f"only numbers lie near or far, got {rating!r}"
            raise ValueError(f"{message}; use no weights and the nominal scale")  # noqa: TRY004
    numbers = cast(list[float], list(ratings))
    check_finite(numbers)
    return numbers


# The order of two answers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PositionConsistency:
    """How often a judge says the same of two answers whichever comes first.

    `pairs` were judged in both orders and are the n of the interval (Wilson's); `missing` were not.
    """

    share: float | None
    interval: Interval
    consistent: int
    pairs: int
    missing: int


def position_consistency(
    verdicts: Sequence[Hashable | None],
    swapped: Sequence[Hashable | None],
    level: float = 0.95,
) -> PositionConsistency:
    """The share of pairs of answers on which the verdict stays when their order is swapped.

    A verdict names the answer that is better, or a tie; not its position. None marks a verdict that
    is missing: such a pair is not counted, other than in `missing`. No pair gives no share.
    Source: Zheng et al. 2023.
    """
    pairs = _pairs(verdicts, swapped)
    consistent = sum(verdict == again for verdict, again in pairs)
    return PositionConsistency(
        share=consistent / len(pairs) if pairs else None,
        interval=wilson(consistent, len(pairs), level),
        consistent=consistent,
        pairs=len(pairs),
        missing=len(verdicts) - len(pairs),
    )
