"""Are the items of two runs the same? Only then may their scores be paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.changes import ConditionPair
from pytest_llmeval.results.finished import FinishedRun

ChangedItems = Literal["refuse", "drop", "pair"]
"""What is done with items that are not the same in both runs."""

_NAMED = 5
"""So many items are named in a message."""


@dataclass(frozen=True, slots=True)
class Differing:
    """The items of both runs, sorted, that are not the same, and those of which nobody can tell."""

    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def items(self) -> tuple[str, ...]:
        """All that are not known to be the same, sorted."""
        return tuple(sorted(self.changed + self.unknown))


def differing_items(
    suite: str, pair: ConditionPair, before: FinishedRun, after: FinishedRun, scorer: str
) -> Differing:
    """Which items of both runs may not be paired by their ids.

    Equal dataset hashes say that all are the same, and else the items' own hashes which. Where a
    run has kept none, an item is the same when its target is, and what it was asked: a question
    shows an item's fields, as long as the prompt around them is the same.
    """
    if before.suites[suite].dataset_hash == after.suites[suite].dataset_hash:
        return Differing()
    old, new = before.column(suite, pair[0], scorer), after.column(suite, pair[1], scorer)
    common = sorted(old.targets.keys() & new.targets.keys())
    hashed = old.hashes.keys() & new.hashes.keys()
    same = {item: old.hashes[item] == new.hashes[item] for item in common if item in hashed}
    bare = [item for item in common if item not in hashed]
    changed = [item for item in bare if old.targets[item] != new.targets[item]]
    asked = _same_questions(suite, pair, before, after) if bare else {}
    verdicts = {item: asked.get(item) for item in bare} | same | dict.fromkeys(changed, False)
    return Differing(
        tuple(item for item in common if verdicts[item] is False),
        tuple(item for item in common if verdicts[item] is None),
    )


def _same_questions(
    suite: str, pair: ConditionPair, before: FinishedRun, after: FinishedRun
) -> dict[str, bool]:
    """Of which items the same was asked; none under another prompt, or whose requests are gone."""
    keys = (suite, pair[0]), (suite, pair[1])
    one, other = before.asked[keys[0]], after.asked[keys[1]]
    if (one.prompt_hash, one.tools_hash, one.form) != (
        other.prompt_hash,
        other.tools_hash,
        other.form,
    ):
        return {}
    old, new = before.questions.get(keys[0], {}), after.questions.get(keys[1], {})
    return {item: old[item] == new[item] for item in old.keys() & new.keys()}


def refuse_differing(suite: str, found: Differing, wanted: ChangedItems) -> None:
    """Raise RunError unless the user has said what to do with items that are not the same."""
    if found.unknown and wanted != "pair":
        raise RunError(
            f"{suite}: nobody can tell whether {_counted(found.unknown)} the same in both runs "
            f"({_named(found.unknown)}): the dataset has changed, one of the runs is too old to "
            f"have kept hashes of its items, and the prompt has changed too or the requests are "
            f"gone. Pair them by their ids with --changed-items pair"
        )
    if found.changed and wanted == "refuse":
        raise RunError(
            f"{suite}: {_counted(found.changed)} not the same in both runs, by fields or target "
            f"({_named(found.changed)}), and scores of different items cannot be paired. Leave "
            f"them out with --changed-items drop, or pair them by their ids all the same with "
            f"--changed-items pair"
        )


def _counted(items: Sequence[str]) -> str:
    return f"{len(items):,} item{'s are' if len(items) > 1 else ' is'}"


def _named(items: Sequence[str]) -> str:
    return ", ".join(items[:_NAMED]) + (", ..." if len(items) > _NAMED else "")
