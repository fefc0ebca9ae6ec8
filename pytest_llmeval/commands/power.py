"""`llmeval power`: how many items show a difference, and what the items at hand can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pytest_llmeval.commands.planning import (
    SIZES,
    PairPlan,
    Wish,
    allows,
    need_of,
    reach_of,
    unpaired_of,
)
from pytest_llmeval.results.pairs import pair_label
from pytest_llmeval.results.rounding import bounds, counted, percent
from pytest_llmeval.visible import visible


def problem_of(wish: Wish, disagreement: float | None) -> str:
    """What is wrong with a question, in words; "" when it can be answered."""
    if wish.points == 0:
        return "no number of items shows a difference of 0 points: give --points 2, or 0.5"
    if not 0 < wish.points <= 100:
        return f"--points lies between 0 and 100, such as 2; got {wish.points:g}"
    for name, value, usual in (("power", wish.power, 0.8), ("alpha", wish.alpha, 0.05)):
        if not 0 < value < 1:
            return f"--{name} lies between 0 and 1, such as {usual}; got {value:g}"
    return "" if disagreement is None else _problem_of_disagreement(wish, disagreement)


def _problem_of_disagreement(wish: Wish, disagreement: float) -> str:
    if not 0 < disagreement <= 1:
        return f"--disagreement is a share of the items, such as 0.1; got {disagreement:g}"
    if not allows(disagreement, wish):
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
    yield "What so many items can show: the smallest difference in points, in brackets"
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
        if pair.stopped:
            yield (
                "  biased: the suite stopped early, at an item that these answers chose;\n"
                "  ask it without stop for a plan to rely on"
            )
        yield f"  {_points(wish.difference)}: {_need_words(wish, plan)}"
        if plan.pair.disagreement > 0 and plan.reach.margin is not None:
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
    if need.items is None and plan.pair.disagreed is None:
        return "the pilot shows no variance; plan with --disagreement"
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
