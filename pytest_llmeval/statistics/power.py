"""How many items a question needs, and what the items at hand can show."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from pytest_llmeval.statistics.checks import check_rate, checked_items, whole
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
    z_alpha, z_power = _quantiles(power, alpha, sides=2)
    if difference == 0:
        return None
    least = difference**2 * (1 - 1e-9)  # of equal differences psi is d^2, but for rounding
    if not least <= discordance <= 1:
        message = f"a difference of {difference:g} needs more discordance than {discordance:g}"
        raise ValueError(message)
    spread = math.sqrt(max(0.0, discordance - difference**2))
    z = z_alpha * math.sqrt(discordance) + z_power * spread
    return _ceiling((z / difference) ** 2)


def minimum_detectable_difference(
    discordance: float, n: int, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest difference that n items, asked of both conditions, show with this power.

    Connor's formula the other way round: d = sqrt(psi) (z_(a/2) sqrt(n) + z_b sqrt(n + z_b^2 -
    z_(a/2)^2)) / (n + z_b^2). None where no difference is large enough: for n < z_(a/2)^2, which
    is 3 items and fewer at 5 %. A result above psi is out of reach of binary scores, whose
    difference cannot exceed their discordance.
    """
    if not 0 <= discordance <= 1:
        raise ValueError(f"discordance is a share of items between 0 and 1, got {discordance:g}")
    n, (z, z_power) = checked_items(n), _quantiles(power, alpha, sides=2)
    if n < z**2:
        return None
    root = math.sqrt(n + z_power**2 - z**2)
    return math.sqrt(discordance) * (z * math.sqrt(n) + z_power * root) / (n + z_power**2)


def items_general(
    difference: float,
    *,
    variance: float,
    noise_first: float = 0.0,
    noise_second: float = 0.0,
    repeats_first: int = 1,
    repeats_second: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int | None:
    """How many items show a difference of means, each item asked K times of each condition.

    n = (z_(a/2) + z_b)^2 (w^2 + s_A^2 / K_A + s_B^2 / K_B) / d^2: `variance` w^2 is that of the
    items' true differences, `noise_first` and `noise_second` s^2 the mean variance of the answers
    to one item, which repeats reduce. None when the difference is 0. Source: Miller 2024.
    """
    z = sum(_quantiles(power, alpha, sides=2))
    spread = _per_item(variance, (noise_first, repeats_first), (noise_second, repeats_second))
    if difference == 0:
        return None
    return max(1, _ceiling(z**2 * spread / difference**2))


def minimum_detectable_effect(
    n: int,
    *,
    variance: float,
    noise_first: float = 0.0,
    noise_second: float = 0.0,
    repeats_first: int = 1,
    repeats_second: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float | None:
    """The smallest difference of means that n items show: `items_general` the other way round.

    (z_(a/2) + z_b) sqrt((w^2 + s_A^2 / K_A + s_B^2 / K_B) / n). n = 0 gives None.
    """
    n, z = checked_items(n), sum(_quantiles(power, alpha, sides=2))
    spread = _per_item(variance, (noise_first, repeats_first), (noise_second, repeats_second))
    return z * math.sqrt(spread / n) if n else None


def items_unpaired_binary(
    first: float, second: float, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """How many items each of two conditions needs, when they are asked different ones.

    n = (z_(a/2) sqrt(2 p (1 - p)) + z_b sqrt(p1 (1 - p1) + p2 (1 - p2)))^2 / (p1 - p2)^2, with p
    the mean of the two. What pairing saves: 8,080 each for 70 against 72 %, where 1,960 shared
    items do at a discordance of 0.1. None when both are the same. Source: Fleiss 1981.
    """
    if not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"shares lie between 0 and 1, got {first:g} and {second:g}")
    z_alpha, z_power = _quantiles(power, alpha, sides=2)
    if first == second:
        return None
    mean = (first + second) / 2
    same = math.sqrt(2 * mean * (1 - mean))
    apart = math.sqrt(first * (1 - first) + second * (1 - second))
    z = z_alpha * same + z_power * apart
    return _ceiling((z / (first - second)) ** 2)


def smallest_provable_margin(
    discordance: float, n: int, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest margin for which n paired items can prove "not worse", if nothing changed.

    (z_a + z_b) sqrt(psi / n), one-sided: 2.4865 sqrt(psi / n) by default. n = 0 gives None.
    """
    n, z = checked_items(n), sum(_quantiles(power, alpha, sides=1))
    _check_spread(discordance)
    return z * math.sqrt(discordance / n) if n else None


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
    z = sum(_quantiles(power, alpha, sides=1))
    _check_spread(discordance)
    distance = difference + margin
    if abs(distance) < 1e-12:
        return None
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
    z = normal_quantile(level)
    if mean == threshold:
        return None
    needed = z**2 * threshold * (1 - threshold) / (mean - threshold) ** 2
    return max(1, _ceiling(needed / variance_ratio))


def _per_item(variance: float, *noise: tuple[float, int]) -> float:
    """The variance of one item's difference, with the noise that its repeats leave."""
    for spread, repeats in ((variance, 1), *noise):
        if not 0 <= spread < math.inf or whole(repeats) < 1:
            raise ValueError(
                f"a variance is at least 0 and repeats at least 1, got {spread:g} and {repeats}"
            )
    return math.fsum((variance, *(spread / repeats for spread, repeats in noise)))


@lru_cache
def _quantiles(power: float, alpha: float, *, sides: int) -> tuple[float, float]:
    """The normal quantiles of alpha, shared between so many sides, and of power."""
    check_rate("power", power, 0.8)
    check_rate("alpha", alpha, 0.05)
    return NormalDist().inv_cdf(1 - alpha / sides), NormalDist().inv_cdf(power)


def _check_spread(discordance: float) -> None:
    """Refuse what is neither a share of items nor, of graded scores, a variance."""
    if not 0 <= discordance < math.inf:
        raise ValueError(f"discordance is a share of items of at least 0, got {discordance!r}")


def _ceiling(items: float) -> int:
    """Round up, but for the last bits of a number that is whole."""
    return math.ceil(items - 1e-9 * items)
