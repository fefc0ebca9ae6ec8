"""Whether scores have become worse than they were, by more than chance explains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.comparisons import MID_P, SIGN_FLIP, graded_interval
from pytest_llmeval.statistics.paired import (
    NO_DIFFERENCE,
    mcnemar_midp,
    sign_flip_test,
    tango_interval,
)

LEVEL = 0.9
"""Two-sided; each bound by itself is wrong in 5 % of cases."""

ALPHA = 0.05
"""The one-sided level."""


@dataclass(frozen=True, slots=True)
class Decline:
    """The same items then and now. `difference` is now minus then, `p` that of no decline.

    `is_worse` is the decision. With no items there is no difference and no p.
    """

    items: int
    difference: float | None
    interval: Interval
    test: str
    p: float | None
    is_worse: bool


def decline(then: Mapping[str, float], now: Mapping[str, float], margin: float = 0.0) -> Decline:
    """Decide whether `now` is worse than `then`, by at least `margin`, paired by item.

    Scores lie in [0, 1]. Worse means that the one-sided test says so at 5 %, and that the
    difference reaches -margin. The test is McNemar's mid-p for right and wrong, else the sign-flip
    test; one-sided p is half the two-sided one on the side of the difference. The interval beside
    it is Tango's at 90 %, for graded scores the paired t interval (where all differences are the
    same, scaled Wilson stretched to [-1, 1]). Items of one side only count nowhere. One item alone
    is never worse; of right and wrong items, 4 of 4 that are lost are, 3 of 3 are not.
    Source: Fagerland, Lydersen & Laake 2013 for mid-p; Tango 1998 for the interval.

    Raises:
        ValueError: a margin outside [0, 1).

    """
    if not 0 <= margin < 1:
        raise ValueError(f"a margin is a share from 0 to below 1, such as 0.02; got {margin!r}")
    items = sorted(then.keys() & now.keys())
    if not items:
        return Decline(0, None, Interval(None, None, "", LEVEL), "", None, is_worse=False)
    differences = [now[item] - then[item] for item in items]
    is_binary = all(scores[item] in (0, 1) for scores in (then, now) for item in items)
    difference = math.fsum(differences) / len(items)
    if is_binary:
        won = sum(each > 0 for each in differences)
        lost = sum(each < 0 for each in differences)
        interval, test = tango_interval(won, lost, len(items), LEVEL), MID_P
        two_sided = mcnemar_midp(won, lost)
    else:
        interval, test = graded_interval(differences, LEVEL), SIGN_FLIP
        two_sided = sign_flip_test(differences) or 1.0
    p = two_sided / 2 if difference < 0 else 1 - two_sided / 2
    # Two differences in points may be the same and not quite equal as floats.
    is_worse = p < ALPHA and difference <= NO_DIFFERENCE - margin
    return Decline(len(items), difference, interval, test, p, is_worse)
