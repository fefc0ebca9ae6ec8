"""One number for several datasets, stratified: each keeps its own variance.

Micro and macro means answer different questions, and a standard error belongs to one of them: the
weights are named in what is returned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_level
from pytest_llmeval.statistics.intervals import normal_quantile

Weighting = Literal["micro", "macro"]


class Stratum(NamedTuple):
    """What is known of one dataset: its mean, the mean's standard error, its number of items.

    `interval` is the dataset's own, where it has a better one than mean +- z SE.
    """

    mean: float | None
    standard_error: float | None
    items: int
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class GroupMean:
    """The mean over datasets; `weights`, by dataset, sum to 1."""

    weighting: Weighting
    weights: Mapping[str, float]
    mean: float | None
    standard_error: float | None
    interval: Interval


def micro_mean(datasets: Mapping[str, Stratum], level: float = 0.95) -> GroupMean:
    """The mean in which every item weighs the same: w_i = n_i / N, SE = sqrt(sum w_i^2 SE_i^2).

    The interval squares and adds: low = mean - sqrt(sum w_i^2 (mean_i - low_i)^2), and so above,
    from the datasets' own intervals, or from mean_i -+ z SE_i where none is given. It is right near
    0 and 1 when those are, and of one dataset it is that dataset's own.

    No dataset, or one without a mean, gives no mean; one without a standard error no standard
    error; one without bounds, or no width at all, no bounds. Raises ValueError for intervals of
    another level and for a mean or a standard error that is not finite.
    Source: Cochran 1977 for stratified means; Zou & Donner 2008 for the interval.
    """
    items = sum(each.items for each in datasets.values())
    weights = {name: each.items / items if items else 0.0 for name, each in datasets.items()}
    return _weighted("micro", weights, datasets, level)


def macro_mean(datasets: Mapping[str, Stratum], level: float = 0.95) -> GroupMean:
    """The mean in which every dataset weighs the same: w_i = 1 / K, SE = sqrt(sum SE_i^2) / K.

    Interval and what is undefined as in `micro_mean`.
    """
    weights = {name: 1 / len(datasets) for name in datasets}
    return _weighted("macro", weights, datasets, level)


def _weighted(
    weighting: Weighting,
    weights: Mapping[str, float],
    datasets: Mapping[str, Stratum],
    level: float,
) -> GroupMean:
    check_level(level)
    for name, each in datasets.items():
        _check(name, each)
    mean = _sum(_times(weights[name], each.mean) for name, each in datasets.items())
    error = _root_sum_squares(
        _times(weights[name], each.standard_error) for name, each in datasets.items()
    )
    reaches = [(weights[name], _reach(name, each, level)) for name, each in datasets.items()]
    below = _root_sum_squares(_times(weight, reach[0]) for weight, reach in reaches)
    above = _root_sum_squares(_times(weight, reach[1]) for weight, reach in reaches)
    if mean is None or below is None or above is None or below + above == 0:
        interval = Interval(None, None, "square-and-add", level)
    else:
        interval = Interval(mean - below, mean + above, "square-and-add", level)
    return GroupMean(weighting, weights, mean, error, interval)


def _check(name: str, dataset: Stratum) -> None:
    if dataset.mean is not None and dataset.items < 1:
        raise ValueError(f"dataset {name} has a mean, but of {dataset.items} items")
    numbers = {"mean": dataset.mean, "standard error": dataset.standard_error}
    if dataset.interval is not None:
        numbers |= {"lower bound": dataset.interval.low, "upper bound": dataset.interval.high}
    for word, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"dataset {name} has the {word} {value!r}: what is undefined is None")


def _reach(name: str, dataset: Stratum, level: float) -> tuple[float | None, float | None]:
    """How far a dataset's interval lies below and above its mean."""
    mean, error, _, interval = dataset
    if interval is None:
        reach = _times(normal_quantile(level), error)
        return reach, reach
    if interval.level != level:
        raise ValueError(f"dataset {name} has an interval of level {interval.level}, not {level}")
    if mean is None or interval.low is None or interval.high is None:
        return None, None
    return mean - interval.low, interval.high - mean


def _times(weight: float, value: float | None) -> float | None:
    return None if value is None else weight * value


def _sum(terms: Iterable[float | None]) -> float | None:
    """The sum of at least one term; None as soon as one is undefined."""
    given = list(terms)
    defined = [term for term in given if term is not None]
    return math.fsum(defined) if given and len(defined) == len(given) else None


def _root_sum_squares(terms: Iterable[float | None]) -> float | None:
    total = _sum(None if term is None else term**2 for term in terms)
    return None if total is None else math.sqrt(total)
