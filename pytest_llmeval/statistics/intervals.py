"""Confidence intervals of one mean.

`wilson` and `scaled_wilson` need the standard library only: an ordinary summary imports no scipy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

from pytest_llmeval.records import Interval


@lru_cache
def normal_quantile(level: float) -> float:
    """The z with P(|Z| <= z) = level; 1.959964 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, got {level!r}")
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    All p with |k/n - p| <= z sqrt(p (1 - p) / n). n = 0 gives no bounds; n = 1 gives [0, 0.79] for
    a failure and [0.21, 1] for a success. Never of width 0.
    Source: Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    _check_counts(successes, n)
    if n == 0:
        return Interval(None, None, "wilson", level)
    low, high = _wilson_bounds(successes / n, n, level)
    return Interval(
        0.0 if successes == 0 else low, 1.0 if successes == n else high, "wilson", level
    )


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """The exact (conservative) interval of a proportion, from the beta distribution's quantiles.

    low = B(a/2; k, n - k + 1), high = B(1 - a/2; k + 1, n - k). n = 0 gives no bounds; n = 1 gives
    [0, 0.975] for a failure and [0.025, 1] for a success. Source: Clopper & Pearson 1934.
    """
    from scipy.special import betaincinv

    _check_counts(successes, n)
    if n == 0:
        return Interval(None, None, "clopper-pearson", level)
    k, tail = successes, (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low, high, "clopper-pearson", level)


def scaled_wilson(scores: Sequence[float], level: float = 0.95) -> Interval:
    """Wilson's interval for the mean of scores in [0, 1], shape (n,), by their variance.

    Wilson at n_eff = n max(1, p~ (1 - p~) / s~^2), where p~ and s~^2 (ddof 1) are of the scores
    with one 0 and one 1 added, and the centre uses the raw mean. Equal to `wilson` for scores that
    are all 0 or 1, and safe where a t interval has width 0. n = 0 gives no bounds; n = 1 gives
    Wilson's interval at n_eff = 1 around the score. Raises ValueError outside [0, 1].
    """
    n = len(scores)
    if n == 0:
        return Interval(None, None, "scaled wilson", level)
    if not all(0.0 <= score <= 1.0 for score in scores):
        raise ValueError("scaled_wilson takes scores between 0 and 1; rescale them first")
    mean = math.fsum(scores) / n
    low, high = _wilson_bounds(mean, n * variance_ratio(scores), level)
    low, high = (0.0 if mean == 0 else low), (1.0 if mean == 1 else high)
    return Interval(low, high, "scaled wilson", level)


def variance_ratio(scores: Sequence[float]) -> float:
    """max(1, p~ (1 - p~) / s~^2): how many binary answers one of these scores is worth."""
    n = len(scores) + 2
    mean = (math.fsum(scores) + 1) / n
    squares = math.fsum((score - mean) ** 2 for score in scores) + mean**2 + (1 - mean) ** 2
    return max(1.0, mean * (1 - mean) * (n - 1) / squares)


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval mean +- t(n - 1) s / sqrt(n) for real values of shape (n,).

    n = 0 and n = 1 give no bounds: one value has no variance. Values that are all equal give width
    0, which is no statement about items not seen; use `scaled_wilson` where scores are bounded. The
    bounds are not clipped. Source: Student 1908.
    """
    n = len(values)
    if n < 2:
        return Interval(None, None, "t", level)
    from scipy.special import stdtrit

    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance / n)
    return Interval(mean - reach, mean + reach, "t", level)


def _wilson_bounds(mean: float, n: float, level: float) -> tuple[float, float]:
    z = normal_quantile(level)
    squared = z * z / n
    centre = mean + squared / 2
    reach = z * math.sqrt(max(0.0, mean * (1 - mean) / n) + squared / (4 * n))
    return max(0.0, (centre - reach) / (1 + squared)), min(1.0, (centre + reach) / (1 + squared))


def _check_counts(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"successes lie between 0 and n, got {successes} of {n}")
