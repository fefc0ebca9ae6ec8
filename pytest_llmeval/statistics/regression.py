"""Whether a condition got worse than it was, by more than a margin."""

from __future__ import annotations

from pytest_llmeval.records import GateVerdict
from pytest_llmeval.statistics.paired import mcnemar_midp, tango_interval


def not_worse_verdict(only_now: int, only_before: int, n: int, margin: float) -> GateVerdict:
    """Decide on n items asked before and now, whether now is worse by `margin` or more.

    `only_now` items are right now and were not before, `only_before` the other way round; the
    difference d is now minus before. By Tango's 90 % interval (two one-sided 5 %): pass when its
    lower bound lies above -margin; fail when its upper bound lies below -margin, and also when
    d <= -margin with a one-sided mid-p below 5 %; else inconclusive. No item changed: no_change.
    n = 0 is inconclusive. Raises ValueError for a margin outside (0, 1].
    Source: Tango 1998; Fagerland, Lydersen & Laake 2013.
    """
    if not 0 < margin <= 1:
        raise ValueError(f"a margin is above 0 and at most 1, as 0.03 for 3 points; got {margin}")
    interval = tango_interval(only_now, only_before, n, level=0.9)
    if interval.low is None or interval.high is None:
        return "inconclusive"
    if only_now == only_before == 0:
        return "no_change"
    if interval.low > -margin:
        return "pass"
    lost = (only_now - only_before) / n <= -margin
    # Half the two-sided mid-p is the one-sided of the side that lost.
    if interval.high < -margin or (lost and mcnemar_midp(only_now, only_before) / 2 < 0.05):
        return "fail"
    return "inconclusive"
