"""Confidence intervals of one mean.

`wilson` and `scaled_wilson` need the standard library only: an ordinary summary imports no scipy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import (
    check_between,
    check_finite,
    check_level,
    checked_counts,
)


@lru_cache
def normal_quantile(level: float) -> float:
    """The z with P(|Z| <= z) = level; 1.959964 for 0.95."""
    check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)


def t_quantile(degrees: float, level: float) -> float:
    """The t with P(|T| <= t) = level for Student's T with so many degrees of freedom."""
    from scipy.special import stdtrit

    check_level(level)
    return float(stdtrit(degrees, (1 + level) / 2))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    All p with |k/n - p| <= z sqrt(p (1 - p) / n). n = 0 gives no bounds; n = 1 gives [0, 0.79] for
    a failure and [0.21, 1] for a success. Never of width 0.
    Source: Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    successes, n = checked_counts(successes, n)
    check_level(level)
    if n == 0:
        return Interval(None, None, "wilson", level)
    low, high = wilson_bounds(successes / n, n, normal_quantile(level))
    return Interval(low, high, "wilson", level)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """The exact (conservative) interval of a proportion, from the beta distribution's quantiles.

    low = B(a/2; k, n - k + 1), high = B(1 - a/2; k + 1, n - k). n = 0 gives no bounds; n = 1 gives
    [0, 0.975] for a failure and [0.025, 1] for a success. Source: Clopper & Pearson 1934.
    """
    from scipy.special import betaincinv

    successes, n = checked_counts(successes, n)
    check_level(level)
    if n == 0:
        return Interval(None, None, "clopper-pearson", level)
    k, tail = successes, (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low, high, "clopper-pearson", level)


def beta_interval(
    successes: int, n: int, level: float = 0.95, prior: tuple[float, float] = (1, 1)
) -> Interval:
    """The equal-tailed credible interval of a proportion under a beta prior, uniform by default.

    The quantiles a/2 and 1 - a/2 of Beta(prior[0] + k, prior[1] + n - k). n = 0 gives no bounds:
    the prior is no measurement. n = 1 gives [0.01, 0.84] for a failure and [0.16, 0.99] for a
    success. Source: Bayes 1763; Brown, Cai & DasGupta 2001 for Jeffreys' prior (1/2, 1/2).
    """
    from scipy.special import betaincinv

    successes, n = checked_counts(successes, n)
    check_level(level)
    if not all(0 < each < math.inf for each in prior):
        raise ValueError(f"both numbers of a beta prior are positive, got {prior!r}")
    method = f"beta({prior[0]:g}, {prior[1]:g})"
    if n == 0:
        return Interval(None, None, method, level)
    a, b = prior[0] + successes, prior[1] + n - successes
    low, high = betaincinv(a, b, (1 - level) / 2), betaincinv(a, b, (1 + level) / 2)
    return Interval(float(low), float(high), method, level)


def scaled_wilson(scores: Sequence[float], level: float = 0.95) -> Interval:
    """Wilson's interval for the mean of scores in [0, 1], shape (n,), by their variance.

    Wilson at n_eff = n max(1, p~ (1 - p~) / s~^2), where p~ and s~^2 (ddof 1) are of the scores
    with one 0 and one 1 added, and the centre uses the raw mean. Equal to `wilson` for scores that
    are all 0 or 1, and safe where a t interval has width 0. n = 0 gives no bounds; n = 1 gives
    Wilson's interval at n_eff = 1 around the score. Raises ValueError outside [0, 1].
    """
    n = len(scores)
    check_level(level)
    check_between(scores, 0, 1, "scaled_wilson takes scores between 0 and 1; rescale them first")
    if n == 0:
        return Interval(None, None, "scaled wilson", level)
    effective = n * variance_ratio(scores)
    low, high = wilson_bounds(math.fsum(scores) / n, effective, normal_quantile(level))
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
    bounds are not clipped. Raises ValueError for what is not finite. Source: Student 1908.
    """
    n = len(values)
    check_level(level)
    check_finite(values)
    if n < 2:
        return Interval(None, None, "t", level)
    mean, variance = mean_and_variance(values)
    reach = t_quantile(n - 1, level) * math.sqrt(variance / n)
    return Interval(mean - reach, mean + reach, "t", level)


def mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    """Mean and variance (ddof 1) of two values or more, whatever their order."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def wilson_bounds(mean: float, n: float, quantile: float) -> tuple[float, float]:
    """Wilson's bounds at any n above 0 and any quantile; a mean of 0 or 1 is its own bound."""
    squared = quantile * quantile / n
    centre = mean + squared / 2
    reach = quantile * math.sqrt(max(0.0, mean * (1 - mean) / n) + squared / (4 * n))
    low, high = (centre - reach) / (1 + squared), (centre + reach) / (1 + squared)
    return 0.0 if mean == 0 else max(0.0, low), 1.0 if mean == 1 else min(1.0, high)


def wilson_reach(successes: int, n: int, level: float) -> tuple[float, float]:
    """How far Wilson's bounds lie below and above the share of n > 0."""
    low, high = wilson_bounds(successes / n, n, normal_quantile(level))
    return successes / n - low, high - successes / n
