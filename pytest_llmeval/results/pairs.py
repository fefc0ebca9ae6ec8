"""How two conditions held against each other are told: which is better, and by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_llmeval.records import Comparison, Sensitivity
from pytest_llmeval.results.rounding import counted, fixed_set_words, p_words, points

SHOWN_PAIRS = 3
"""So many pairs stand in the terminal; the report has them all."""


@dataclass(frozen=True, slots=True)
class PairWords:
    """A comparison told with the better side first. Figures are in points, None where undefined.

    `label` names what differs, then what both share: `tiny-l over tiny-s, plain`.
    """

    suite: str
    label: str
    difference: float | None
    low: float | None
    high: float | None
    p: str
    verdict: str
    advice: str
    real: bool
    only_first: int | None
    only_second: int | None
    fixed_set: str = ""
    sensitivity: str = ""


def pair_words(comparison: Comparison) -> PairWords:
    """Turn a comparison so that the better condition comes first, and put it into words."""
    turned = comparison.difference is not None and comparison.difference < 0
    first, second = comparison.first, comparison.second
    low, high = comparison.interval.low, comparison.interval.high
    difference = comparison.difference
    alone = comparison.only_first, comparison.only_second
    fixed = comparison.fixed_set
    if turned:
        first, second = second, first
        alone = alone[1], alone[0]
        low, high = _negated(high), _negated(low)
        difference = _negated(difference)
        fixed = fixed and replace(fixed, low=_negated(fixed.high), high=_negated(fixed.low))
    return PairWords(
        suite=comparison.suite,
        label=pair_label(first, second, "level with" if difference == 0 else "over"),
        difference=points(difference),
        low=points(low),
        high=points(high),
        p=p_words(comparison.p_adjusted),
        verdict=_verdict(comparison),
        advice=_advice(comparison),
        real=comparison.real,
        only_first=alone[0],
        only_second=alone[1],
        fixed_set=fixed_set_words(fixed, signed=True),
        sensitivity=sensitivity_words(comparison.sensitivity),
    )


def _verdict(comparison: Comparison) -> str:
    if comparison.real:
        return "REAL"
    return "not shown" if comparison.p_adjusted is not None else "no test possible"


def _advice(comparison: Comparison) -> str:
    """What a difference that is not shown would need; why an interval seems to deny one that is."""
    needed, interval = comparison.items_needed, comparison.interval
    if not comparison.real:
        return f"needs about {needed:,} items" if needed else ""
    if interval.method != "betting" or interval.low is None or interval.high is None:
        return ""
    return "its interval is of a wider procedure" if interval.low <= 0 <= interval.high else ""


def sensitivity_words(sensitivity: Sensitivity | None) -> str:
    """Whether the items without a judged answer could change a verdict; "" where there are none."""
    if sensitivity is None:
        return ""
    unjudged = f"{counted(sensitivity.missing, 'item')} without a judged answer on some side"
    if sensitivity.conclusion_robust:
        return f"holds whatever became of the {unjudged}"
    if sensitivity.tipping_count is None:
        return f"its sign hangs on the {unjudged}"
    return f"{sensitivity.tipping_count:,} of the {unjudged} could change it"


def basis_words(comparison: Comparison, items: int | None) -> str:
    """On how many of its suite's `items` a pair rests, "" where it is on all of them.

    Dropped are those that only one side has answered.
    """
    answered = comparison.items + comparison.dropped
    told = [f"{comparison.items:,} of {items:,} items"] if items not in (None, answered) else []
    if comparison.dropped:
        told.append(f"{comparison.dropped:,} of {answered:,} items dropped")
    return ", ".join(told)


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def pair_label(first: str, second: str, between: str = "over") -> str:
    """Name two conditions by what differs, and after a comma by what they share."""
    left, right = first.split("/"), second.split("/")
    if len(left) != len(right):
        return f"{first} {between} {second}"
    parts = list(zip(left, right, strict=True))
    better = "/".join(a for a, b in parts if a != b)
    worse = "/".join(b for a, b in parts if a != b)
    shared = "/".join(a for a, b in parts if a == b)
    return f"{better} {between} {worse}" + (f", {shared}" if shared else "")


def telling_pairs(
    comparisons: Sequence[Comparison], limit: int = SHOWN_PAIRS
) -> tuple[Comparison, ...]:
    """Choose the pairs to show where not all fit: the best of each suite, then the next best.

    Within a suite models under the same prompt come before prompts under the same model, those
    before pairs that differ in both; within these the smaller p first. What could not be tested
    comes last.
    """
    ranked = sorted(range(len(comparisons)), key=lambda place: _rank(comparisons[place]))
    turn_of: Counter[str] = Counter()
    turns = []
    for place in ranked:
        suite = comparisons[place].suite
        turns.append((turn_of[suite], place))
        turn_of[suite] += 1
    chosen = [place for _, place in sorted(turns, key=lambda turn: turn[0])][:limit]
    return tuple(comparisons[place] for place in sorted(chosen))


def _rank(comparison: Comparison) -> tuple[int, float]:
    left, right = comparison.first.split("/"), comparison.second.split("/")
    p = comparison.p_adjusted
    if p is None:
        return 3, 0.0
    if left[1:] == right[1:]:
        return 0, p
    return (1, p) if left[0] == right[0] else (2, p)
