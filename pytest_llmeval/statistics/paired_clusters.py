"""Two conditions on the same items, where items belong together in clusters.

Whole clusters are what is exchangeable: a test of single items is wrong here and is not given.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_between, check_finite
from pytest_llmeval.statistics.clusters import (
    by_cluster,
    clustered_wilson,
    cr1_interval,
    means_of,
)
from pytest_llmeval.statistics.paired import NO_DIFFERENCE, sign_flip_test


def paired_cluster_interval(
    differences: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95
) -> Interval:
    """The interval of a mean paired difference in [-1, 1], shape (n,), in G clusters.

    `cr1_interval` of the differences, t(G - 1), not clipped. Where that has width 0, because no
    cluster differs from the others, it is the clustered Wilson interval of `cluster_interval`,
    stretched to [-1, 1]. Fewer than two clusters give no bounds. Raises ValueError outside [-1, 1].
    """
    message = "differences of scores between 0 and 1 lie between -1 and 1"
    check_between(differences, -1, 1, message)
    interval = cr1_interval(differences, clusters, level)
    if interval.low is None or interval.high is None:
        return interval
    if interval.high - interval.low > NO_DIFFERENCE:
        return interval
    means = [(1 + each) / 2 for each in means_of(by_cluster(differences, clusters))]
    mean = (1 + math.fsum(differences) / len(differences)) / 2
    low, high = clustered_wilson(mean, means, len(differences), level)
    return Interval(2 * low - 1, 2 * high - 1, "clustered wilson", level)


def cluster_sign_flip_test(
    differences: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = 10_000,
) -> float | None:
    """`sign_flip_test` by flipping whole clusters: of the sums of the differences in each.

    Exact while at most 20 of the sums are not 0, else p = (1 + hits) / (1 + resamples). n = 0 gives
    None; one cluster gives 1. The order of the items does not matter.
    """
    check_finite(differences)
    sums = list(map(math.fsum, by_cluster(differences, clusters)))
    return sign_flip_test(sums, seed=seed, resamples=resamples)
