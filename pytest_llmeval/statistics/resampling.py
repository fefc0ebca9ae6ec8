"""The bootstrap of means: many columns over the same rows share one set of random weights.

A resample of n rows is how often each row was drawn: whole numbers that sum to n. All resampled
means are then one product, weights @ columns, made a little at a time, so that 10,000 items x 20
pairs x 10,000 resamples take about a second of one core and no memory to speak of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite, check_level, check_resamples
from pytest_llmeval.statistics.intervals import mean_and_variance, normal_quantile
from pytest_llmeval.statistics.paired import NO_DIFFERENCE, PRODUCT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Weights made at a time: half a megabyte, which stays in the processor's cache.
_CELLS = 2**16


def bootstrap_means(
    columns: Sequence[Sequence[float]], *, resamples: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """The means of resampled rows; shape (resamples, columns) for columns of n rows each.

    All columns share their resamples, so that differences between columns stay what they are. The
    draws are of row numbers: another order of the rows gives other numbers. n = 1 gives the value
    itself; n = 0 raises ValueError, like columns of unequal length. Source: Efron 1979.
    """
    import numpy as np

    _check_rows(columns)
    if not len(columns) or not len(columns[0]):
        raise ValueError("there is nothing to resample: give at least one column of one row")
    for column in columns:
        check_finite(column)
    n = len(columns[0])
    return _resampled_sums(np.array(columns, dtype=float).T, resamples, seed) / n


def _resampled_sums(columns: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Sums over resampled rows, shape (resamples, columns)."""
    import numpy as np

    check_resamples(resamples)
    n, width = columns.shape
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS // n)
    rows = max(1, PRODUCT // (at_once * width))
    sums = np.zeros((resamples, width))
    for start in range(0, resamples, at_once):
        part = sums[start : start + at_once]
        weights = _weights(random, len(part), n)
        for row in range(0, n, rows):
            part += weights[:, row : row + rows] @ columns[row : row + rows]
    return sums


def _weights(random: np.random.Generator, resamples: int, n: int) -> NDArray[np.float64]:
    """How often each of n rows was drawn, shape (resamples, n)."""
    import numpy as np

    drawn = random.integers(0, n, size=(resamples, n))
    drawn += np.arange(0, resamples * n, n)[:, np.newaxis]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n)
    return counts.reshape(resamples, n).astype(float)


# One mean -----------------------------------------------------------------------------------------


