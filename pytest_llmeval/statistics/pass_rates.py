"""What repeated askings of a problem say: pass@k, pass^k, and how flaky it may still be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_level, whole
from pytest_llmeval.statistics.intervals import scaled_wilson


@dataclass(frozen=True, slots=True)
class PassRate:
    """The mean of pass@k or pass^k over problems; `mean` is None without any."""

    k: int
    problems: int
    mean: float | None
    interval: Interval


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k askings is right, unbiased from c right of n askings.

    1 - C(n - c, k) / C(n, k). n = 1 gives c. Raises ValueError for k < 1, for k > n (n askings say
    nothing about more than n; n = 0 says nothing at all) and for c outside 0 to n.
    Source: Chen et al. 2021, "Evaluating large language models trained on code".
    """
    n, c, k = _checked(n, c, k)
    # From whole numbers, so that a chance near 0 is not what a subtraction from 1 has left.
    return (math.comb(n, k) - math.comb(n - c, k)) / math.comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """The chance that all of k askings are right (pass^k), unbiased from c right of n askings.

    C(c, k) / C(n, k). n = 1 gives c. Raises ValueError as `pass_at_k`.
    Source: Yao et al. 2024, "tau-bench".
    """
    n, c, k = _checked(n, c, k)
    return math.comb(c, k) / math.comb(n, k)


def mean_pass_at_k(problems: Sequence[tuple[int, int]], k: int, level: float = 0.95) -> PassRate:
    """The mean of `pass_at_k` over problems, each (n, c): so many askings, so many right.

    The problem is the cluster: askings of one problem are no independent items, so that the
    interval rests on one value a problem. It is the scaled Wilson interval, because these values
    lie in [0, 1] and crowd at 0 and 1, where a t interval is too short or of width 0; with n = 1
    asking each it is Wilson's. No problems give no mean and no bounds.
    """
    return _mean(pass_at_k, problems, k, level)


def mean_pass_hat_k(problems: Sequence[tuple[int, int]], k: int, level: float = 0.95) -> PassRate:
    """The mean of `pass_hat_k` over problems; otherwise as `mean_pass_at_k`."""
    return _mean(pass_hat_k, problems, k, level)


def flaky_upper_bound(fails: int, repeats: int, level: float = 0.95) -> float | None:
    """How often an item may fail in truth, of which `fails` of `repeats` askings failed.

    The one-sided Clopper-Pearson bound, B(level; fails + 1, repeats - fails): 0 of 20 still allows
    13.9 %. All failed gives 1; repeats = 0 gives None; 0 of 1 gives 0.95.
    Source: Clopper & Pearson 1934.
    """
    fails, repeats = whole(fails), whole(repeats)
    if not 0 <= fails <= repeats:
        raise ValueError(f"fails lie between 0 and the repeats, got {fails} of {repeats}")
    check_level(level)
    if repeats == 0:
        return None
    if fails == repeats:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(fails + 1, repeats - fails, level))


def _mean(
    rate: Callable[[int, int, int], float],
    problems: Sequence[tuple[int, int]],
    k: int,
    level: float,
) -> PassRate:
    values = [rate(n, c, k) for n, c in problems]
    mean = math.fsum(values) / len(values) if values else None
    return PassRate(k, len(values), mean, scaled_wilson(values, level))


def _checked(n: int, c: int, k: int) -> tuple[int, int, int]:
    n, c, k = whole(n), whole(c), whole(k)
    if not 0 <= c <= n:
        raise ValueError(f"right askings lie between 0 and all, got {c} of {n}")
    if not 1 <= k <= n:
        raise ValueError(
            f"k lies between 1 and the number of askings, got k = {k} for {n}; ask more often, "
            "or take a smaller k"
        )
    return n, c, k
