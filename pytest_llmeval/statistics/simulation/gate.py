"""How often the gate "not worse" errs."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from pytest_llmeval.records import GateVerdict
from pytest_llmeval.statistics.regression import graded_verdict, not_worse_verdict
from pytest_llmeval.statistics.simulation.rate import MOST_ERRORS, Question, Rate
from pytest_llmeval.statistics.simulation.truth import DISCORDANCES, generator, shapes

SIZES = (30, 100, 300, 1000)
"""Numbers of items: with ten there is nothing a gate could prove."""

PROMISED_FROM = 100
"""With fewer items nothing may have changed by chance, which lets a worse model through."""

PROMISED_CHANGE = 0.05
"""Where a smaller share of the items changes, the same happens of more items."""

MARGINS = (0.02, 0.03, 0.05, 0.1)

SHAPED_MARGIN = 0.05
"""For scores of other shapes, which are simulated and not counted out."""

_Verdict = Callable[[int, int, int, float], GateVerdict]
"""Of how many items right now only, before only, and in all, and a margin."""

_RANK: dict[GateVerdict, int] = {"fail": 0, "inconclusive": 1, "pass": 2}


def gate_errors(sizes: Sequence[int] = SIZES) -> Iterator[Rate]:
    """Errors of "not worse" for right or wrong at the worst of DISCORDANCES and MARGINS. Exact.

    A false fail is one although nothing changed; a false pass lets through (pass or no_change) what
    is worse by the margin, where at least PROMISED_CHANGE of the items change. Where fewer do, and
    where every change is a loss, which no model manages, the rates stand beside.
    """
    yield from _errors("gate", "tango", not_worse_verdict, sizes)


def graded_gate_errors(sizes: Sequence[int] = (100, 300, 1000)) -> Iterator[Rate]:
    """The same of the verdict for graded scores, at its hardest: items change wholly or not."""
    yield from _errors("graded gate", "skewed wilson", _graded_verdict, sizes)


def _graded_verdict(now: int, before: int, n: int, margin: float) -> GateVerdict:
    differences = [1.0] * now + [-1.0] * before + [0.0] * (n - now - before)
    return graded_verdict(differences, margin)


def _errors(
    question: Question, method: str, verdict: _Verdict, sizes: Sequence[int]
) -> Iterator[Rate]:
    few = [discordance for discordance in DISCORDANCES if discordance < PROMISED_CHANGE]
    for n in sizes:
        rates: dict[str, list[float]] = {"false fail": [], "false pass": [], "only losses": []}
        rates |= {_change_words(discordance): [] for discordance in few}
        for margin in MARGINS:
            rules = _rules(n, margin, verdict)
            for discordance in DISCORDANCES:
                rates["false fail"].append(_rates(n, discordance, 0.0, rules)[0])
                if discordance >= margin:
                    setting = "only losses" if discordance == margin else "false pass"
                    if discordance in few:
                        setting = _change_words(discordance)
                    rates[setting].append(_rates(n, discordance, -margin, rules)[1])
        for setting, found in rates.items():
            is_promised = n >= PROMISED_FROM and setting in ("false fail", "false pass")
            at_most = MOST_ERRORS if is_promised else None
            yield Rate(question, method, n, setting, max(found), at_most=at_most)


def _change_words(discordance: float) -> str:
    return f"{100 * discordance:g} % change"


def _rules(n: int, margin: float, verdict: _Verdict) -> list[tuple[int, int]]:
    """For each number of items right before only: with how many right now only the gate no longer
    fails, and with how many it passes. One more of these never makes a verdict worse, so that
    bisection finds both.
    """

    def first(rank: int, before: int) -> int:
        # Nothing changed at all is no verdict.
        found = range(0 if before else 1, min(most, n - before) + 1)
        place = bisect_left(found, rank, key=lambda now: _RANK[verdict(now, before, n, margin)])
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


# Graded scores of other shapes --------------------------------------------------------------------


def shaped_gate_errors(
    simulations: int, seed: int, sizes: Sequence[int] = (PROMISED_FROM,)
) -> Iterator[Rate]:
    """Errors of the verdict for graded scores with a margin of 5 points, for each shape of scores.

    Before and now are two draws from one shape; worse by the margin is a model of whose answers as
    many as that takes have become worthless.
    """
    for n in sizes:
        fails: dict[str, int] = {}
        passes: dict[str, int] = {}
        for place, (shape, (mean, draw)) in enumerate(shapes().items()):
            random = generator(seed, n, place)
            fails[shape] = passes[shape] = 0
            for _ in range(simulations):
                before, now = draw(random, (2, n))
                unchanged = graded_verdict((now - before).tolist(), SHAPED_MARGIN)
                now[random.random(n) < SHAPED_MARGIN / mean] = 0.0
                worse = graded_verdict((now - before).tolist(), SHAPED_MARGIN)
                fails[shape] += unchanged == "fail"
                passes[shape] += worse in ("pass", "no_change")
        all_of = simulations * len(passes)
        found = {"fails": sum(fails.values()) / all_of}
        found |= {shape: count / simulations for shape, count in passes.items()}
        found["average"] = sum(passes.values()) / all_of
        for setting, rate in found.items():
            yield Rate(
                question="shaped gate",
                method="skewed wilson",
                items=n,
                setting=setting,
                rate=rate,
                at_most=MOST_ERRORS if setting in ("fails", "average") else None,
                simulations=simulations,
            )
