"""All pairs of conditions of one suite, on the same items."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal, NamedTuple

from pytest_llmeval.records import Comparison, Effect, Interval
from pytest_llmeval.statistics.effects import cohen_d_z, cohen_h, matched_odds_ratio
from pytest_llmeval.statistics.multiplicity import benjamini_hochberg, holm
from pytest_llmeval.statistics.paired import (
    NO_DIFFERENCE,
    mcnemar_exact,
    mcnemar_midp,
    paired_t_interval,
    sign_flip_tests,
    tango_interval,
)
from pytest_llmeval.statistics.power import items_for_paired_binary
from pytest_llmeval.statistics.repeats import fixed_set_difference
from pytest_llmeval.statistics.stretched import stretched_wilson

ItemScores = Mapping[str, float]
"""The score of each item that was answered, the mean of its repeats; in [0, 1]."""

ItemRepeats = Mapping[str, Sequence[float]]
"""The scores of each item that was answered, one for each of its repeats."""

SEED = 0
"""The seed of the sign-flip test where a caller names none."""

MID_P, SIGN_FLIP = "mcnemar mid-p", "sign-flip"

_CORRECTIONS = {"holm": holm, "benjamini-hochberg": benjamini_hochberg}


class Pair(NamedTuple):
    """Two conditions, the items both answered (sorted) and how many only one did."""

    first: str
    second: str
    items: Sequence[str]
    dropped: int


def compare_all(
    suite: str,
    scorer: str,
    by_condition: Mapping[str, ItemScores],
    *,
    binary: Collection[str],
    repeats: Mapping[str, ItemRepeats] | None = None,
    seed: int = SEED,
    correction: Literal["holm", "benjamini-hochberg"] = "holm",
) -> tuple[Comparison, ...]:
    """Compare every two conditions, paired by item id on the items both answered.

    `binary` names the conditions of which every item was asked once and scored 0 or 1. Two of them:
    McNemar mid-p and Tango's interval. Any other pair: the sign-flip test and the paired t
    interval; where every difference is the same, t has no width and the scaled Wilson interval,
    stretched to [-1, 1], takes its place. The family of the correction is all pairs with a defined
    p, whichever test gave it. `items_needed` is Connor's, at 80 % power, for a difference that was
    not shown; it is always more than there are. `repeats`, under each condition whose items were
    asked repeatedly, add the interval for this fixed set.

    Conditions are named in alphabetical order, first before second. The result does not depend on
    the order of conditions or items. No common item: difference, bounds and p are None.

    Raises:
        ValueError: a score outside [0, 1], or not 0 or 1 under a binary condition.

    """
    named = list(combinations(sorted(by_condition), 2))
    return compare_pairs(
        suite,
        scorer,
        by_condition,
        named,
        binary=binary,
        repeats=repeats,
        seed=seed,
        correction=correction,
    )


def compare_pairs(
    suite: str,
    scorer: str,
    by_condition: Mapping[str, ItemScores],
    named: Sequence[tuple[str, str]],
    *,
    binary: Collection[str],
    repeats: Mapping[str, ItemRepeats] | None = None,
    seed: int = SEED,
    correction: Literal["holm", "benjamini-hochberg"] = "holm",
) -> tuple[Comparison, ...]:
    """Compare the named pairs, first and second as they are named; the rest as `compare_all`.

    The family of the correction is these pairs.
    """
    check_scores(by_condition, binary)
    pairs = [_pair(by_condition, first, second) for first, second in named]
    graded = [pair for pair in pairs if not (pair.first in binary and pair.second in binary)]
    tested = {(c.first, c.second): c for c in _graded(suite, scorer, by_condition, graded, seed)}
    found = [
        tested.get((pair.first, pair.second)) or _binary(suite, scorer, by_condition, pair)
        for pair in pairs
    ]
    adjusted = _CORRECTIONS[correction]([each.p for each in found])
    family = sum(p is not None for p in adjusted)
    return tuple(
        replace(
            _finished(each, by_condition, p, correction, family),
            fixed_set=_fixed_set(pair, repeats or {}),
        )
        for each, pair, p in zip(found, pairs, adjusted, strict=True)
    )


def check_scores(by_condition: Mapping[str, ItemScores], binary: Collection[str]) -> None:
    """Raise ValueError for a score outside [0, 1], or not 0 or 1 under a binary condition."""
    for condition, scores in by_condition.items():
        is_binary = condition in binary
        for item, score in scores.items():
            if score is None or not 0 <= score <= 1 or (is_binary and score not in (0, 1)):
                allowed = "0 or 1" if is_binary else "between 0 and 1"
                raise ValueError(f"item {item} under {condition}: {score!r} is not {allowed}")


def _pair(by_condition: Mapping[str, ItemScores], first: str, second: str) -> Pair:
    one, other = by_condition[first].keys(), by_condition[second].keys()
    common = sorted(one & other)
    return Pair(first, second, common, len(one) + len(other) - 2 * len(common))


def _binary(
    suite: str, scorer: str, by_condition: Mapping[str, ItemScores], pair: Pair
) -> Comparison:
    first, second = by_condition[pair.first], by_condition[pair.second]
    only_first = sum(first[item] > second[item] for item in pair.items)
    only_second = sum(first[item] < second[item] for item in pair.items)
    n = len(pair.items)
    return replace(
        _blank(suite, scorer, pair, test=MID_P),
        difference=(only_first - only_second) / n if n else None,
        interval=tango_interval(only_first, only_second, n),
        p=mcnemar_midp(only_first, only_second) if n else None,
        p_exact=mcnemar_exact(only_first, only_second) if n else None,
        only_first=only_first,
        only_second=only_second,
        effect=_binary_effect(first, second, pair, only_first, only_second),
    )


def _binary_effect(
    first: ItemScores, second: ItemScores, pair: Pair, only_first: int, only_second: int
) -> Effect:
    n = len(pair.items)
    if not n:
        return Effect()
    odds = matched_odds_ratio(only_first, only_second)
    return Effect(
        cohen_h=cohen_h(
            math.fsum(first[item] for item in pair.items) / n,
            math.fsum(second[item] for item in pair.items) / n,
        ),
        odds_ratio=odds.ratio,
        odds_ratio_interval=odds.interval,
    )


def _graded(
    suite: str,
    scorer: str,
    by_condition: Mapping[str, ItemScores],
    pairs: Sequence[Pair],
    seed: int,
) -> list[Comparison]:
    """All pairs are tested at once: they share their random signs."""
    if not pairs:
        return []  # numpy is not needed, and so not loaded
    tests = sign_flip_tests([_differences(by_condition, pair) for pair in pairs], seed=seed)
    return [
        _graded_pair(_blank(suite, scorer, pair, test=SIGN_FLIP), by_condition, pair, p)
        for pair, p in zip(pairs, tests, strict=True)
    ]


def _graded_pair(
    blank: Comparison, by_condition: Mapping[str, ItemScores], pair: Pair, p: float | None
) -> Comparison:
    differences = _differences(by_condition, pair)
    interval = graded_interval(differences)
    if not differences:
        return replace(blank, interval=interval)
    return replace(
        blank,
        difference=math.fsum(differences) / len(differences),
        interval=interval,
        p=p,
        effect=Effect(d_z=cohen_d_z(differences)),
    )


def graded_interval(differences: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of a mean difference of scores; scaled Wilson's where t has no width."""
    n = len(differences)
    if n < 2 or max(differences) - min(differences) >= NO_DIFFERENCE:
        return paired_t_interval(differences, level)
    return stretched_wilson(differences, level)


