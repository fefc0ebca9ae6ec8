"""Whether right answers are more than guessing gives, by the exact distribution of guesses."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmeval.statistics.checks import check_between, check_rate


@dataclass(frozen=True, slots=True)
class Guessing:
    """What somebody who guesses gets right, held against what was.

    `expected` right answers in the mean; `p` is how often guessing gives at least as many as there
    were. `tells` says whether there are enough items: whether one who knows the answer to half of
    them, and guesses the rest, is told from guessing nearly always.
    """

    expected: float
    p: float
    tells: bool


def guessing(
    right: int, chances: Sequence[float], *, alpha: float = 0.05, power: float = 0.99
) -> Guessing:
    """Hold `right` answers against guessing, where item i is guessed with chance `chances[i]`.

    p = P(X >= right), X being the sum of independent guesses: binomial where all chances are equal,
    else Poisson binomial; exact, one-sided. `tells` is whether P(X' >= c) >= `power`, where c is
    the least count with P(X >= c) <= `alpha` and X' has the chances c_i + (1 - c_i) / 2. No items
    tell nothing. Source: the exact binomial test, Clopper & Pearson 1934.
    """
    check_between(chances, 0, 1, "a chance lies between 0 and 1")
    check_rate("alpha", alpha, 0.05)
    check_rate("power", power, 0.99)
    if not 0 <= right <= len(chances):
        raise ValueError(f"of {len(chances)} items so many cannot be right: {right}")
    tails = _tails(chances)
    critical = next(count for count, tail in enumerate(tails) if tail <= alpha or not tail)
    knowing = _tails([chance + (1 - chance) / 2 for chance in chances])
    tells = critical <= len(chances) and knowing[critical] >= power
    return Guessing(math.fsum(chances), tails[right], tells)


def _tails(chances: Sequence[float]) -> list[float]:
    """P(X >= count) for each count from 0 to one more than there are items, where it is 0."""
    tails = list(itertools.accumulate(reversed(_distribution(chances))))[::-1]
    return [1.0, *(min(1.0, tail) for tail in tails[1:]), 0.0]


def _distribution(chances: Sequence[float]) -> list[float]:
    """P(X = count) for each count."""
    parts = [_binomial(n, chance) for chance, n in sorted(Counter(chances).items())]
    if len(parts) == 1:
        return parts[0]
    from numpy import convolve

    whole: list[float] = [1.0]
    for part in parts:
        whole = [float(value) for value in convolve(whole, part)]
    return whole


def _binomial(n: int, chance: float) -> list[float]:
    if chance in (0, 1):
        certain = n if chance else 0
        return [float(count == certain) for count in range(n + 1)]
    whole, hit, miss = math.lgamma(n + 1), math.log(chance), math.log1p(-chance)
    return [
        math.exp(
            whole
            - math.lgamma(count + 1)
            - math.lgamma(n - count + 1)
            + count * hit
            + (n - count) * miss
        )
        for count in range(n + 1)
    ]
