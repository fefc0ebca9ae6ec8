"""How many items a question needs, and what the items at hand can show."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from pytest_llmeval.statistics.intervals import normal_quantile


def items_for_paired_binary(
    discordance: float, difference: float, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """How many items show a difference between two conditions asked the same items.

    n = (z_(a/2) sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2, with `discordance` psi the share of items
    on which the two disagree, and d the difference. For graded scores psi is the mean squared
    difference. None when the difference is 0: no number of items shows it. Raises ValueError when
    d^2 > psi, which cannot be. Source: Connor 1987.
    """
    if difference == 0:
        return None
    least = difference**2 * (1 - 1e-9)  # of equal differences psi is d^2, but for rounding
    if not least <= discordance <= 1:
        message = f"a difference of {difference:g} needs more discordance than {discordance:g}"
        raise ValueError(message)
    spread = math.sqrt(max(0.0, discordance - difference**2))
    z = normal_quantile(1 - alpha) * math.sqrt(discordance) + _one_sided(power) * spread
    return _ceiling((z / difference) ** 2)


def smallest_provable_margin(
    discordance: float, n: int, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest margin for which n paired items can prove "not worse", if nothing changed.

    (z_a + z_b) sqrt(psi / n), one-sided: 2.4865 sqrt(psi / n) by default. n = 0 gives None.
    """
    if n == 0:
        return None
    return (_one_sided(1 - alpha) + _one_sided(power)) * math.sqrt(discordance / n)


def items_for_margin(
    discordance: float,
    difference: float,
    margin: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int | None:
    """How many paired items decide "not worse by `margin`" if the difference stays what it is.

    n = (z_a + z_b)^2 (psi - d^2) / (d + m)^2, one-sided, with `discordance` psi as for
    `items_for_paired_binary`; d = 0 is the inverse of `smallest_provable_margin`. None when no
    number decides: the difference is the margin.
    """
    distance = difference + margin
    if abs(distance) < 1e-12:
        return None
    z = _one_sided(1 - alpha) + _one_sided(power)
    spread = max(0.0, discordance - difference**2)
    return max(1, _ceiling(z**2 * spread / distance**2))


def items_for_gate(
    mean: float, threshold: float, *, variance_ratio: float = 1.0, level: float = 0.95
) -> int | None:
    """How many items decide "at least `threshold`" if the mean stays what it is.

    n = z^2 t (1 - t) / (mean - t)^2, which is where Wilson's bound meets the threshold t; graded
    scores need fewer by their `variance_ratio`. None when no number decides: the mean is at the
    threshold.
    """
    if mean == threshold:
        return None
    z = normal_quantile(level)
    needed = z**2 * threshold * (1 - threshold) / (mean - threshold) ** 2
    return max(1, _ceiling(needed / variance_ratio))


@lru_cache
def _one_sided(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _ceiling(items: float) -> int:
    """Round up, but for the last bits of a number that is whole."""
    return math.ceil(items - 1e-9 * items)
