"""Which files are suites, what the selected nodes need of the run, and in what order they stand."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_llmeval import functions
from pytest_llmeval.collection import GateTest, TrialTest
from pytest_llmeval.run import SelectedGate, Selection, Settings

_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_suite(path: Path, config: pytest.Config) -> bool:
    """Whether the ini key `llm_suites` names this file."""
    try:
        relative = path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return False
    return any(_regex(pattern).fullmatch(relative) for pattern in config.getini("llm_suites"))


@functools.lru_cache
def _regex(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression.

    `*` and `?` stop at a slash, `**/` stands for folders of any depth, and none; `[ab]` and
    `[!ab]` are as ever.
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^]/]*\])", pattern)
    return re.compile("".join(_WILD.get(part) or _literal(part) for part in parts))


def _literal(part: str) -> str:
    if len(part) > 2 and part.startswith("[") and part.endswith("]"):
        negated = part.startswith("[!")
        inside = re.sub(r"([\\\[\]&~|^])", r"\\\1", part[2 if negated else 1 : -1])
        return f"[^/{inside}]" if negated else f"[{inside}]"
    return re.escape(part)


def select(items: Sequence[pytest.Item], *, deselected: bool = False) -> Selection:
    """What the selected nodes need of the run; `deselected` says that there were others."""
    selection = Selection(deselected=deselected)
    for item in items:
        if item.get_closest_marker("skip"):
            continue
        if isinstance(item, TrialTest):
            selection.trials.append(item.trial)
        elif isinstance(item, GateTest):
            gate = SelectedGate(item.nodeid, item.location, item.suite, item.gate)
            selection.gates.append(gate)
        else:
            functions.select(item, selection)
    selection.mistakes += functions.equal_variants(items)
    # A function that is parametrized beside its mark has several tests for one trial.
    selection.trials = list({trial.id: trial for trial in selection.trials}.values())
    return selection


def order_as_planned(items: list[pytest.Item], settings: Settings) -> None:
    """Sort the trials among the places that trials have: by model, then as they were collected."""
    places = [place for place, item in enumerate(items) if isinstance(item, TrialTest)]
    trials = [item for item in items if isinstance(item, TrialTest)]
    suites = {item.trial.suite.name: item.trial.suite for item in trials}
    rank = {model: number for number, model in enumerate(settings.turn_order(suites.values()))}
    trials.sort(key=lambda item: (rank[item.trial.condition.model], item.number))
    for place, item in zip(places, trials, strict=True):
        items[place] = item
