"""Two runs held against each other: the same items, before and after."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmeval.errors import RunError
from pytest_llmeval.inputs.mistakes import did_you_mean
from pytest_llmeval.records import Comparison
from pytest_llmeval.results.changes import ConditionPair, asked_differently, ran_differently
from pytest_llmeval.results.finished import Column, FinishedRun
from pytest_llmeval.results.manifest import DRY_RUN
from pytest_llmeval.run.same_items import ChangedItems, differing_items, refuse_differing
from pytest_llmeval.run.side_by_side import Sides, compare_sides, means_of


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Items that one run has scored and the other has not: it failed on them, or never had them."""

    failed: int
    absent: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """One condition before and after. `comparison` is after minus before.

    The means are over the paired items, None without any. `only_before` are items without a score
    after, `only_after` those without one before; `changed` are the ids of items that are not the
    same in both: paired or dropped, as was asked for.
    """

    suite: str
    scorer: str
    before: str
    after: str
    mean_before: float | None
    mean_after: float | None
    comparison: Comparison
    only_before: Unpaired
    only_after: Unpaired
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Across:
    """What two runs say about each other. `refused` names suites that cannot be compared, and why.

    `changed_items` is what was done with items that are not the same in both. `warnings` are what
    makes a difference mean something else than it seems to; `context` is what else was different
    between the runs.
    """

    before: str
    after: str
    changed_items: ChangedItems
    pairings: tuple[Pairing, ...]
    refused: tuple[str, ...]
    warnings: tuple[str, ...]
    context: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare: by which scorer (None: the headline), which conditions (None: all of one
    name), and what to do with items that have changed.
    """

    scorer: str | None = None
    conditions: ConditionPair | None = None
    changed: ChangedItems = "refuse"


def hold_against(before: FinishedRun, after: FinishedRun, wanted: Wanted) -> Across:
    """Compare every suite that both runs have, paired by item.

    Raises RunError when there is nothing that can be compared.
    """
    found: list[Pairing] = []
    refused: list[str] = []
    for suite, pairs in _suites(before, after, wanted).items():
        try:
            found += _pairings(suite, pairs, before, after, wanted)
        except RunError as error:
            refused.append(str(error))
    if not found:
        raise RunError("; ".join(refused))
    compared: dict[str, list[ConditionPair]] = {}
    for pairing in found:
        compared.setdefault(pairing.suite, []).append((pairing.before, pairing.after))
    unchanged = compared.keys() - {pairing.suite for pairing in found if pairing.changed}
    return Across(
        before.id,
        after.id,
        wanted.changed,
        tuple(found),
        tuple(refused),
        tuple(_warnings(before, after, compared, unchanged)),
        tuple(_context(before, after, compared)),
    )


# What is compared ---------------------------------------------------------------------------------


def _suites(
    before: FinishedRun, after: FinishedRun, wanted: Wanted
) -> dict[str, list[ConditionPair]]:
    """The pairs of conditions of every suite that both runs have."""
    if before.path.resolve() == after.path.resolve() and not _differ(wanted.conditions):
        raise RunError(
            f"both are the run {before.id}; two of its conditions are compared with "
            f"--condition NAME --with NAME"
        )
    common = [name for name in before.suites if name in after.suites]
    if not common:
        raise RunError(
            f"the two runs have no suite in common: {before.id} has {', '.join(before.suites)}; "
            f"{after.id} has {', '.join(after.suites)}"
        )
    pairs = {suite: _pairs(suite, before, after, wanted.conditions) for suite in common}
    found = {suite: its for suite, its in pairs.items() if its}
    if not found:
        raise RunError(_nothing_in_common(common, before, after, wanted.conditions))
    return found


def _differ(conditions: ConditionPair | None) -> bool:
    return conditions is not None and conditions[0] != conditions[1]


def _pairs(
    suite: str, before: FinishedRun, after: FinishedRun, wanted: ConditionPair | None
) -> list[ConditionPair]:
    old, new = before.conditions(suite), after.conditions(suite)
    if wanted is None:
        return [(name, name) for name in old if name in new]
    return [wanted] if wanted[0] in old and wanted[1] in new else []


def _nothing_in_common(
    suites: Sequence[str], before: FinishedRun, after: FinishedRun, wanted: ConditionPair | None
) -> str:
    told = []
    for place, run in enumerate((before, after)):
        names = list(dict.fromkeys(name for suite in suites for name in run.conditions(suite)))
        near = did_you_mean(wanted[place], names) if wanted and wanted[place] not in names else ""
        told.append(f"{run.id} has {', '.join(names)}{near}")
    what = (
        "no condition of one name"
        if wanted is None
        else f"no suite with {wanted[0]} and {wanted[1]}"
    )
    if wanted is not None and wanted[0] == wanted[1]:
        what = f"no suite with {wanted[0]}"
    hint = "" if wanted else "; name two with --condition NAME --with NAME"
    return f"the two runs have {what} in common: {'; '.join(told)}{hint}"


def _scorer(
    suite: str,
    pairs: Sequence[ConditionPair],
    before: FinishedRun,
    after: FinishedRun,
    wanted: str | None,
) -> str:
    """The scorer to compare by: the one that is asked for, else the headline of both."""
    sides = ((before, 0), (after, 1))
    known = [list(run.columns.get((suite, pairs[0][side]), {})) for run, side in sides]
    if wanted is not None:
        missing = [
            run.id for (run, _), names in zip(sides, known, strict=True) if wanted not in names
        ]
        if missing:
            names = list(dict.fromkeys(name for each in known for name in each))
            raise RunError(
                f"{suite}: no scorer {wanted!r} in {' and '.join(missing)}"
                f"{did_you_mean(wanted, names)} (there are: {', '.join(names)})"
            )
        return wanted
    if not all(known):
        raise RunError(f"{suite}: nothing of it was scored in one of the two runs")
    if known[0][0] != known[1][0]:
        raise RunError(
            f"{suite}: its headline is {known[0][0]} in {before.id} and {known[1][0]} in "
            f"{after.id}; say which one to compare with --scorer NAME"
        )
    return known[0][0]


# Pairing ------------------------------------------------------------------------------------------


def _pairings(
    suite: str,
    pairs: Sequence[ConditionPair],
    before: FinishedRun,
    after: FinishedRun,
    wanted: Wanted,
) -> list[Pairing]:
    """All pairs of one suite, which are one family. Raises RunError when it cannot be compared."""
    scorer = _scorer(suite, pairs, before, after, wanted.scorer)
    changed: dict[ConditionPair, tuple[str, ...]] = {}
    sides: dict[ConditionPair, Sides] = {}
    for pair in pairs:
        differing = differing_items(suite, pair, before, after, scorer)
        refuse_differing(suite, differing, wanted.changed)
        changed[pair] = differing.items
        left_out = changed[pair] if wanted.changed == "drop" else ()
        sides[pair] = (
            before.column(suite, pair[0], scorer).without(left_out),
            after.column(suite, pair[1], scorer).without(left_out),
        )
    comparisons = compare_sides(suite, scorer, list(sides.values()), before, after)
    return [
        _pairing(
            pair,
            sides[pair],
            changed[pair],
            dataclasses.replace(
                comparison,
                first=f"{after.id} {pair[1]}",
                second=f"{before.id} {pair[0]}",
            ),
        )
        for pair, comparison in zip(pairs, comparisons, strict=True)
    ]


def _pairing(
    pair: ConditionPair, sides: Sides, changed: tuple[str, ...], comparison: Comparison
) -> Pairing:
    before, after = (means_of(column.values) for column in sides)
    both = before.keys() & after.keys()
    return Pairing(
        comparison.suite,
        comparison.scorer,
        *pair,
        _mean([before[item] for item in both]),
        _mean([after[item] for item in both]),
        comparison,
        only_before=_unpaired(before.keys() - both, sides[1]),
        only_after=_unpaired(after.keys() - both, sides[0]),
        changed=changed,
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _unpaired(items: Collection[str], other_side: Column) -> Unpaired:
    failed = sum(item in other_side.targets for item in items)
    return Unpaired(failed, len(items) - failed)


# What else there is to know -----------------------------------------------------------------------


def _warnings(
    before: FinishedRun,
    after: FinishedRun,
    compared: Mapping[str, Sequence[ConditionPair]],
    unchanged: Collection[str],
) -> Iterator[str]:
    dry = [DRY_RUN in run.manifest.warnings for run in (before, after)]
    if dry[0] != dry[1]:
        yield "only one of the two is a dry run, whose answers are the fake engine's"
    yield from asked_differently(before.manifest.plan, after.manifest.plan, compared, unchanged)
    for run in (before, after):
        yield from (f"{run.id}: {remark}" for remark in run.remarks())


def _context(
    before: FinishedRun, after: FinishedRun, compared: Mapping[str, Sequence[ConditionPair]]
) -> list[str]:
    models = {
        (before.model_of(one), after.model_of(other))
        for pairs in compared.values()
        for one, other in pairs
    }
    judges = [{j.model for j in run.manifest.plan.judged} for run in (before, after)]
    models |= {(judge, judge) for judge in judges[0] & judges[1]}
    environments = before.environment, after.environment
    return ran_differently(before.manifest, after.manifest, models, environments)
