"""What is decided while items are still being asked, and what is said of it afterwards.

For suites that stop when everything is decided. The rules are fed item by item, in the order in
which items are asked; the figures at the end look at the same items in the same order, so that they
say what the rules have decided. An item counts once: its repeats are averaged.

A mean's evidence is Robbins' while every item was right or wrong. From the first item on that was
neither, it grows by the bets of Waudby-Smith & Ramdas, which know the variance: two fair games, one
after the other, are a fair game, so that nothing has to be corrected for the change.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from pytest_llmeval.records import Comparison, Evidence, GateVerdict, Interval, Metric
from pytest_llmeval.statistics.gates import Decision
from pytest_llmeval.statistics.metrics import Judged, mean_of_items
from pytest_llmeval.statistics.multiplicity import holm
from pytest_llmeval.statistics.sequential import (
    TRUNCATION,
    Bets,
    LogCapital,
    anytime_p,
    betting_interval,
    check_scores,
    log_robbins,
    lower_bound,
    robbins_interval,
    running_anytime_p,
)

E_PROCESS = "e-process"
"""The name of the test of two conditions."""

Values = Sequence[float | None]
"""What one scorer made of each repeat of an item; None where there was no outcome."""


# One mean -----------------------------------------------------------------------------------------


class Winnings:
    """What a gambler has won by betting that a mean lies above `m`, score by score, as a log."""

    def __init__(self, m: float, alpha: float):
        self._m = m
        self._bets = Bets(alpha)
        self._right = self._wrong = 0.0
        self._won: float | None = None

    def add(self, score: float) -> None:
        """Settle the bet on the next score."""
        if self._won is not None:
            bet = self._bets.place(score)
            if self._m > 0:
                bet = min(bet, TRUNCATION / self._m)
            self._won += math.log1p(bet * (score - self._m))
            return
        self._right += score
        self._wrong += 1 - score
        if score not in (0.0, 1.0):
            self._won = -math.log(2)  # half of the capital goes to either side

    @property
    def log(self) -> float:
        """The logarithm of the capital; 0 before the first score."""
        return log_robbins(self._m, self._right, self._wrong) + (self._won or 0.0)


def anytime_interval(scores: Sequence[float], alpha: float) -> Interval:
    """The confidence sequence of the mean of scores in [0, 1], shape (n,), in their order.

    Scores that are all right or wrong: `robbins_interval`. Others: its capital up to and with the
    first that is neither, times that of `betting_interval` on the rest. n = 0 gives no bounds; n =
    1 gives Robbins' for a score of 0 or 1. Raises ValueError outside [0, 1].
    """
    check_scores(scores)
    if all(score in (0.0, 1.0) for score in scores):
        return robbins_interval(int(sum(scores)), len(scores), alpha)
    low = _mixed_bound(scores, alpha)
    high = 1 - _mixed_bound([1 - score for score in scores], alpha)
    return Interval(low, max(low, high), "betting", 1 - alpha)


def _mixed_bound(scores: Sequence[float], alpha: float) -> float:
    between = (place for place, score in enumerate(scores, 1) if score not in (0.0, 1.0))
    begin = next(between, len(scores))
    right = sum(scores[:begin])
    log_capital = LogCapital(scores[begin:], alpha)
    return lower_bound(
        lambda m: log_robbins(m, right, begin - right) + log_capital(m) - math.log(2), alpha
    )


class GateRule:
    """Decides "the mean is at least `threshold`", item by item.

    It passes when the confidence sequence lies above the threshold and fails when it lies below;
    either is wrong, ever, with a chance of at most `alpha`. What has no outcome counts against both
    verdicts: as wrong for a pass, as right for a fail.
    """

    def __init__(self, threshold: float, alpha: float):
        self._threshold = threshold
        self._limit = math.log(1 / alpha)
        self._above = Winnings(threshold, alpha)
        self._below = Winnings(1 - threshold, alpha)
        self.items = 0
        self.verdict: GateVerdict = "inconclusive"

    def add(self, values: Values) -> bool:
        """Take in the next item; True when it is decided, and then it stays so."""
        if self.verdict == "inconclusive":
            self.items += 1
            self._above.add(filled(values, 0.0))
            self._below.add(1 - filled(values, 1.0))
            if self._above.log >= self._limit or self._threshold == 0:
                self.verdict = "pass"
            elif self._below.log >= self._limit:
                self.verdict = "fail"
        return self.verdict != "inconclusive"


def filled(values: Values, missing: float) -> float:
    """The mean of an item, with `missing` in place of what has no outcome."""
    return math.fsum(missing if value is None else value for value in values) / len(values)


def at_least_anytime(
    metric: Metric, threshold: float, scores: Sequence[Judged], alpha: float
) -> Decision:
    """Decide, as `GateRule` does, whether a condition's mean is at least a threshold.

    `scores` are those the metric was measured from, in the order in which the items were asked. A
    verdict stands from the first item on that decided it, and its bound is the one at that item.
    """
    items = _in_order(scores)
    rule = GateRule(threshold, alpha)
    for values in items:
        if rule.add(values):
            break
    if rule.verdict == "inconclusive":
        why = _open(metric)
    else:
        why = _decided(rule.verdict, items[: rule.items], alpha)
    evidence = Evidence(metric.mean, metric.interval, metric.items)
    return Decision(rule.verdict, f"at least {threshold:g}: {why}", evidence)


def _in_order(scores: Sequence[Judged]) -> list[list[float | None]]:
    items: dict[str, list[float | None]] = {}
    for item, _, score in scores:
        items.setdefault(item, []).append(score.value)
    return list(items.values())


def _decided(verdict: GateVerdict, items: Sequence[Values], alpha: float) -> str:
    """The bound that decided, rounded so that it does not look better than it is."""
    missing = sum(value is None for values in items for value in values)
    assumed = 0.0 if verdict == "pass" else 1.0
    means = [filled(values, assumed) for values in items]
    interval = anytime_interval(means, alpha)
    assert interval.low is not None
    assert interval.high is not None
    if verdict == "pass":
        bound = f"lower bound {math.floor(interval.low * 1000 + 1e-9) / 1000:.3f}"
    else:
        bound = f"upper bound {math.ceil(interval.high * 1000 - 1e-9) / 1000:.3f}"
    told = f"{bound}, mean {math.fsum(means) / len(means):.3f}, decided after {len(items):,} items"
    counted = f" ({missing:,} without an outcome counted {'right' if assumed else 'wrong'})"
    return told + (counted if missing else "")


def _open(metric: Metric) -> str:
    low, high = metric.interval.low, metric.interval.high
    if metric.mean is None or low is None or high is None:
        return "nothing was answered"
    told = f"{metric.mean:.3f} [{low:.3f}, {high:.3f}], {metric.items:,} items leave it open"
    missing = metric.trials - metric.answered
    counted = f" ({missing:,} of {metric.trials:,} trials without an outcome count against it)"
    return told + (counted if missing else "")


# Two conditions -----------------------------------------------------------------------------------


class PairRule:
    """Decides whether two conditions differ, item by item; it never decides that they do not.

    By the e-process on the items that both have an outcome for. `family` pairs are looked at side
    by side, and each gets its part of `alpha`: Bonferroni's split lets a pair be decided on its own
    items alone, however far the others are. (Holm's, at the end, can only add to what it finds.)
    """

    def __init__(self, alpha: float, family: int):
        self._alpha = alpha
        self._family = family
        self._first = self._second = 0.0
        self.decided = False

    def add(self, first: Values, second: Values) -> bool:
        """Take in the next item; True when it is decided, and then it stays so."""
        one, other = _mean(first), _mean(second)
        if not self.decided and one is not None and other is not None:
            self._first += max(0.0, one - other)
            self._second += max(0.0, other - one)
            p = anytime_p(self._first, self._second)
            self.decided = self._family * p < self._alpha
        return self.decided


def _mean(values: Values) -> float | None:
    return mean_of_items([[value] for value in values if value is not None])


def compare_anytime(
    suite: str,
    scorer: str,
    by_condition: Mapping[str, Mapping[str, float | None]],
    alpha: float,
    *,
    binary: Collection[str],
) -> tuple[Comparison, ...]:
    """Compare every two conditions such that one may have stopped at any item.

    `by_condition` gives the score of each item that was asked, in [0, 1], the mean of its repeats,
    None where it has no outcome, in the order in which the items were asked. The p is that of the
    e-process at its largest, the correction Holm's, the interval that of betting on
    (1 + difference) / 2: procedures of their own, so that the interval of a real difference may
    reach 0. `binary` names the conditions whose items were asked once and are 0 or 1. Dropped are
    items that both were asked and only one has answered. No common item: difference, bounds and p
    are None. Otherwise as `compare_all`.
    """
    pairs = list(combinations(sorted(by_condition), 2))
    return compare_pairs_anytime(suite, scorer, by_condition, pairs, alpha, binary=binary)


def compare_pairs_anytime(
    suite: str,
    scorer: str,
    by_condition: Mapping[str, Mapping[str, float | None]],
    named: Sequence[tuple[str, str]],
    alpha: float,
    *,
    binary: Collection[str],
) -> tuple[Comparison, ...]:
    """Compare the named pairs, first and second as they are named; the rest as `compare_anytime`.

    The family of the correction is these pairs; items are taken in the order of the first.
    """
    found = [_compared(suite, scorer, pair, by_condition, alpha, binary) for pair in named]
    adjusted = holm([each.p for each in found])
    family = sum(p is not None for p in adjusted)
    return tuple(
        replace(each, p_adjusted=p, correction="holm", family=family)
        for each, p in zip(found, adjusted, strict=True)
    )


def _compared(
    suite: str,
    scorer: str,
    names: tuple[str, str],
    by_condition: Mapping[str, Mapping[str, float | None]],
    alpha: float,
    binary: Collection[str],
) -> Comparison:
    first, second = (by_condition[name] for name in names)
    both = [(score, second[item]) for item, score in first.items() if item in second]
    differences = [one - other for one, other in both if one is not None and other is not None]
    n = len(differences)
    is_binary = set(names) <= set(binary)
    return Comparison(
        suite=suite,
        scorer=scorer,
        first=names[0],
        second=names[1],
        items=n,
        dropped=sum((one is None) != (other is None) for one, other in both),
        difference=math.fsum(differences) / n if n else None,
        interval=anytime_difference(differences, alpha),
        test=E_PROCESS,
        p=running_anytime_p(differences)[-1] if n else None,
        p_adjusted=None,
        correction="",
        family=0,
        only_first=sum(d > 0 for d in differences) if is_binary else None,
        only_second=sum(d < 0 for d in differences) if is_binary else None,
        alpha=alpha,
    )


def anytime_difference(differences: Sequence[float], alpha: float) -> Interval:
    """The confidence sequence of a mean difference: that of betting on (1 + difference) / 2.

    `differences` in [-1, 1], in the order in which the items were asked; none give no bounds.
    """
    interval = betting_interval([(1 + d) / 2 for d in differences], alpha)
    if interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=2 * interval.low - 1, high=2 * interval.high - 1)