def _fixed_set(pair: Pair, repeats: Mapping[str, ItemRepeats]) -> Interval | None:
    """The interval for these very items; None unless both sides were asked repeatedly."""
    if not pair.items or pair.first not in repeats or pair.second not in repeats:
        return None
    first, second = ([repeats[side][item] for item in pair.items] for side in pair[:2])
    return fixed_set_difference(first, second).interval


def _differences(by_condition: Mapping[str, ItemScores], pair: Pair) -> list[float]:
    first, second = by_condition[pair.first], by_condition[pair.second]
    return [first[item] - second[item] for item in pair.items]


def _blank(suite: str, scorer: str, pair: Pair, *, test: str) -> Comparison:
    return Comparison(
        suite=suite,
        scorer=scorer,
        first=pair.first,
        second=pair.second,
        items=len(pair.items),
        dropped=pair.dropped,
        difference=None,
        interval=Interval(None, None, ""),
        test=test,
        p=None,
        p_adjusted=None,
        correction="",
        family=0,
    )


def _finished(
    each: Comparison,
    by_condition: Mapping[str, ItemScores],
    p_adjusted: float | None,
    correction: str,
    family: int,
) -> Comparison:
    """Add what depends on the other pairs."""
    each = replace(each, p_adjusted=p_adjusted, correction=correction, family=family)
    return each if each.real else replace(each, items_needed=_items_needed(each, by_condition))


def _items_needed(each: Comparison, by_condition: Mapping[str, ItemScores]) -> int | None:
    """Connor's number of items at 5 %; where only the correction stands between, at its level.

    Connor's rests on the normal distribution and may be too small for few items: since those at
    hand have not shown the difference, it takes at least one more.
    """
    if each.difference is None or abs(each.difference) < NO_DIFFERENCE:
        return None
    first, second = by_condition[each.first], by_condition[each.second]
    squares = [(first[item] - second[item]) ** 2 for item in first.keys() & second.keys()]
    discordance = math.fsum(squares) / each.items
    needed = items_for_paired_binary(discordance, each.difference)
    if needed is not None and needed <= each.items:
        alpha = 0.05 / each.family
        needed = items_for_paired_binary(discordance, each.difference, alpha=alpha)
    return None if needed is None else max(needed, each.items + 1)
