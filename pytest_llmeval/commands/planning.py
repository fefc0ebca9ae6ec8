"""How many items a wish for a difference needs, and what so many items can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from pytest_llmeval.commands.pilot import Pair
from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.intervals import wilson
from pytest_llmeval.statistics.power import (
    items_for_paired_binary,
    items_general,
    items_unpaired_binary,
    minimum_detectable_difference,
    minimum_detectable_effect,
    smallest_provable_margin,
)

DISAGREEMENTS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""On what share of the items two conditions may disagree: four are shown where none is known."""

SIZES = (30, 100, 300, 1000, 3000)
"""Numbers of items for the table of what they can show."""

USUAL_SHARE = 0.7
"""How many are right, for the comparison with different items, where no run tells."""


class Rates(TypedDict):
    """Power and level, as the procedures take them."""

    power: float
    alpha: float


@dataclass(frozen=True, slots=True)
class Wish:
    """A difference to be seen, in points, with this power at this level.

    `repeats` is how often each item is asked; None is as often as the pilot run did, or once.
    """

    points: float
    power: float = 0.8
    alpha: float = 0.05
    repeats: int | None = None

    @property
    def difference(self) -> float:
        """The difference of shares."""
        return self.points / 100

    @property
    def rates(self) -> Rates:
        """Its power and level."""
        return {"power": self.power, "alpha": self.alpha}


@dataclass(frozen=True, slots=True)
class Need:
    """How many items show the difference; None where the two disagree too rarely for it.

    Graded scores whose differences do not vary tell nothing of how many: None too.

    `at_best` is their number if all of the disagreement is noise between askings, which repeats
    reduce, and `items` if none is. Where a run has told, and without repeats, both are the same.
    """

    disagreement: float
    items: int | None
    at_best: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """What so many items can show: the smallest difference, and the smallest margin of a gate.

    The difference is None where it would have to be larger than the disagreement; both are where
    graded scores did not vary.
    """

    items: int
    disagreement: float
    difference: float | None
    margin: float | None


@dataclass(frozen=True, slots=True)
class Unpaired:
    """How many items each condition needs if they are asked different ones."""

    first: float
    second: float
    items: int | None


@dataclass(frozen=True, slots=True)
class PairPlan:
    """A pair of a pilot run, what it needs, and what its items can show."""

    pair: Pair
    interval: Interval | None
    need: Need
    reach: Reach
    unpaired: Unpaired | None


# Planning -----------------------------------------------------------------------------------------


def disagreements_of(wish: Wish) -> list[float]:
    """The first four disagreements that allow the difference."""
    return [psi for psi in DISAGREEMENTS if allows(psi, wish)][:4]


def allows(disagreement: float, wish: Wish) -> bool:
    """Whether the difference can be that large; 7 points are a bit more than 0.07."""
    return disagreement > wish.difference - 1e-9


def need_of(wish: Wish, disagreement: float) -> Need:
    """What right or wrong answers need, by Connor's formula; repeats at best by Miller's."""
    difference = wish.difference
    if not allows(disagreement, wish):
        return Need(disagreement, None, None)
    items = items_for_paired_binary(disagreement, difference, **wish.rates)
    if wish.repeats in (None, 1):
        return Need(disagreement, items, items)
    noise = disagreement - difference**2
    return Need(disagreement, items, _with_repeats(wish, 0.0, (noise / 2, noise / 2)))


def reach_of(wish: Wish, disagreement: float, items: int) -> Reach:
    """What so many right or wrong answers can show."""
    difference = minimum_detectable_difference(disagreement, items, **wish.rates)
    return Reach(
        items=items,
        disagreement=disagreement,
        difference=None if difference is None or difference > disagreement else difference,
        margin=smallest_provable_margin(disagreement, items, **wish.rates),
    )


def unpaired_of(wish: Wish, share: float = USUAL_SHARE) -> Unpaired:
    """What different items for each would need, from `share` right upwards, below it at the top."""
    first = min(share, 1 - wish.difference)
    second = first + wish.difference
    return Unpaired(first, second, items_unpaired_binary(first, second, **wish.rates))


def plan_of(wish: Wish, pair: Pair) -> PairPlan:
    """What a pair of a pilot run needs and can show."""
    share = None if None in pair.shares else min(s for s in pair.shares if s is not None)
    graded = pair.disagreed is None
    return PairPlan(
        pair=pair,
        interval=None if pair.disagreed is None else wilson(pair.disagreed, pair.items),
        need=_graded_need(wish, pair) if graded else need_of(wish, pair.disagreement),
        reach=_graded_reach(wish, pair)
        if graded
        else reach_of(wish, pair.disagreement, pair.items),
        unpaired=None if graded or share is None else unpaired_of(wish, share),
    )


def _graded_need(wish: Wish, pair: Pair) -> Need:
    """By Miller's formula; what repeats save is known where the run has asked repeatedly."""
    if pair.variance == 0:
        return Need(pair.disagreement, None, None)
    if pair.noise is None or wish.repeats is None:
        items = items_general(wish.difference, variance=pair.variance, **wish.rates)
        at_best = items
        if pair.noise is None and wish.repeats is not None:
            noise = pair.variance / 2
            at_best = _with_repeats(wish, 0.0, (noise, noise))
    else:
        items = at_best = _with_repeats(
            wish, max(0.0, pair.variance - sum(pair.noise) / pair.repeats), pair.noise
        )
    return Need(pair.disagreement, items, at_best)


def _with_repeats(wish: Wish, variance: float, noise: tuple[float, float]) -> int | None:
    repeats = wish.repeats or 1
    return items_general(
        wish.difference,
        variance=variance,
        noise_first=noise[0],
        noise_second=noise[1],
        repeats_first=repeats,
        repeats_second=repeats,
        **wish.rates,
    )


def _graded_reach(wish: Wish, pair: Pair) -> Reach:
    if pair.variance == 0:
        return Reach(pair.items, pair.disagreement, None, None)
    return Reach(
        items=pair.items,
        disagreement=pair.disagreement,
        difference=minimum_detectable_effect(pair.items, variance=pair.variance, **wish.rates),
        margin=smallest_provable_margin(pair.variance, pair.items, **wish.rates),
    )
