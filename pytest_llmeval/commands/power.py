"""`llmeval power`: how many items show a difference, and what the items at hand can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from pytest_llmeval.commands.pilot import Pair
from pytest_llmeval.records import Interval
from pytest_llmeval.results.wording import bounds, counted, pair_label, percent, visible
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

    `at_best` is their number if all of the disagreement is noise between askings, which repeats
    reduce, and `items` if none is. Where a run has told, and without repeats, both are the same.
    """

    disagreement: float
    items: int | None
    at_best: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """What so many items can show: the smallest difference, and the smallest margin of a gate.

    The difference is None where it would have to be larger than the disagreement.
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
    return [psi for psi in DISAGREEMENTS if _allows(psi, wish)][:4]


def _allows(disagreement: float, wish: Wish) -> bool:
    """Whether the difference can be that large; 7 points are a bit more than 0.07."""
    return disagreement > wish.difference - 1e-9


def need_of(wish: Wish, disagreement: float) -> Need:
    """What right or wrong answers need, by Connor's formula; repeats at best by Miller's."""
    difference = wish.difference
    if not _allows(disagreement, wish):
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
    return Reach(
        items=pair.items,
        disagreement=pair.disagreement,
        difference=minimum_detectable_effect(pair.items, variance=pair.variance, **wish.rates),
        margin=smallest_provable_margin(pair.variance, pair.items, **wish.rates),
    )


# Words --------------------------------------------------------------------------------------------


def problem_of(wish: Wish, disagreement: float | None) -> str:
    """What is wrong with a question, in words; "" when it can be answered."""
    if wish.points == 0:
        return "no number of items shows a difference of 0 points: give --points 2, or 0.5"
    if not 0 < wish.points <= 100:
        return f"--points lies between 0 and 100, such as 2; got {wish.points:g}"
    for name, value, usual in (("power", wish.power, 0.8), ("alpha", wish.alpha, 0.05)):
        if not 0 < value < 1:
            return f"--{name} lies between 0 and 1, such as {usual}; got {value:g}"
    if disagreement is None:
        return ""
    if not 0 < disagreement <= 1:
        return f"--disagreement is a share of the items, such as 0.1; got {disagreement:g}"
    if not _allows(disagreement, wish):
        return (
            f"two conditions that disagree on {percent(disagreement)} % of the items cannot differ "
            f"by {_points(wish.difference)}: raise --disagreement or lower --points"
        )
    return ""


def general_lines(wish: Wish, disagreements: Sequence[float]) -> Iterator[str]:
    """Say what a question needs where no run tells how often two conditions disagree."""
    needs = [need_of(wish, psi) for psi in disagreements]
    yield f"To see a difference of {_wish_words(wish)}:"
    yield ""
    yield "the same items asked of both conditions, by how often they disagree (Connor)"
    yield _row("disagree", [f"{percent(psi)} %" for psi in disagreements])
    yield _row("items", [_count(need.items) for need in needs])
    if wish.repeats not in (None, 1):
        yield _row("at best", [_count(need.at_best) for need in needs])
        yield (
            f"  at best: {wish.repeats} repeats, all disagreement being noise between askings, "
            "of which\n  temperature 0 has none"
        )
    yield ""
    other = unpaired_of(wish)
    shares = f"{percent(other.first)} against {percent(other.second)} % right"
    yield f"different items for each, {shares} (Fleiss)"
    yield _row("items", [f"{_count(other.items)} each"])
    yield ""
    yield "What so many items can show: the smallest difference, in points, and in brackets"
    yield "the smallest margin that a gate not_worse_than can prove if nothing changed"
    yield _row("disagree", [f"{percent(psi)} %" for psi in disagreements])
    for items in SIZES:
        reaches = [reach_of(wish, psi, items) for psi in disagreements]
        yield _row(
            f"{items:,}", [f"{_figure(r.difference)} ({_figure(r.margin)})" for r in reaches]
        )


def pilot_lines(wish: Wish, run: str, plans: Sequence[PairPlan]) -> Iterator[str]:
    """Say what each pair of a pilot run needs and what its items can show."""
    yield f"To see a difference of {_wish_words(wish)}, by what {run} tells:"
    for plan in plans:
        pair = plan.pair
        label = pair_label(pair.first, pair.second, "against")
        yield ""
        yield visible(f"{pair.suite}, {pair.scorer}: {label}")
        yield f"  {_pair_words(plan)}"
        yield f"  {_points(wish.difference)}: {_need_words(wish, plan)}"
        if plan.pair.disagreement > 0:
            yield (
                f"  these {pair.items:,} items: show {_figure(plan.reach.difference)} points, "
                f"prove a gate's margin of {_figure(plan.reach.margin)} points"
            )
        if plan.unpaired is not None:
            yield f"  different items for each: {_count(plan.unpaired.items)} each"


def general_json(wish: Wish, disagreements: Sequence[float]) -> dict[str, Any]:
    """What `general_lines` says as plain data, unrounded. What cannot be is null."""
    return {
        "wish": asdict(wish),
        "needs": [asdict(need_of(wish, psi)) for psi in disagreements],
        "unpaired": asdict(unpaired_of(wish)),
        "reach": [asdict(reach_of(wish, psi, n)) for n in SIZES for psi in disagreements],
    }


def pilot_json(wish: Wish, run: str, plans: Sequence[PairPlan]) -> dict[str, Any]:
    """What `pilot_lines` says as plain data, unrounded."""
    return {"wish": asdict(wish), "run": run, "pairs": [asdict(plan) for plan in plans]}


def _pair_words(plan: PairPlan) -> str:
    pair = plan.pair
    if plan.interval is None:
        asked = "" if pair.repeats == 1 else f", asked {pair.repeats} times"
        return f"{pair.items:,} items{asked}: differences spread by {_points(pair.variance**0.5)}"
    share = f"{percent(pair.disagreement)} %, Wilson {bounds(plan.interval)}"
    return f"{pair.items:,} items: disagree on {pair.disagreed:,} ({share})"


def _need_words(wish: Wish, plan: PairPlan) -> str:
    need = plan.need
    if need.items is None:
        return "more than they disagree; plan with --disagreement"
    repeats = wish.repeats or plan.pair.repeats
    how = "" if repeats == 1 else f", {repeats} repeats each"
    if need.at_best == need.items:
        return f"{counted(need.items, 'item')}{how}"
    return f"{_count(need.at_best)} items{how}, if they disagree by noise only, to {need.items:,}"


def _wish_words(wish: Wish) -> str:
    return f"{_points(wish.difference)} with {100 * wish.power:g} % power at {100 * wish.alpha:g} %"


def _row(head: str, cells: Sequence[str]) -> str:
    return f"  {head:>8}" + "".join(cell.rjust(max(14, len(cell) + 2)) for cell in cells)


def _count(items: int | None) -> str:
    return "-" if items is None else f"{items:,}"


def _figure(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _points(share: float) -> str:
    figure = f"{100 * share:.3g}"
    return f"{figure} point{'' if figure == '1' else 's'}"
