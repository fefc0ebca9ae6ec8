"""A measured rate, and what is promised of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Question = Literal[
    "coverage of shares",
    "coverage of means",
    "mcnemar",
    "sign-flip",
    "real",
    "gate",
    "graded gate",
    "shaped gate",
]

SIZES = (10, 30, 100, 1000)
"""Numbers of items."""

LEAST_COVERAGE = 0.945
"""Of the default intervals at 95 %, on average."""

MOST_ERRORS = 0.055
"""Of every test and gate at 5 %."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened with so many items, and what is promised of it.

    `at_least` and `at_most` are None where nothing is promised. `simulations` is None where the
    rate is exact.
    """

    question: Question
    method: str
    items: int
    setting: str
    rate: float
    at_least: float | None = None
    at_most: float | None = None
    simulations: int | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        if self.at_least is not None:
            return self.rate >= self.at_least
        return None if self.at_most is None else self.rate <= self.at_most
