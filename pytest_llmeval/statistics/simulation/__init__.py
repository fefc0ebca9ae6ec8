"""How the default procedures do where the truth is known: coverage and error rates.

Right or wrong answers are counted out over all outcomes, weighted by their chances: exact, which no
number of simulations is. Graded scores and families of pairs are simulated. Every rate is that of
the functions users get, called one by one, never of a faster copy of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_llmeval.statistics.simulation.alarms import (
    family_alarms,
    mcnemar_alarms,
    sign_flip_alarms,
)
from pytest_llmeval.statistics.simulation.coverage import binary_coverage, graded_coverage
from pytest_llmeval.statistics.simulation.gate import (
    gate_errors,
    graded_gate_errors,
    shaped_gate_errors,
)
from pytest_llmeval.statistics.simulation.rate import Rate

__all__ = ["Rate", "measured_rates"]


def measured_rates(simulations: int = 10_000, seed: int = 7) -> Iterator[Rate]:
    """Measure every default, question by question; about a minute for 10,000 simulations."""
    yield from binary_coverage()
    yield from graded_coverage(simulations, seed)
    yield from mcnemar_alarms()
    yield from sign_flip_alarms(simulations, seed)
    yield from family_alarms(simulations, seed)
    yield from gate_errors()
    yield from graded_gate_errors()
    yield from shaped_gate_errors(simulations, seed)
