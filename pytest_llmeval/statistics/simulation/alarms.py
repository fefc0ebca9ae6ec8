"""How often a difference is shown where there is none."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations

from pytest_llmeval.statistics.multiplicity import holm
from pytest_llmeval.statistics.paired import mcnemar_midp, sign_flip_tests
from pytest_llmeval.statistics.simulation.rate import MOST_ERRORS, SIZES, Rate
from pytest_llmeval.statistics.simulation.truth import (
    DISCORDANCES,
    binomial,
    generator,
    shapes,
)

#: Comparisons that share their random signs, which a user's runs do not.
_SHARING = 250


def mcnemar_alarms(sizes: Sequence[int] = SIZES) -> Iterator[Rate]:
    """McNemar's mid-p, by the share of items on which two conditions disagree. Exact."""
    import numpy as np
    from scipy.special import bdtr

    def conditional(discordant: int) -> float:
        """The rate given how many items disagree: twice the tail in which p stays below 5 %."""
        few = range(discordant // 2 + 1)
        shown = bisect_left(few, 0.05, key=lambda k: mcnemar_midp(k, discordant - k))
        return 2 * float(bdtr(shown - 1, discordant, 0.5)) if shown else 0.0

    given = np.array([conditional(discordant) for discordant in range(max(sizes) + 1)])
    for n in sizes:
        for discordance in DISCORDANCES:
            rate = float(binomial(n, discordance) @ given[: n + 1])
            setting = f"{100 * discordance:g} %"
            yield Rate("mcnemar", "mcnemar mid-p", n, setting, rate, at_most=MOST_ERRORS)


def sign_flip_alarms(
    simulations: int, seed: int, sizes: Sequence[int] = (10, 30, 100)
) -> Iterator[Rate]:
    """The sign-flip test on two draws from one shape, for each shape and on average over them."""
    for n in sizes:
        rates = {}
        for place, (shape, (_, draw)) in enumerate(shapes().items()):
            random = generator(seed, n, place)
            differences = draw(random, (simulations, n)) - draw(random, (simulations, n))
            alarms = 0
            for start in range(0, simulations, _SHARING):
                together = list(differences[start : start + _SHARING])
                tests = sign_flip_tests(together, seed=seed + start)
                alarms += sum(p is not None and p < 0.05 for p in tests)
            rates[shape] = alarms / simulations
        for shape, rate in rates.items():
            yield Rate("sign-flip", "sign-flip", n, shape, rate, simulations=simulations)
        yield Rate(
            question="sign-flip",
            method="sign-flip",
            items=n,
            setting="average",
            rate=math.fsum(rates.values()) / len(rates),
            at_most=MOST_ERRORS,
            simulations=simulations,
        )


def family_alarms(simulations: int, seed: int, sizes: Sequence[int] = (30, 100)) -> Iterator[Rate]:
    """Any pair of conditions that are all the same being REAL: McNemar's mid-p after Holm.

    Items differ in difficulty: each is answered right with a chance from a beta distribution of
    mean 0.7, by which two conditions disagree on 20 % of them.
    """
    midp = lru_cache(maxsize=None)(mcnemar_midp)
    for n in sizes:
        for conditions in (2, 4, 8):
            random = generator(seed, n, conditions)
            alarms = 0
            for _ in range(simulations):
                chances = random.beta(0.636, 0.273, n)
                right = (random.random((conditions, n)) < chances).astype(int)
                both = right @ right.T
                alone = both.diagonal()[:, None] - both
                pairs = combinations(range(conditions), 2)
                p_values = [midp(int(alone[a, b]), int(alone[b, a])) for a, b in pairs]
                alarms += any(p is not None and p < 0.05 for p in holm(p_values))
            yield Rate(
                question="real",
                method="mcnemar mid-p, holm",
                items=n,
                setting=f"{conditions} conditions",
                rate=alarms / simulations,
                at_most=MOST_ERRORS,
                simulations=simulations,
            )