def bca(
    values: Sequence[float], level: float = 0.95, *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval of a mean; values of shape (n,).

    The quantiles P(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled means, z = -+z(a/2), where
    a = sum u^3 / (6 (sum u^2)^1.5) with u = value - mean, and z0 is the normal quantile of the
    share of resampled means below the mean, ties counted half. n = 0, n = 1 and values that are
    all equal give no bounds: resampling shows nothing but what was seen. Not for few items, see
    `scaled_wilson`; from 100 it says something. The order of the values does not matter.
    Source: Efron 1987.
    """
    import numpy as np

    check_finite(values)
    nothing = Interval(None, None, "bca", level)
    z = normal_quantile(level)
    if len(values) < 2 or max(values) - min(values) <= NO_DIFFERENCE:
        return nothing
    mean = math.fsum(values) / len(values)
    distances = np.sort(np.asarray(values, dtype=float)) - mean
    resampled = _resampled_sums(distances[:, np.newaxis], resamples, seed)[:, 0] / len(values)
    shares = _bca_shares(distances, resampled, z)
    if shares is None:
        return nothing
    low, high = np.quantile(resampled, shares)
    return Interval(mean + float(low), mean + float(high), "bca", level)


def _bca_shares(
    distances: NDArray[np.float64], resampled: NDArray[np.float64], z: float
) -> tuple[float, float] | None:
    """Which quantiles of the resampled means, as distances from the mean, are the bounds.

    None where the formula has no value: every resample on one side, or a pole between the bounds.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri

    tied = np.abs(resampled) <= NO_DIFFERENCE * np.abs(distances).mean()
    bias = float(ndtri(((resampled < 0) & ~tied).mean() + tied.mean() / 2))
    acceleration = math.fsum(distances**3) / (6 * math.fsum(distances**2) ** 1.5)
    scales = [1 - acceleration * (bias + side) for side in (-z, z)]
    if not math.isfinite(bias) or min(scales) <= 0:
        return None
    low, high = (
        float(ndtr(bias + (bias + side) / scale))
        for side, scale in zip((-z, z), scales, strict=True)
    )
    return low, high


# Many pairs at once -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bands:
    """Intervals that hold all at once: `level` is the chance that every one of them is right.

    `critical` is the quantile of the largest |T| over the resamples: for one pair about 1.96, for
    twenty unrelated ones about 3.02. `pairs` counts those that vary and thus have bounds.
    """

    intervals: tuple[Interval, ...]
    critical: float | None
    pairs: int


def max_t_bands(
    differences: Sequence[Sequence[float | None]],
    level: float = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Bands:
    """Simultaneous intervals of the means of many pairs' differences.

    `differences` holds one column for each pair, all over the same n items; None where a pair lacks
    the item. T = (resampled mean - mean) / its standard error, c is the `level` quantile of the
    largest |T| over the pairs, and each band is mean +- t s / sqrt(n), where t has the same tail
    under Student's distribution of n - 1 degrees (n and s of that pair) as c has under the normal:
    one pair alone gets its t interval. Correlated pairs cost less than a correction that counts
    them. A pair with fewer than two items, or whose differences are all equal, has no bounds. The
    order of the items does not matter. Source: Westfall & Young 1993; Romano & Wolf 2005.
    """
    _check_rows(differences)
    check_level(level)
    spreads = [_spread(column) for column in differences]
    varying = [
        _standardised(column, spread)
        for column, spread in zip(differences, spreads, strict=True)
        if spread is not None
    ]
    critical = _critical_value(varying, level, resamples, seed) if varying else None
    bands = (
        Interval(None, None, "max-t", level)
        if spread is None or critical is None
        else _band(spread, critical, level)
        for spread in spreads
    )
    return Bands(tuple(bands), critical, len(varying))


class _Spread(NamedTuple):
    """Of the differences that a pair has: how many, their mean and sum of squares around it."""

    n: int
    mean: float
    squares: float


def _spread(column: Sequence[float | None]) -> _Spread | None:
    """None where fewer than two are there, or all are equal."""
    defined = [each for each in column if each is not None]
    check_finite(defined)
    if len(defined) < 2 or max(defined) - min(defined) <= NO_DIFFERENCE:
        return None
    mean, variance = mean_and_variance(defined)
    return _Spread(len(defined), mean, variance * (len(defined) - 1))


def _standardised(column: Sequence[float | None], spread: _Spread) -> list[float]:
    """Distances from the mean, scaled so that their resampled sum has variance 1; missing are 0."""
    scale = math.sqrt(spread.squares)
    return [0.0 if each is None else (each - spread.mean) / scale for each in column]


def _critical_value(
    columns: Sequence[Sequence[float]], level: float, resamples: int, seed: int
) -> float:
    """The quantile of the largest |T|. Rows are sorted, so that their order draws nothing."""
    import numpy as np

    rows = np.array(columns).T
    rows = rows[np.lexsort(rows.T)]
    largest = np.abs(_resampled_sums(rows, resamples, seed)).max(axis=1)
    return float(np.quantile(largest, level))


def _band(spread: _Spread, critical: float, level: float) -> Interval:
    from scipy.special import ndtr, stdtrit

    degrees = spread.n - 1
    quantile = -float(stdtrit(degrees, ndtr(-critical)))
    reach = quantile * math.sqrt(spread.squares / degrees / spread.n)
    return Interval(spread.mean - reach, spread.mean + reach, "max-t", level)


def _check_rows(columns: Sequence[Sequence[float | None]]) -> None:
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise ValueError(f"columns over the same rows are equally long, got {lengths}")
