"""The mean of differences in [-1, 1], of which few may not be 0: Wilson's interval, stretched.

Student's interval trusts the variance it sees. Where most items stay what they were it sees too
little of it, and where none moves it sees none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.intervals import normal_quantile, scaled_wilson


def stretched_wilson(differences: Sequence[float], level: float = 0.95) -> Interval:
    """The scaled Wilson interval of the mean of differences in [-1, 1], shape (n,).

    `scaled_wilson` of (1 + d) / 2, stretched back: as if two more items had moved, one all the way
    up and one all the way down, so that it has a width even where nothing varies. n = 0 gives no
    bounds; n = 1 without a difference gives [-0.89, 0.89]. Raises ValueError outside [-1, 1].
    """
    scaled = scaled_wilson([(1 + each) / 2 for each in differences], level)
    if scaled.low is None or scaled.high is None:
        return scaled
    return Interval(2 * scaled.low - 1, 2 * scaled.high - 1, scaled.method, level)


def skewed_wilson(differences: Sequence[float], level: float = 0.95) -> Interval:
    """`stretched_wilson`, moved by the skewness of the differences: each bound wrong as often.

    The bound on the side of the longer tail goes outwards by (1 + 2 z^2) / (6 n) |m3| / s^2, with
    m3 the third central moment and s^2 the variance (ddof 1), both with the two items added. Losses
    that are few and large make the tail long below, and without this the lower bound too high.
    n = 0 and n = 1 as `stretched_wilson`. Source: Johnson 1978; Hall 1992.
    """
    wilson = stretched_wilson(differences, level)
    if wilson.low is None or wilson.high is None:
        return wilson
    added = [*differences, -1.0, 1.0]
    mean = math.fsum(added) / len(added)
    variance = math.fsum((each - mean) ** 2 for each in added) / (len(added) - 1)
    skewness = math.fsum((each - mean) ** 3 for each in added) / len(added) / variance
    shift = (1 + 2 * normal_quantile(level) ** 2) / (6 * len(differences)) * skewness
    low, high = wilson.low + min(0.0, shift), wilson.high + max(0.0, shift)
    return Interval(max(-1.0, low), min(1.0, high), "skewed wilson", level)
