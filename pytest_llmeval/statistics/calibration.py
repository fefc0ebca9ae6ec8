"""Whether stated probabilities are worth what they say: Brier, log loss, ECE.

Each takes the probability given to each item's answer being right, shape (n,), and whether it was,
and gives the figure with a percentile bootstrap interval over items, from a seed. n = 0 gives no
figure; n = 1 a figure without bounds. Where no resample can differ (every item lost the same) there
are no bounds either: a width of 0 would be no statement about items not seen.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_level, check_resamples
from pytest_llmeval.statistics.paired import NO_DIFFERENCE
from pytest_llmeval.statistics.resampling import bootstrap_means

CLIP = 1e-15
"""Log loss takes a probability nearer to 0 or 1 for this near: one wrong certainty costs 34.5."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A figure of calibration over n items; smaller is better. None where it is not defined."""

    n: int
    value: float | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class Bin:
    """The items whose probability is above `low` and at most `high`; the lowest bin has 0 too.

    `stated` is their mean probability, `right` the share that was; None in an empty bin.
    """

    low: float
    high: float
    n: int
    stated: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """The expected calibration error with the bins it was summed over."""

    n: int
    value: float | None
    interval: Interval
    bins: tuple[Bin, ...]


def brier(
    probabilities: Sequence[float],
    right: Sequence[bool],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Loss:
    """The Brier score, mean (p - y)^2: 0 for certain and right, 1 for certain and wrong.

    Source: Brier 1950.
    """
    losses = [(p - y) ** 2 for p, y in _pairs(probabilities, right)]
    interval = _bootstrap([losses], level, seed, resamples)
    return Loss(len(losses), _mean(losses), interval)


def log_loss(
    probabilities: Sequence[float],
    right: Sequence[bool],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Loss:
    """The log loss in nats, mean -(y ln p + (1 - y) ln(1 - p)), with p clipped to [CLIP, 1 - CLIP].

    Source: Good 1952.
    """
    pairs = _pairs(probabilities, right)
    losses = [-math.log(min(1 - CLIP, max(CLIP, p if y else 1 - p))) for p, y in pairs]
    interval = _bootstrap([losses], level, seed, resamples)
    return Loss(len(losses), _mean(losses), interval)


def ece(
    probabilities: Sequence[float],
    right: Sequence[bool],
    *,
    bins: int = 10,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> CalibrationError:
    """The expected calibration error: sum over bins of (their items / n) |right - stated|.

    `bins` of equal width over [0, 1], each with its upper edge: (0, 0.1], (0.1, 0.2] and so on,
    0 in the first. It leans upwards where bins hold few items, and the bootstrap with it: compare
    it only at equal n and bins. Source: Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017.
    """
    if bins < 1:
        raise ValueError(f"ece needs at least 1 bin, got {bins}")
    pairs = _pairs(probabilities, right)
    edges = [place / bins for place in range(bins + 1)]
    places = [max(0, bisect_left(edges, p) - 1) for p, _ in pairs]
    # A column for each bin, 0 where an item is in another, so that all bins are redrawn together.
    gaps = [
        [
            float(y - p) if place == each else 0.0
            for (p, y), place in zip(pairs, places, strict=True)
        ]
        for each in sorted(set(places))
    ]
    return CalibrationError(
        n=len(pairs),
        value=math.fsum(abs(math.fsum(gap)) for gap in gaps) / len(pairs) if pairs else None,
        interval=_bootstrap(gaps, level, seed, resamples),
        bins=tuple(
            _bin(low, high, [pair for pair, at in zip(pairs, places, strict=True) if at == place])
            for place, (low, high) in enumerate(pairwise(edges))
        ),
    )


def _bin(low: float, high: float, pairs: Sequence[tuple[float, bool]]) -> Bin:
    stated = _mean([p for p, _ in pairs])
    return Bin(low, high, len(pairs), stated, _mean([float(y) for _, y in pairs]))


def _pairs(probabilities: Sequence[float], right: Sequence[bool]) -> list[tuple[float, bool]]:
    """Both, checked and sorted, so that the resamples do not depend on the order of the items."""
    if len(probabilities) != len(right):
        raise ValueError(
            f"each item has a probability and an outcome, got {len(probabilities)} probabilities "
            f"and {len(right)} outcomes"
        )
    for p, y in zip(probabilities, right, strict=True):
        if p is None or not 0 <= p <= 1:
            raise ValueError(f"a probability lies between 0 and 1, got {p!r}")
        if y not in (0, 1):
            raise ValueError(f"an outcome is right or not, True or False; got {y!r}")
    return sorted(zip(probabilities, right, strict=True))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _bootstrap(
    columns: Sequence[Sequence[float]], level: float, seed: int, resamples: int
) -> Interval:
    """The percentile interval of the sum of |mean of column| when rows are redrawn.

    One column of losses, which are not negative, gives their mean; the gaps of the bins give the
    calibration error. Source: Efron & Tibshirani 1993.
    """
    import numpy as np

    check_level(level)
    check_resamples(resamples)
    nothing = Interval(None, None, "percentile bootstrap", level)
    if not columns or len(columns[0]) < 2:
        return nothing
    means = bootstrap_means(columns, resamples=resamples, seed=seed)
    low, high = np.quantile(np.abs(means).sum(axis=1), [(1 - level) / 2, (1 + level) / 2])
    if high - low < NO_DIFFERENCE:
        return nothing
    return Interval(float(low), float(high), "percentile bootstrap", level)
