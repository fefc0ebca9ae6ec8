"""Means of items that belong together.

Items about one text, or in one conversation, are right or wrong together: a hundred of them may say
as little as twenty that are unrelated. What is independent is the *cluster*: variances are between
clusters. An item that was asked repeatedly is a cluster too, see `repeats`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_between, check_finite, check_level
from pytest_llmeval.statistics.intervals import (
    t_quantile,
    variance_ratio,
    wilson_bounds,
)
from pytest_llmeval.statistics.paired import NO_DIFFERENCE

Grouped = Sequence[Sequence[float]]
"""The values of every cluster, none of them empty."""

FEW = 10
"""With fewer clusters than this no interval is to be relied on."""


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """The mean over clustered items and what the clusters cost.

    `standard_error` is cluster-robust (CR1). `icc` is the intraclass correlation, `design_effect`
    by how much it multiplies the variance of the mean, `effective_n` how many unrelated items would
    say as much. What is undefined is None. `few` warns of fewer than 10 clusters.
    """

    mean: float | None
    standard_error: float | None
    interval: Interval
    items: int
    clusters: int
    few: bool
    icc: float | None
    design_effect: float | None
    effective_n: float | None


def cluster_interval(
    scores: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95
) -> ClusteredMean:
    """The mean of scores in [0, 1], shape (n,), whose clusters are named in the same order.

    `cr1_interval` if 0.1 < mean < 0.9 with G >= 10 clusters that differ, else Wilson's interval
    around the mean with t(G - 1) for z and n_eff = clip(G p~ (1 - p~) / s~^2, G, n), p~ and s~^2
    (ddof 1) of the clusters' means with one 0 and one 1 added. n = 0 has no mean; fewer than two
    clusters have no bounds. Raises ValueError outside [0, 1].

    ICC is the ANOVA estimator (MSB - MSW) / (MSB + (m0 - 1) MSW) with
    m0 = (n - sum m^2 / n) / (G - 1); it may be negative. The design effect is 1 + (m - 1) ICC with
    m = sum m^2 / n, the size of the cluster an item is in on average; n_eff is n / max(1, deff).
    Source: Cameron & Miller 2015 for CR1; Donner 1986 for ICC; Kish 1965 for the design effect.
    """
    check_level(level)
    check_between(scores, 0, 1, "cluster_interval takes scores between 0 and 1; rescale them first")
    groups = by_cluster(scores, clusters)
    n, icc = len(scores), _icc(groups)
    size = sum(len(group) ** 2 for group in groups) / n if n else 0
    design_effect = None if icc is None else 1 + (size - 1) * icc
    mean = math.fsum(scores) / n if n else None
    return ClusteredMean(
        mean=mean,
        standard_error=None if mean is None else _cr1_error(groups, mean),
        interval=interval_by_rule(groups, mean, n, level),
        items=n,
        clusters=len(groups),
        few=len(groups) < FEW,
        icc=icc,
        design_effect=design_effect,
        effective_n=None if design_effect is None else n / max(1.0, design_effect),
    )


def cr1_interval(
    values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95
) -> Interval:
    """The cluster-robust interval mean +- t(G - 1) SE of real values, shape (n,), in G clusters.

    SE = sqrt(G / (G - 1) sum over clusters of (sum of value - mean in it)^2) / n. With one item in
    each it is the t interval. Fewer than two clusters give no bounds. Clusters that balance out
    exactly give width 0, which is no statement about others. The bounds are not clipped.
    Source: Liang & Zeger 1986; Cameron & Miller 2015.
    """
    check_level(level)
    check_finite(values)
    groups = by_cluster(values, clusters)
    mean = math.fsum(values) / max(1, len(values))
    error = _cr1_error(groups, mean)
    if error is None:
        return Interval(None, None, "cr1", level)
    reach = t_quantile(len(groups) - 1, level) * error
    return Interval(mean - reach, mean + reach, "cr1", level)


def by_cluster(values: Sequence[float], clusters: Sequence[Hashable]) -> list[list[float]]:
    """The values of each cluster; `clusters` names that of each value."""
    if len(values) != len(clusters):
        message = f"every item belongs to one cluster: {len(values)} items, {len(clusters)} names"
        raise ValueError(message)
    groups: dict[Hashable, list[float]] = {}
    for place, (value, cluster) in enumerate(zip(values, clusters, strict=True)):
        if cluster is None:
            raise ValueError(f"item {place} has no cluster; one that is alone needs its own name")
        groups.setdefault(cluster, []).append(value)
    return list(groups.values())


def clustered_wilson(
    mean: float, cluster_means: Sequence[float], n: int, level: float
) -> tuple[float, float]:
    """Wilson's bounds around a mean, as many items as two or more clusters are worth."""
    count = len(cluster_means)
    effective = min(n, count * variance_ratio(cluster_means))
    return wilson_bounds(mean, effective, t_quantile(count - 1, level))


def means_of(groups: Grouped) -> list[float]:
    """The mean of each cluster."""
    return [math.fsum(group) / len(group) for group in groups]


def interval_by_rule(groups: Grouped, mean: float | None, n: int, level: float) -> Interval:
    """CR1 where it can be relied on, else Wilson's; `n` is how many items it may be worth."""
    error = None if mean is None else _cr1_error(groups, mean)
    if mean is None or error is None:
        return Interval(None, None, "clustered wilson", level)
    if 0.1 < mean < 0.9 and len(groups) >= FEW and error > NO_DIFFERENCE:
        reach = t_quantile(len(groups) - 1, level) * error
        return Interval(mean - reach, mean + reach, "cr1", level)
    low, high = clustered_wilson(mean, means_of(groups), n, level)
    return Interval(low, high, "clustered wilson", level)


def _cr1_error(groups: Grouped, mean: float) -> float | None:
    if len(groups) < 2:
        return None
    count, n = len(groups), sum(map(len, groups))
    squares = math.fsum(math.fsum(value - mean for value in group) ** 2 for group in groups)
    return math.sqrt(count / (count - 1) * squares) / n


def _icc(groups: Grouped) -> float | None:
    """The ANOVA estimator; None without two clusters, two items in one, or any variance."""
    count, n = len(groups), sum(map(len, groups))
    if not 2 <= count < n:
        return None
    mean = math.fsum(value for group in groups for value in group) / n
    means = means_of(groups)
    between = math.fsum(
        len(group) * (each - mean) ** 2 for group, each in zip(groups, means, strict=True)
    )
    within = math.fsum(
        (value - each) ** 2 for group, each in zip(groups, means, strict=True) for value in group
    )
    if between + within <= NO_DIFFERENCE:
        return None
    msb, msw = between / (count - 1), within / (n - count)
    size = (n - sum(len(group) ** 2 for group in groups) / n) / (count - 1)
    return (msb - msw) / (msb + (size - 1) * msw)
