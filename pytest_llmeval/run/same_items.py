"""Are the items of two runs the same? Only then may their scores be paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.changes import ConditionPair
from pytest_llmeval.results.finished import FinishedRun

ChangedItems = Literal["refuse", "drop", "pair"]
"""What is done with items that are not the same in both runs."""

_NAMED = 5
"""So many items are named in a message."""


def changed_items(
    suite: str, pair: ConditionPair, before: FinishedRun, after: FinishedRun, scorer: str
) -> tuple[str, ...]:
    """The items of both runs that are not known to be the same, sorted.

    Equal dataset hashes say that all are. Else an item is the same when its target is, and what it
    was asked: a question shows an item's fields, as long as the prompt around them is the same.
    """
    if before.suites[suite].dataset_hash == after.suites[suite].dataset_hash:
        return ()
    one, other = (suite, pair[0]), (suite, pair[1])
    old = before.column(*one, scorer).targets
    new = after.column(*other, scorer).targets
    common = sorted(old.keys() & new.keys())
    if not tellable(suite, pair, before, after):
        return tuple(common)
    asked, asks = before.questions.get(one, {}), after.questions.get(other, {})
    return tuple(
        item for item in common if old[item] != new[item] or asked.get(item) != asks.get(item)
    )


def tellable(suite: str, pair: ConditionPair, before: FinishedRun, after: FinishedRun) -> bool:
    """Whether the items' questions can be compared: with the same prompt and tools around them."""
    one, other = before.asked[suite, pair[0]], after.asked[suite, pair[1]]
    return (one.prompt_hash, one.tools_hash) == (other.prompt_hash, other.tools_hash)


def refuse_changed(
    suite: str, items: Sequence[str], wanted: ChangedItems, *, tellable: bool
) -> None:
    """Raise RunError unless the user has said what to do with items that have changed."""
    if not tellable and wanted != "pair":
        raise RunError(
            f"{suite}: dataset and prompt have both changed, so that nobody can tell which items "
            f"are still the same. Pair them by their ids with --changed-items pair"
        )
    if wanted == "refuse":
        named = ", ".join(items[:_NAMED]) + (", ..." if len(items) > _NAMED else "")
        count = f"{len(items):,} item{'s are' if len(items) > 1 else ' is'}"
        raise RunError(
            f"{suite}: {count} not the same in both runs, by question or target ({named}), and "
            f"scores of different items cannot be paired. Leave them out with --changed-items "
            f"drop, or pair them by their ids all the same with --changed-items pair"
        )
