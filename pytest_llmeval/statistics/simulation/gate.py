"""How often the gate "not worse" errs."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from pytest_llmeval.records import GateVerdict
from pytest_llmeval.statistics.regression import not_worse_verdict
from pytest_llmeval.statistics.simulation.rate import MOST_ERRORS, Rate
from pytest_llmeval.statistics.simulation.truth import DISCORDANCES

SIZES = (30, 100, 300, 1000)
"""Numbers of items: with ten there is nothing a gate could prove."""

PROMISED_FROM = 100
"""With fewer items nothing may have changed by chance, which lets a worse model through."""

MARGINS = (0.02, 0.03, 0.05, 0.1)

_RANK: dict[GateVerdict, int] = {"fail": 0, "inconclusive": 1, "pass": 2}


def gate_errors(sizes: Sequence[int] = SIZES) -> Iterator[Rate]:
    """Errors of "not worse" at the worst of DISCORDANCES and MARGINS. Exact.

    A false fail is one although nothing changed; a false pass lets through (pass or no_change) what
    is worse by the margin. Where every change is a loss, which no model manages, the rate stands
    beside.
    """
    for n in sizes:
        fails: list[float] = []
        passes: list[float] = []
        only_losses: list[float] = []
        for margin in MARGINS:
            rules = _rules(n, margin)
            for discordance in DISCORDANCES:
                fails.append(_rates(n, discordance, 0.0, rules)[0])
                if discordance >= margin:
                    beside = only_losses if discordance == margin else passes
                    beside.append(_rates(n, discordance, -margin, rules)[1])
        promised = MOST_ERRORS if n >= PROMISED_FROM else None
        yield Rate("gate", "tango", n, "false fail", max(fails), at_most=promised)
        yield Rate("gate", "tango", n, "false pass", max(passes), at_most=promised)
        yield Rate("gate", "tango", n, "only losses", max(only_losses))


def _rules(n: int, margin: float) -> list[tuple[int, int]]:
    """For each number of items right before only: with how many right now only the gate no longer
    fails, and with how many it passes. One more of these never makes a verdict worse, so that
    bisection finds both.
    """

    def first(rank: int, before: int) -> int:
        # Nothing changed at all is no verdict.
        found = range(0 if before else 1, min(most, n - before) + 1)
        place = bisect_left(
            found, rank, key=lambda now: _RANK[not_worse_verdict(now, before, n, margin)]
        )
        return found.start + place

    most = _most_changed(n)
    return [(first(1, before), first(2, before)) for before in range(most + 1)]


def _most_changed(n: int) -> int:
    """More items than ever change to one side, but for a chance of 1e-9."""
    share = (max(DISCORDANCES) + max(MARGINS)) / 2
    return min(n, math.ceil(n * share + 6 * math.sqrt(n * share * (1 - share)) + 3))


def _rates(
    n: int, discordance: float, difference: float, rules: Sequence[tuple[int, int]]
) -> tuple[float, float]:
    """How often the gate fails and how often it lets through, now minus before being as given."""
    import numpy as np
    from scipy.special import gammaln, xlogy

    now = np.arange(len(rules))[:, None]
    before = np.arange(len(rules))[None, :]
    rest = np.maximum(n - now - before, 0)
    counts = gammaln(n + 1) - gammaln(now + 1) - gammaln(before + 1) - gammaln(rest + 1)
    gains, losses = (discordance + difference) / 2, (discordance - difference) / 2
    chances = xlogy(now, gains) + xlogy(before, losses) + xlogy(rest, 1 - discordance)
    mass = np.where(now + before <= n, np.exp(counts + chances), 0.0)
    no_change, mass[0, 0] = mass[0, 0], 0.0
    no_longer_fails, passes = np.array(rules).T
    fails = float(mass[now < no_longer_fails].sum())
    return fails, float(mass[now >= passes].sum() + no_change)
