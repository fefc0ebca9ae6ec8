"""How large a difference is, in units that can be set beside others.

The first effect size is the plain difference, in points: it is in every comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite, whole
from pytest_llmeval.statistics.intervals import clopper_pearson, mean_and_variance
from pytest_llmeval.statistics.paired import NO_DIFFERENCE


@dataclass(frozen=True, slots=True)
class OddsRatio:
    """The odds of "only the first" against "only the second".

    `ratio` and the upper bound are None where they are infinite or there is nothing to divide.
    """

    ratio: float | None
    interval: Interval


def cohen_h(first: float, second: float) -> float:
    """Cohen's h = 2 asin sqrt p1 - 2 asin sqrt p2 of two proportions, in [-pi, pi].

    By Cohen's convention 0.2 is small, 0.5 medium and 0.8 large. Raises ValueError outside [0, 1].
    Source: Cohen 1988.
    """
    for proportion in (first, second):
        if not 0 <= proportion <= 1:
            raise ValueError(f"a proportion lies between 0 and 1, got {proportion!r}")
    return 2 * math.asin(math.sqrt(first)) - 2 * math.asin(math.sqrt(second))


def matched_odds_ratio(only_first: int, only_second: int, level: float = 0.95) -> OddsRatio:
    """The matched odds ratio b / c of the discordant items, with an exact conditional interval.

    Given b + c, b is binomial with p = ratio / (1 + ratio): the bounds are p / (1 - p) at
    Clopper and Pearson's. c = 0 gives no ratio and no upper bound, b = 0 a ratio and a lower bound
    of 0, and no discordant item nothing. Source: Breslow & Day 1980, section 5.2.
    """
    only_first, only_second = whole(only_first), whole(only_second)
    share = clopper_pearson(only_first, only_first + only_second, level)
    return OddsRatio(
        ratio=only_first / only_second if only_second else None,
        interval=Interval(
            _odds(share.low), _odds(share.high), "clopper-pearson of b / (b + c)", level
        ),
    )


def _odds(share: float | None) -> float | None:
    return None if share is None or share == 1 else share / (1 - share)


def cohen_d_z(differences: Sequence[float]) -> float | None:
    """The mean of paired differences, shape (n,), in units of their standard deviation (ddof 1).

    None for fewer than two, and where all are equal: there is no unit. Source: Cohen 1988.
    """
    check_finite(differences)
    if len(differences) < 2 or max(differences) - min(differences) <= NO_DIFFERENCE:
        return None
    mean, variance = mean_and_variance(differences)
    return mean / math.sqrt(variance)
