"""Correcting p-values for how many questions were asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's step-down adjustment: the chance of any false alarm in the family is held.

    In ascending order p(i) becomes the largest of (m - j + 1) p(j) over j <= i, at most 1. None and
    NaN are undefined: they stay None and do not count in the family's size m. Same order as given;
    no p-values give (). Source: Holm 1979.
    """

    def step_down(ordered: Sequence[float]) -> list[float]:
        m, adjusted, running = len(ordered), [], 0.0
        for rank, p in enumerate(ordered):
            running = max(running, min(1.0, (m - rank) * p))
            adjusted.append(running)
        return adjusted

    return _adjusted(p_values, step_down)


def benjamini_hochberg(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Benjamini and Hochberg's step-up adjustment: the share of false alarms among finds is held.

    In descending order p(i) becomes the smallest of m p(j) / j over j >= i. None and NaN as in
    `holm`. Source: Benjamini & Hochberg 1995.
    """
    return _adjusted(p_values, _step_up)


def benjamini_yekutieli(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Benjamini and Yekutieli's adjustment: as `benjamini_hochberg`, however the tests depend.

    Benjamini and Hochberg's times 1 + 1/2 + ... + 1/m, at most 1. None and NaN as in `holm`.
    Source: Benjamini & Yekutieli 2001.
    """

    def step_up(ordered: Sequence[float]) -> list[float]:
        price = math.fsum(1 / rank for rank in range(1, len(ordered) + 1))
        return [min(1.0, price * p) for p in _step_up(ordered)]

    return _adjusted(p_values, step_up)


def _step_up(ordered: Sequence[float]) -> list[float]:
    m, adjusted, running = len(ordered), [], 1.0
    for rank in range(m, 0, -1):
        running = min(running, m / rank * ordered[rank - 1])
        adjusted.append(running)
    return adjusted[::-1]


def _adjusted(
    p_values: Sequence[float | None], adjust: Callable[[Sequence[float]], list[float]]
) -> tuple[float | None, ...]:
    """Adjust the defined p-values in ascending order and put each back in its place."""
    defined = sorted((p, place) for place, p in enumerate(p_values) if p is not None and p == p)  # noqa: PLR0124 - NaN
    for p, _ in (*defined[:1], *defined[-1:]):
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value lies between 0 and 1, got {p!r}")
    result: list[float | None] = [None] * len(p_values)
    for (_, place), p in zip(defined, adjust([p for p, _ in defined]), strict=True):
        result[place] = p
    return tuple(result)
