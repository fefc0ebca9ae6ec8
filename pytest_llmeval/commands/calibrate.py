"""`llmeval calibrate`: how the default procedures do where the truth is known, as tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from pytest_llmeval.results.wording import procedure
from pytest_llmeval.statistics.simulation.rate import LEAST_COVERAGE, MOST_ERRORS, Question, Rate

_WORST = (
    "worst of all settings: 5 to 30 % of items change, margins of 2 to 10 points",
    "false fail: nothing changed; false pass: worse by the margin, let through",
    "only losses: the same where not one item changes for the better",
)

TITLES: dict[Question, tuple[str, ...]] = {
    "coverage of shares": (
        "Right or wrong: how often a 95 % interval holds the true share",
        "over true shares from 50 to 99.5 %, and at the one where it is worst",
    ),
    "coverage of means": (
        "Graded scores: how often a 95 % interval holds the true mean",
        "for four shapes of scores",
    ),
    "mcnemar": (
        "False alarms of McNemar mid-p, p < 5 %",
        "by the share of items on which two equal conditions disagree",
    ),
    "sign-flip": (
        "False alarms of the sign-flip test, p < 5 %",
        "two equal conditions, graded scores of four shapes",
    ),
    "real": (
        "False alarms REAL after Holm, any pair of equal conditions",
        "McNemar mid-p; two conditions disagree on 20 % of the items",
    ),
    "gate": (
        "Errors of the gate not_worse_than, Tango 90 %",
        *_WORST,
        "2 and 3 % change: the same where that is all; of few items, or of rare",
        "changes, often none is seen: no_change lets that through, by decision",
    ),
    "graded gate": (
        "Errors of the gate not_worse_than, graded: skewed Wilson 90 %",
        "at its hardest, where items change from 0 to 1, or back, or not at all",
        *_WORST,
        "2 and 3 % change: as above",
    ),
    "shaped gate": (
        "Errors of the gate not_worse_than, graded: skewed Wilson 90 %, margin 5",
        "fails: nothing changed, failed, on average over four shapes of scores",
        "by shape: worse by the margin, some answers being worthless, let through",
    ),
}
"""What each table is about, and under what conditions."""

_BY_METHOD = ("coverage of shares", "coverage of means")
"""Tables with a column for each method; the others have one for each setting."""

_BROKEN = "!"


def measure(simulations: int, seed: int) -> Iterator[Rate]:
    """Measure every default, table by table."""
    # The matrices are small: a second thread of the linear algebra costs more than it does. It has
    # to be said before numpy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pytest_llmeval.statistics.simulation import measured_rates

    return measured_rates(simulations, seed)


def lines(rates: Iterable[Rate], measured: list[Rate]) -> Iterator[str]:
    """The tables, each as soon as its rates are known, and what they come to. At most 79 wide.

    Every rate is put into `measured` on the way.
    """
    for _, group in groupby(rates, key=lambda rate: rate.question):
        table = list(group)
        measured += table
        yield from _table(table)
        yield ""
    yield from _verdict(measured)


def as_json(rates: Sequence[Rate], simulations: int, seed: int) -> dict[str, Any]:
    """The same as plain data; nothing is rounded, and an exact rate has no simulations."""
    return {
        "simulations": simulations,
        "seed": seed,
        "kept": not broken(rates),
        "rates": [asdict(rate) | {"kept": rate.kept} for rate in rates],
    }


def broken(rates: Iterable[Rate]) -> list[Rate]:
    """The rates outside their promise."""
    return [rate for rate in rates if rate.kept is False]


def _table(rates: Sequence[Rate]) -> Iterator[str]:
    """One table: a title, how it was found out, a row for each number of items."""
    title, *conditions = TITLES[rates[0].question]
    yield title
    yield from (f"  {words}" for words in (*conditions, _source(rates), _promise(rates)))
    by_method = rates[0].question in _BY_METHOD
    rows: dict[tuple[str, str], dict[str, str]] = {("items", ""): {}}
    for rate in rates:
        head = procedure(rate.method) if by_method else rate.setting
        row = (f"{rate.items:,}", rate.setting if by_method else "")
        rows[("items", "")][head] = head
        rows.setdefault(row, {})[head] = _percent(rate)
    first, second = (max(len(row[place]) for row in rows) for place in (0, 1))
    for (items, setting), cells in rows.items():
        side = f"  {items.rjust(first)}  {setting.ljust(second)}"
        yield "  ".join([side, *(cell.rjust(max(len(head), 5)) for head, cell in cells.items())])


def _source(rates: Sequence[Rate]) -> str:
    simulations = rates[0].simulations
    if simulations is None:
        return "exact"
    wide = 200 * (0.05 * 0.95 / simulations) ** 0.5
    return f"{simulations:,} simulations: a rate near 5 or 95 % is known to +-{wide:.1f}"


def _promise(rates: Sequence[Rate]) -> str:
    if rates[0].question in ("gate", "graded gate"):
        where = "from 100 items on, if 5 % or more change"
        return f"promised: first two at most {100 * MOST_ERRORS:g} % {where}"
    if rates[0].question == "shaped gate":
        return f"promised: at most {100 * MOST_ERRORS:g} %, false passes on average"
    if rates[0].question in _BY_METHOD:
        method = next(procedure(rate.method) for rate in rates if rate.at_least is not None)
        return f"promised: {method} at least {100 * LEAST_COVERAGE:g} % on average"
    on_average = " on average" if rates[0].kept is None else ""
    return f"promised: at most {100 * MOST_ERRORS:g} %{on_average}"


def _percent(rate: Rate) -> str:
    return f"{100 * rate.rate:.1f}{_BROKEN if rate.kept is False else ''}"


def _verdict(rates: Sequence[Rate]) -> Iterator[str]:
    promises = sum(rate.kept is not None for rate in rates)
    outside = broken(rates)
    if not outside:
        yield f"All {promises} promised rates are kept. Figures are in percent."
        return
    yield f"{len(outside)} of {promises} promised rates are outside (marked {_BROKEN}):"
    for rate in outside:
        yield f"  {TITLES[rate.question][0]}:"
        yield f"    {rate.items:,} items, {rate.setting}: {100 * rate.rate:.2f} %, {_bound(rate)}"
    if any(rate.simulations is not None for rate in outside):
        yield "A simulated rate may be outside by chance: take more --simulations to know."


def _bound(rate: Rate) -> str:
    if rate.at_least is not None:
        return f"promised at least {100 * rate.at_least:g} %"
    assert rate.at_most is not None
    return f"promised at most {100 * rate.at_most:g} %"
