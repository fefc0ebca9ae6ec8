"""What stopping early saves, and that its error is kept: python benchmarks/stopping.py [--smoke].

Somebody plans n items, so that a difference of delta is shown with 80 % power (Connor for a pair,
the normal approximation for a gate). Then the true effect is twice that: how many of the planned
items are not needed? And where there is no effect: how often is something decided all the same,
although one looks after every item?

Where the package's rules decide is asked of them once, for all counts, and looked up in simulated
sequences. The short form in tests/statistics/test_anytime.py feeds the rules themselves.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_llmeval.statistics import items_for_paired_binary
from pytest_llmeval.statistics.sequential import anytime_p, log_robbins

ALPHA = 0.05
SAVED = 0.5
SEED = 20_261_123

#: Share of discordant items, and the planned difference.
PAIRS = ((0.1, 0.05), (0.2, 0.05), (0.3, 0.05), (0.2, 0.1), (0.3, 0.1))
#: Threshold of a gate, and how far the planned mean lies from it; the true one twice as far.
GATES = ((0.85, 0.05), (0.7, 0.05), (0.5, 0.1), (0.85, -0.05))

Counts = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Result:
    """Of simulated suites: the median share of items not needed, and how often one decided."""

    planned: int
    saved: float
    decided: float


def boundary(decides: Callable[[int, int], bool], most: int) -> Counts:
    """For 0 to `most` items against it, the fewest in favour that decide; never more than most."""
    needed, found = 0, np.empty(most + 1, dtype=np.int64)
    for against in range(most + 1):
        while needed <= most and not decides(needed, against):
            needed += 1  # it takes the more in favour, the more there are against
        found[against] = needed
    return found


def first_decided(one: Counts, other: Counts, for_one: Counts, for_other: Counts) -> Counts:
    """The item, from 1, that decides each simulated suite for either side; n + 1 for none."""
    decided = (one >= for_one[other]) | (other >= for_other[one])
    n = decided.shape[1]
    at: Counts = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1, n + 1)
    return at


def summary(planned: int, at: Counts) -> Result:
    saved = np.maximum(0, planned - at) / planned
    return Result(planned, float(np.median(saved)), float((at <= planned).mean()))


# Pairs --------------------------------------------------------------------------------------------


def pair(discordance: float, planned_for: float, true: float, times: int) -> Result:
    """A suite of two conditions without a gate."""
    planned = items_for_paired_binary(discordance, planned_for)
    assert planned is not None
    discordance = max(discordance, true)
    rng = np.random.default_rng(SEED)
    drawn = rng.random((times, planned))
    first = np.cumsum(drawn < (discordance + true) / 2, axis=1)
    second = np.cumsum((drawn >= (discordance + true) / 2) & (drawn < discordance), axis=1)
    most = int(max(first.max(), second.max()))
    side = boundary(lambda b, c: b > c and anytime_p(b, c) < ALPHA, most)
    return summary(planned, first_decided(first, second, side, side))


# Gates --------------------------------------------------------------------------------------------


def gate(threshold: float, planned_for: float, true: float, times: int) -> Result:
    """A suite of one condition with a gate: `true` is how far its mean lies from the threshold."""
    planned = items_for_mean(threshold, planned_for)
    rng = np.random.default_rng(SEED)
    right = np.cumsum(rng.random((times, planned)) < threshold + true, axis=1)
    wrong = np.arange(1, planned + 1) - right
    limit = math.log(1 / ALPHA)
    passes = boundary(lambda s, f: log_robbins(threshold, s, f) >= limit, planned)
    fails = boundary(lambda f, s: log_robbins(1 - threshold, f, s) >= limit, planned)
    return summary(planned, first_decided(right, wrong, passes, fails))


def items_for_mean(threshold: float, distance: float) -> int:
    """How many items show with 80 % power that a mean lies so far from a threshold, at 5 %."""
    mean = threshold + distance
    z = NormalDist().inv_cdf
    spread = z(1 - ALPHA / 2) * math.sqrt(threshold * (1 - threshold))
    spread += z(0.8) * math.sqrt(mean * (1 - mean))
    return math.ceil((spread / distance) ** 2)


def main() -> None:
    """Print every figure beside its goal; a goal that is missed is marked, and fails nothing."""
    parser = argparse.ArgumentParser(description="What stopping early saves")
    parser.add_argument("--smoke", action="store_true", help="few repetitions: does it run?")
    times = 200 if parser.parse_args().smoke else 10_000
    print(f"{times:,} simulated suites a line, alpha {ALPHA}, looked at after every item")
    for what, twice, none in results(times):
        marks = "  " if twice.saved >= SAVED and none.decided <= ALPHA else "! "
        print(
            f"{marks}{what:<34} n {twice.planned:>5,}"
            f"   not needed at twice that: {100 * twice.saved:5.1f} % (>= {100 * SAVED:g} %)"
            f"   decided without effect: {100 * none.decided:5.2f} % (<= {100 * ALPHA:g} %)",
            flush=True,
        )


def results(times: int) -> Iterator[tuple[str, Result, Result]]:
    """Of each setting its name, and what comes of twice the planned effect and of none."""
    works: list[tuple[str, Callable[[float, float, float, int], Result], float, float]] = [
        *((f"pair psi {psi:g}, planned {by:+g}", pair, psi, by) for psi, by in PAIRS),
        *((f"gate at least {t:g}, planned {by:+g}", gate, t, by) for t, by in GATES),
    ]
    for what, simulate, first, planned in works:
        effects = (2 * planned, 0.0)
        twice, none = (simulate(first, planned, effect, times) for effect in effects)
        yield what, twice, none


if __name__ == "__main__":
    main()
