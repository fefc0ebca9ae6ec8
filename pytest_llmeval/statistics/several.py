"""More than two conditions on the same items: whether there is any difference at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pytest_llmeval.statistics.checks import check_finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Rows = Sequence[Sequence[float | None]]
"""For every item its score under each condition; None where it has none."""


@dataclass(frozen=True, slots=True)
class Omnibus:
    """One test of all conditions together. `dropped` items lack an answer under some condition.

    `statistic` and `p` are None when no item, or no item on which conditions differ, is left.
    """

    test: str
    statistic: float | None
    degrees: int
    p: float | None
    items: int
    dropped: int


def cochran_q(scores: Rows) -> Omnibus:
    """Cochran's Q of scores that are 0 or 1, shape (n items, k conditions).

    Q = (k - 1) (k sum C_j^2 - N^2) / (k N - sum R_i^2), with C_j right under condition j, R_i under
    how many item i was right, N right in all; chi-square with k - 1 degrees of freedom. Items that
    are right, or wrong, everywhere change nothing. Raises ValueError for fewer than two conditions
    and for scores other than 0 and 1. Source: Cochran 1950.
    """
    rows, dropped = _complete(scores)
    if not ((rows == 0) | (rows == 1)).all():
        raise ValueError("cochran_q takes scores that are 0 or 1; friedman takes graded ones")
    k = rows.shape[1]
    columns, items = rows.sum(axis=0), rows.sum(axis=1)
    total = float(items.sum())
    scatter = float(k * (columns**2).sum()) - total**2
    spread = k * total - float((items**2).sum())
    return _tested("cochran q", (k - 1) * scatter, spread, rows, dropped)


def friedman(scores: Rows) -> Omnibus:
    """Friedman's test of graded scores, shape (n items, k conditions), corrected for ties.

    The scores of each item are ranked, ties at their mean rank r; with R_j the rank sum of
    condition j, (k - 1) sum (R_j - n (k + 1) / 2)^2 / (sum r^2 - n k (k + 1)^2 / 4), chi-square
    with k - 1 degrees of freedom. Items with equal scores everywhere are all tie. Raises ValueError
    for fewer than two conditions. Source: Friedman 1937; Conover 1999 for the ties.
    """
    rows, dropped = _complete(scores)
    k = rows.shape[1]
    above = (rows[:, :, None] > rows[:, None, :]).sum(axis=2)
    equal = (rows[:, :, None] == rows[:, None, :]).sum(axis=2)
    ranks = above + (equal - k) / 2  # counted from the middle rank, (k + 1) / 2
    scatter = (k - 1) * float((ranks.sum(axis=0) ** 2).sum())
    return _tested("friedman", scatter, float((ranks**2).sum()), rows, dropped)


def _complete(scores: Rows) -> tuple[NDArray[np.float64], int]:
    """The items that have a score under every condition, and how many have not."""
    import numpy as np

    widths = sorted({len(row) for row in scores})
    if len(widths) > 1 or (widths and widths[0] < 2):
        message = "every item has scores for the same two conditions or more"
        raise ValueError(f"{message}, got rows of {widths}")
    complete = [row for row in scores if all(score is not None for score in row)]
    for row in complete:
        check_finite(cast(Sequence[float], row))
    array = np.array(complete, dtype=float).reshape(len(complete), *widths or [0])
    return array, len(scores) - len(complete)


def _tested(
    test: str, scatter: float, spread: float, rows: NDArray[np.float64], dropped: int
) -> Omnibus:
    """The quotient as chi-square, if there is one."""
    from scipy.special import chdtrc

    n, k = rows.shape
    degrees = max(0, k - 1)
    statistic = scatter / spread if spread > 0 else None
    p = None if statistic is None else float(chdtrc(degrees, statistic))
    return Omnibus(test, statistic, degrees, p, n, dropped)
