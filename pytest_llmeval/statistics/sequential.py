"""Evidence that may be looked at after every item: it holds whenever one stops.

A test or interval for a fixed number of items is no longer one when somebody looks after every item
and stops at will: McNemar's mid-p, looked at 50 times, is wrong in more than a quarter of all cases
where nothing differs. What is here is made of bets against a hypothesis that nobody can expect to
win if it is true: by Ville's inequality the capital reaches 1 / alpha, ever, with a chance of at
most alpha. Items have to come in random order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite, check_rate, checked_counts

#: A bet risks at most this part of the capital.
TRUNCATION = 0.5

# Two conditions -----------------------------------------------------------------------------------


def e_process(only_first: float, only_second: float) -> float:
    """The evidence against "neither is better", from the discordant items: an e-value at any time.

    E = B(1/2 + b, 1/2 + c) / B(1/2, 1/2) 2^(b + c), the Beta(1/2, 1/2) mixture of all bets on which
    side the next discordant item falls. No discordant item gives 1, and so does one; infinity where
    a float has no room. For graded scores b and c are the sums of the differences in favour of
    either side: (2q)^d <= 1 + d (2q - 1), so that a mean difference of 0 bounds E as well.
    Source: Ville 1939; Robbins 1970; Krichevsky & Trofimov 1981 for the mixture.
    """
    try:
        return math.exp(log_e_process(only_first, only_second))
    except OverflowError:
        return math.inf


def log_e_process(only_first: float, only_second: float) -> float:
    """The natural logarithm of `e_process`."""
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts cannot be negative, got {only_first} and {only_second}")
    return (
        _log_beta(0.5 + only_first, 0.5 + only_second)
        - _log_beta(0.5, 0.5)
        + (only_first + only_second) * math.log(2)
    )


def anytime_p(only_first: float, only_second: float) -> float:
    """The p-value of `e_process` that holds at any time: min(1, 1 / E).

    No discordant item gives 1.
    """
    return min(1.0, math.exp(-log_e_process(only_first, only_second)))


def running_anytime_p(differences: Iterable[float]) -> tuple[float, ...]:
    """The p-value after each item, by the largest E so far, which is as valid and never rises.

    `differences` are first minus second, in [-1, 1], in the order in which the items were asked:
    1, -1 and 0 for scores that are right or wrong. No items give ().
    """
    p, first, second = 1.0, 0.0, 0.0
    found = []
    for difference in differences:
        check_finite([difference])
        first += max(0.0, difference)
        second += max(0.0, -difference)
        p = min(p, anytime_p(first, second))
        found.append(p)
    return tuple(found)


# One mean -----------------------------------------------------------------------------------------


def robbins_interval(successes: int, n: int, alpha: float = 0.05) -> Interval:
    """Robbins' confidence sequence of a proportion: right at every n at once with 1 - alpha.

    All p with B(1 + s, 1 + f) / (p^s (1 - p)^f) < 1 / alpha, for s successes and f failures: the
    uniform mixture of all bets. n = 0 gives no bounds; n = 1 gives [0, 0.975] for a failure and
    [0.025, 1] for a success at alpha = 0.05. Source: Robbins 1970.
    """
    check_rate("alpha", alpha, 0.05)
    successes, n = checked_counts(successes, n)
    if n == 0:
        return Interval(None, None, "robbins", 1 - alpha)

    def low(right: int, wrong: int) -> float:
        return lower_bound(lambda p: log_robbins(p, right, wrong), alpha)

    failures = n - successes
    return Interval(low(successes, failures), 1 - low(failures, successes), "robbins", 1 - alpha)


def betting_interval(
    scores: Sequence[float], alpha: float = 0.05, *, population: int | None = None
) -> Interval:
    """The betting confidence sequence of the mean of scores in [0, 1], shape (n,), in their order.

    All m with max(K+(m), K-(m)) / 2 < 1 / alpha, where K+ = prod 1 + min(l, 1 / 2m) (x - m) and
    K- = prod 1 - min(l, 1 / 2(1 - m)) (x - m) are hedged bets on either side, truncated at a half,
    and l = sqrt(2 log(2 / alpha) / (v t log(1 + t))) with the variance v of the scores before. With
    `population` the scores are drawn without replacement from so many items, and the interval is of
    the mean of these: m becomes the mean of what is left, (N m - sum so far) / (N - t + 1).
    n = 0 gives no bounds; n = 1 gives [0, 1] for any score (with a population, what it leaves
    possible). Raises ValueError outside [0, 1]. Source: Waudby-Smith & Ramdas 2024, whose package
    confseq has log(1 / alpha) in l instead: as valid, and of about the same width.
    """
    check_rate("alpha", alpha, 0.05)
    n = len(scores)
    check_scores(scores)
    if population is not None and population < n:
        raise ValueError(f"{n} scores cannot be drawn from a population of {population}")
    if n == 0:
        return Interval(None, None, "betting", 1 - alpha)
    low = _betting_bound(scores, alpha, population)
    high = 1 - _betting_bound([1 - score for score in scores], alpha, population)
    if population is not None:  # what was seen is certain, and exact once nothing is left
        seen = math.fsum(scores)
        low, high = max(low, seen / population), min(high, (seen + population - n) / population)
    return Interval(low, max(low, high), "betting", 1 - alpha)


def _betting_bound(scores: Sequence[float], alpha: float, population: int | None) -> float:
    log_capital = LogCapital(scores, alpha, population)
    return lower_bound(lambda m: log_capital(m) - math.log(2), alpha)


# Bets ---------------------------------------------------------------------------------------------


def log_robbins(p: float, right: float, wrong: float) -> float:
    """The logarithm of Robbins' capital against "the proportion is at most p".

    Against p itself it is log B(1 + s, 1 + f) - s log p - f log(1 - p), which is smallest at the
    proportion seen; beyond that it stays there, so that it never rises with p. Fractional counts
    are sums of scores in [0, 1], for which it holds too: a^x <= 1 + x (a - 1).
    """
    if not right:
        p = 0.0
    elif right < p * (right + wrong):
        p = right / (right + wrong)
    log_capital = _log_beta(1 + right, 1 + wrong)
    for count, chance in ((right, p), (wrong, 1 - p)):
        if count:
            log_capital += math.inf if chance <= 0 else -count * math.log(chance)
    return log_capital


class Bets:
    """How much is bet on the next score, before truncation; it knows the scores before only."""

    def __init__(self, alpha: float):
        self._reach = 2 * math.log(2 / alpha)
        self._next = 1
        self._sum = 0.5
        self._squares = 0.25

    def place(self, score: float) -> float:
        """The bet that stands when this score comes; learns from it afterwards."""
        t = self._next
        bet = math.sqrt(self._reach / (self._squares * math.log(1 + t)))
        self._next = t + 1
        self._sum += score
        self._squares += (score - self._sum / (t + 1)) ** 2
        return bet


class LogCapital:
    """log K+(m) of some scores as a function of m, which never rises."""

    def __init__(self, scores: Sequence[float], alpha: float, population: int | None = None):
        import numpy as np

        bets = Bets(alpha)
        self._bets = np.array([bets.place(score) for score in scores])
        self._scores = np.asarray(scores, dtype=float)
        self._population = population
        if population is not None:
            self._seen = np.cumsum(self._scores) - self._scores
            self._left = population - np.arange(len(scores))

    def __call__(self, m: float) -> float:
        """The logarithm of the capital won by betting that the mean is above m."""
        import numpy as np

        means = np.asarray(m, dtype=float)
        if self._population is not None:
            means = (self._population * m - self._seen) / self._left
            if (means < -1e-12).any():  # so much has been seen already: no such mean is possible
                return math.inf
            means = np.clip(means, 0, 1)  # above 1 it is the other side's to exclude
        with np.errstate(divide="ignore", over="ignore"):  # nothing truncates a bet against 0
            bets = np.minimum(self._bets, TRUNCATION / means)
        return float(np.log1p(bets * (self._scores - means)).sum())


def lower_bound(log_capital: Callable[[float], float], alpha: float) -> float:
    """The smallest m in [0, 1] that a capital which never rises with m does not exclude."""
    limit = math.log(1 / alpha)
    if log_capital(0.0) < limit:
        return 0.0
    low, high = 0.0, 1.0  # excluded at `low`, not at `high`: there nothing can be won
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if log_capital(middle) < limit:
            high = middle
        else:
            low = middle


def check_scores(scores: Sequence[float]) -> None:
    """Raise ValueError for a score outside [0, 1], and for NaN and None."""
    for score in scores:
        if score is None or not 0 <= score <= 1:
            raise ValueError(f"scores lie between 0 and 1, got {score!r}; rescale them first")


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
