"""How often an interval at 95 % holds the true value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.intervals import clopper_pearson, scaled_wilson, t_interval, wilson
from pytest_llmeval.statistics.simulation.rate import LEAST_COVERAGE, SIZES, Rate
from pytest_llmeval.statistics.simulation.truth import binomial, generator, shapes

LOW, HIGH = 0.5, 0.995
"""Between these the true share of right answers is averaged over."""


def binary_coverage(sizes: Sequence[int] = SIZES) -> Iterator[Rate]:
    """Intervals of a share of right answers, on average over the true share and at its worst.

    Exact: no simulation and no grid.
    """
    procedures: dict[str, Callable[[int, int], Interval]] = {
        "wilson": wilson,
        "clopper-pearson": clopper_pearson,
        "t": lambda k, n: t_interval([1.0] * k + [0.0] * (n - k)),
    }
    for n in sizes:
        for method, procedure in procedures.items():
            bounds = [_bounds(procedure(k, n)) for k in range(n + 1)]
            promised = LEAST_COVERAGE if method == "wilson" else None
            mean, least = _mean_coverage(bounds, n), _least_coverage(bounds, n)
            yield Rate("coverage of shares", method, n, "average", mean, at_least=promised)
            yield Rate("coverage of shares", method, n, "worst", least)


def _bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def _mean_coverage(bounds: Sequence[tuple[float, float]], n: int) -> float:
    """Coverage averaged over p from LOW to HIGH, without a grid.

    The integral of Binomial(k; n, p) over p is the beta distribution's B(k + 1, n - k + 1) over
    n + 1, so that each outcome adds what its interval cuts out of it.
    """
    import numpy as np
    from scipy.special import betainc

    k = np.arange(n + 1)
    low, high = np.clip(np.array(bounds).T, LOW, HIGH)
    shares = betainc(k + 1, n - k + 1, high) - betainc(k + 1, n - k + 1, low)
    return float(shares.sum()) / (n + 1) / (HIGH - LOW)


def _least_coverage(bounds: Sequence[tuple[float, float]], n: int) -> float:
    """The lowest coverage at any p: it falls where p leaves an interval, so just beside a bound."""
    import numpy as np

    low, high = np.array(bounds).T
    beside = np.concatenate([low - 1e-9, high + 1e-9, [LOW, HIGH]])
    least = 1.0
    for p in beside[(beside >= LOW) & (beside <= HIGH)]:
        covered = (low <= p) & (p <= high)
        least = min(least, float(binomial(n, float(p))[covered].sum()))
    return least


def graded_coverage(simulations: int, seed: int, sizes: Sequence[int] = SIZES) -> Iterator[Rate]:
    """Intervals of a mean score, for each shape of scores and on average over them."""
    procedures = {"scaled wilson": scaled_wilson, "t": t_interval}
    for n in sizes:
        found: dict[str, list[float]] = {method: [] for method in procedures}
        for place, (shape, (mean, draw)) in enumerate(shapes().items()):
            random = generator(seed, n, place)
            held = dict.fromkeys(procedures, 0)
            for _ in range(simulations):
                scores = draw(random, (1, n))[0].tolist()
                for method, procedure in procedures.items():
                    low, high = _bounds(procedure(scores))
                    held[method] += low <= mean <= high
            for method, count in held.items():
                rate = count / simulations
                found[method].append(rate)
                yield Rate("coverage of means", method, n, shape, rate, simulations=simulations)
        for method, rates in found.items():
            yield Rate(
                question="coverage of means",
                method=method,
                items=n,
                setting="average",
                rate=math.fsum(rates) / len(rates),
                at_least=LEAST_COVERAGE if method == "scaled wilson" else None,
                simulations=simulations,
            )
