"""Means of items that were asked more than once.

An item asked five times is one item: taking its repeats for five would promise far too much. Two
questions have two answers: how good on items like these, and how good on this fixed set.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import NamedTuple

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_between, check_level
from pytest_llmeval.statistics.clusters import Grouped, interval_by_rule, means_of
from pytest_llmeval.statistics.intervals import mean_and_variance, t_quantile
from pytest_llmeval.statistics.paired import NO_DIFFERENCE


@dataclass(frozen=True, slots=True)
class RepeatedMean:
    """The mean over items asked repeatedly, every item weighing the same, for two targets.

    `like_these` speaks of items like these, `fixed_set` of these very items, asked again: it holds
    run-to-run noise only. Their standard errors stand beside them. `within` is the variance of the
    repeats of an item, `between` that of the items' own means without it; None when undefined.
    """

    mean: float | None
    items: int
    trials: int
    like_these: Interval
    fixed_set: Interval
    se_like_these: float | None
    se_fixed_set: float | None
    within: float | None
    between: float | None


@dataclass(frozen=True, slots=True)
class FixedDifference:
    """The difference of two conditions on one fixed set of items, run-to-run noise only."""

    difference: float | None
    interval: Interval
    standard_error: float | None


def repeats_interval(repeats: Grouped, level: float = 0.95) -> RepeatedMean:
    """The mean over items from the scores in [0, 1] of each item's repeats, at least one each.

    Items like these: the item is the cluster, SE = s / sqrt(n) of the items' means (ddof 1), and
    the interval is that of `cluster_interval` with every item weighing the same. This fixed set:
    SE = sqrt(sum s_i^2 / K_i) / n, s_i^2 (ddof 1) the variance of item i over its K_i repeats, and
    t with Satterthwaite's degrees of freedom, not clipped. An item that was answered once only is
    given the pooled variance of the others.

    `within` is that pooled variance, sum (K_i - 1) s_i^2 / sum (K_i - 1); `between` the variance of
    the items' means less the noise in them, n SE(fixed set)^2, and at least 0. n = 0 has no mean;
    n = 1 has no interval for items like these; without a second repeat anywhere, or where no repeat
    ever differed, none for the fixed set. Raises ValueError outside [0, 1].
    Source: Miller 2024 for the split; Satterthwaite 1946.
    """
    check_level(level)
    _check(repeats)
    means, n = means_of(repeats), len(repeats)
    trials = sum(map(len, repeats))
    mean = math.fsum(means) / n if n else None
    noise = _noise(repeats)
    spread = mean_and_variance(means)[1] if n > 1 else None
    between = None if spread is None or noise is None else max(0.0, spread - noise.error**2 * n)
    return RepeatedMean(
        mean=mean,
        items=n,
        trials=trials,
        like_these=interval_by_rule([[each] for each in means], mean, trials, level),
        fixed_set=_around(mean, noise, level),
        se_like_these=None if spread is None else math.sqrt(spread / n),
        se_fixed_set=None if noise is None else noise.error,
        within=None if noise is None else noise.variance,
        between=between,
    )


def fixed_set_difference(first: Grouped, second: Grouped, level: float = 0.95) -> FixedDifference:
    """The difference of two conditions on this fixed set of items, from the repeats of each.

    `first` and `second` hold the same items in the same order, at least one repeat each. The mean
    difference of the items' means +- t SE, SE^2 the sum of both sides' SE(fixed set)^2 as in
    `repeats_interval`: answers of different runs have nothing in common. Without items no
    difference; no second repeat on one side, or none that ever differed on either, no bounds.
    For items like these, use the paired t interval of the items' differences.
    """
    if len(first) != len(second):
        raise ValueError(f"both sides have the same items, got {len(first)} and {len(second)}")
    check_level(level)
    _check(first)
    _check(second)
    pairs = zip(means_of(first), means_of(second), strict=True)
    mean = math.fsum(a - b for a, b in pairs) / len(first) if len(first) else None
    noise = _of_both(_noise(first), _noise(second))
    error = None if noise is None else noise.error
    return FixedDifference(mean, _around(mean, noise, level), error)


# Run-to-run noise ---------------------------------------------------------------------------------


class _Noise(NamedTuple):
    """The pooled variance of repeats, the mean's standard error and its degrees of freedom."""

    variance: float
    error: float
    degrees: float


def _noise(repeats: Grouped) -> _Noise | None:
    """None when no item was asked twice."""
    several = [scores for scores in repeats if len(scores) > 1]
    if not several:
        return None
    extra = [len(scores) - 1 for scores in several]
    variances = [mean_and_variance(scores)[1] for scores in several]
    once = len(repeats) - len(several)
    # The squared error is the sum of these: each s_i^2 speaks for its own item, and by its share of
    # the pooled variance for those that were answered once.
    parts = [
        variance * (1 / (more + 1) + once * more / sum(extra))
        for variance, more in zip(variances, extra, strict=True)
    ]
    total = math.fsum(parts)
    squares = math.fsum(part**2 / more for part, more in zip(parts, extra, strict=True))
    pooled = math.fsum(map(operator.mul, extra, variances)) / sum(extra)
    degrees = total**2 / squares if squares else 0.0
    return _Noise(pooled, math.sqrt(total) / len(repeats), degrees)


def _of_both(first: _Noise | None, second: _Noise | None) -> _Noise | None:
    """The noise of a difference, by Satterthwaite's rule once more."""
    if first is None or second is None:
        return None
    sides = [side for side in (first, second) if side.error > NO_DIFFERENCE]
    total = math.fsum(side.error**2 for side in sides)
    squares = math.fsum(side.error**4 / side.degrees for side in sides)
    variance = first.variance + second.variance
    return _Noise(variance, math.sqrt(total), total**2 / squares if squares else 0.0)


def _around(mean: float | None, noise: _Noise | None, level: float) -> Interval:
    if mean is None or noise is None or noise.error <= NO_DIFFERENCE:
        return Interval(None, None, "t of repeats", level)
    reach = t_quantile(noise.degrees, level) * noise.error
    return Interval(mean - reach, mean + reach, "t of repeats", level)


def _check(repeats: Grouped) -> None:
    if not all(map(len, repeats)):
        raise ValueError("every item has at least one repeat; leave out those without an answer")
    for scores in repeats:
        check_between(scores, 0, 1, "repeats are scores between 0 and 1; rescale them first")
