"""Whether two conditions are as good as the same: two one-sided tests (TOST)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.checks import check_finite, check_rate, whole
from pytest_llmeval.statistics.intervals import mean_and_variance, variance_ratio
from pytest_llmeval.statistics.paired import (
    NO_DIFFERENCE,
    paired_t_interval,
    tango_interval,
    tango_statistic,
)
from pytest_llmeval.statistics.stretched import stretched_wilson


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests of a difference lying between -margin and margin.

    `p_above` tests against "at or below -margin", `p_below` against "at or above margin"; None when
    not defined. `interval` is that of the difference at level 1 - 2 alpha, 90 % by default.
    """

    n: int
    margin: float
    difference: float | None
    interval: Interval
    test: str
    p_above: float | None
    p_below: float | None
    alpha: float = 0.05

    @property
    def p(self) -> float | None:
        """The larger of the two."""
        if self.p_above is None or self.p_below is None:
            return None
        return max(self.p_above, self.p_below)

    @property
    def equivalent(self) -> bool:
        """Both one-sided tests are significant."""
        return self.p is not None and self.p < self.alpha


def tost_paired_binary(
    only_first: int, only_second: int, n: int, margin: float, *, alpha: float = 0.05
) -> Equivalence:
    """Test whether two conditions on the same n items, right or wrong, differ by less than margin.

    By Tango's score statistic T: p_above = P(Z >= T(-margin)), p_below = P(Z <= T(margin)), so that
    both are below alpha exactly when Tango's interval lies within the margins. n = 0 gives no p;
    n = 1 can show nothing. Raises ValueError unless 0 < margin < 1.
    Source: Schuirmann 1987; Tango 1998; Liu, Hsueh, Hsieh & Chen 2002.
    """
    _check(margin, alpha)
    only_first, only_second, n = whole(only_first), whole(only_second), whole(n)
    if margin >= 1:
        raise ValueError(
            f"the margin of a difference of shares lies below 1, such as 0.02 for 2 points; "
            f"got {margin}"
        )
    interval = tango_interval(only_first, only_second, n, level=1 - 2 * alpha)
    if n == 0:
        return Equivalence(0, margin, None, interval, "tost score", None, None, alpha)
    standard = NormalDist()
    return Equivalence(
        n=n,
        margin=margin,
        difference=(only_first - only_second) / n,
        interval=interval,
        test="tost score",
        p_above=standard.cdf(-tango_statistic(-margin, only_first, only_second, n)),
        p_below=standard.cdf(tango_statistic(margin, only_first, only_second, n)),
        alpha=alpha,
    )


def tost_paired(differences: Sequence[float], margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Test whether real paired differences, shape (n,), have a mean between -margin and margin.

    By Student's t on n - 1 degrees of freedom: p_above = P(T >= (d + margin) / se), p_below =
    P(T <= (d - margin) / se). Where all differences are the same, se is 0 and t would give p = 0
    for three items. They say little of items not seen: with differences and margin in [-1, 1] the
    scaled Wilson interval, stretched to it, decides instead, and p is where it would reach the
    margin; beyond 1 nothing bounds what was not seen, and there is no p. n = 0 and n = 1 give no p.
    Raises ValueError unless margin > 0, and for what is not finite.
    Source: Schuirmann 1987; Wilson 1927.
    """
    _check(margin, alpha)
    check_finite(differences)
    n, level = len(differences), 1 - 2 * alpha
    none = Interval(None, None, "paired t", level)
    if n < 2:
        mean = differences[0] if n else None
        return Equivalence(n, margin, mean, none, "tost t", None, None, alpha)
    mean, variance = mean_and_variance(differences)
    if max(differences) - min(differences) <= NO_DIFFERENCE:
        if max(map(abs, differences)) > 1 or margin >= 1:
            return Equivalence(n, margin, mean, none, "tost t", None, None, alpha)
        return _tost_wilson(differences, mean, margin, alpha)
    from scipy.special import stdtr

    error = math.sqrt(variance / n)
    above = float(stdtr(n - 1, -(mean + margin) / error))
    below = float(stdtr(n - 1, (mean - margin) / error))
    interval = paired_t_interval(differences, level)
    return Equivalence(n, margin, mean, interval, "tost t", above, below, alpha)


def _tost_wilson(
    differences: Sequence[float], mean: float, margin: float, alpha: float
) -> Equivalence:
    """By the score statistic that the stretched Wilson interval inverts."""
    n = len(differences)
    effective = n * variance_ratio([(1 + difference) / 2 for difference in differences])
    # The standard deviation of one of so many items that move by 1 either way, at the margin.
    error = math.sqrt((1 - margin**2) / effective)
    standard = NormalDist()
    return Equivalence(
        n=n,
        margin=margin,
        difference=mean,
        interval=stretched_wilson(differences, 1 - 2 * alpha),
        test="tost scaled wilson",
        p_above=standard.cdf(-(mean + margin) / error),
        p_below=standard.cdf((mean - margin) / error),
        alpha=alpha,
    )


def _check(margin: float, alpha: float) -> None:
    check_rate("alpha", alpha, 0.05)
    if not 0 < margin < math.inf:
        raise ValueError(
            f"a margin is the largest difference that does not matter and larger than 0; got "
            f"{margin}. No number of items shows that there is no difference at all"
        )
