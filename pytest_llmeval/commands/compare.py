"""`llmeval compare`: two runs on the same items, and whether their difference is real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.results.finished import FinishedRun
from pytest_llmeval.results.folder import find_run
from pytest_llmeval.results.pairs import sensitivity_words
from pytest_llmeval.results.rounding import counted, difference_words, p_words, percent, whole
from pytest_llmeval.results.significance import comparison_data
from pytest_llmeval.results.wording import procedure, procedures
from pytest_llmeval.run.across import Across, Pairing, Unpaired, Wanted, hold_against
from pytest_llmeval.visible import visible

_HEAD = (
    *("suite", "condition", "items", "before", "after", "gained", "lost"),
    *("difference", "p", ""),
)
_TEXTS = 2
"""So many columns are texts; the last one is the verdict and has no width."""

_CHANGED = {"refuse": "", "drop": "dropped", "pair": "paired all the same"}
"""What was done with items that are not the same; where they are refused there are none."""


def compare(run_dir: Path, before: str, after: str, wanted: Wanted) -> Across:
    """Find two runs and hold them against each other. Raises RunError."""
    runs = [FinishedRun(find_run(run_dir, name)) for name in (before, after)]
    return hold_against(runs[0], runs[1], wanted)


def as_json(found: Across) -> dict[str, Any]:
    """Everything as plain data."""
    data: dict[str, Any] = plain(found)
    for row, pairing in zip(data["pairings"], found.pairings, strict=True):
        row["comparison"] = comparison_data(pairing.comparison)
    return data


def text_lines(found: Across) -> Iterator[str]:
    """A table of what was compared, what was dropped, and what else was different."""
    yield f"before: {found.before}"
    yield f"after:  {found.after}"
    yield from map(visible, _table(found.pairings))
    comparisons = [pairing.comparison for pairing in found.pairings]
    scorers = ", ".join(sorted({pairing.scorer for pairing in found.pairings}))
    intervals = sorted({procedure(c.interval.method) for c in comparisons if c.interval.method})
    how = ", ".join([*procedures(comparisons), *intervals])
    yield f"({visible(scorers)}; in points, after minus before, on the same items; {how})"
    for title, lines in (
        ("dropped", [line for pairing in found.pairings for line in _dropped(pairing)]),
        ("not judged", list(_not_judged(found.pairings))),
        (_CHANGED[found.changed_items], list(_changed(found.pairings))),
        ("not compared", found.refused),
        ("warning", found.warnings),
        ("also different", found.context),
    ):
        yield from (visible(f"{title}: {line}") for line in lines)


def _table(pairings: Sequence[Pairing]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, pairings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        cells = (
            cell.ljust(width) if place < _TEXTS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row[:-1], widths, strict=False))
        )
        yield "  ".join((*cells, row[-1])).rstrip()


def _row(pairing: Pairing) -> tuple[str, ...]:
    comparison = pairing.comparison
    same = pairing.before == pairing.after
    return (
        pairing.suite,
        pairing.before if same else f"{pairing.before} -> {pairing.after}",
        f"{comparison.items:,}",
        percent(pairing.mean_before),
        percent(pairing.mean_after),
        whole(comparison.only_first),
        whole(comparison.only_second),
        difference_words(comparison.difference, comparison.interval),
        p_words(comparison.p_adjusted).removeprefix("p "),
        _verdict(pairing),
    )


def _verdict(pairing: Pairing) -> str:
    comparison = pairing.comparison
    if comparison.real:
        return f"REAL, {'better' if (comparison.difference or 0) > 0 else 'worse'}"
    if comparison.p_adjusted is None:
        return "no test possible"
    needed = comparison.items_needed
    return f"not shown; needs about {needed:,} items" if needed else "not shown"


def _dropped(pairing: Pairing) -> Iterator[str]:
    place = f"{pairing.suite} {pairing.before}"
    sides = (("before", pairing.only_before, "after"), ("after", pairing.only_after, "before"))
    for side, unpaired, other in sides:
        if unpaired.failed or unpaired.absent:
            yield f"{place}: {_unpaired(unpaired, side, other)}"


def _not_judged(pairings: Sequence[Pairing]) -> Iterator[str]:
    for pairing in pairings:
        words = sensitivity_words(pairing.comparison.sensitivity)
        if words:
            yield f"{pairing.suite} {pairing.before}: {words}"


def _changed(pairings: Sequence[Pairing]) -> Iterator[str]:
    for pairing in pairings:
        if pairing.changed:
            count = counted(len(pairing.changed), "item")
            yield f"{pairing.suite} {pairing.before}: {count} not the same in both runs"


def _unpaired(unpaired: Unpaired, side: str, other: str) -> str:
    count = counted(unpaired.failed + unpaired.absent, "item")
    reasons = [
        f"{number:,} {words}"
        for number, words in (
            (unpaired.failed, f"failed {other}"),
            (unpaired.absent, f"not asked {other}"),
        )
        if number
    ]
    return f"{count} scored only {side} ({', '.join(reasons)})"
