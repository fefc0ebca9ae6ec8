"""Which files are suites, what the selected nodes need of the run, and in what order they stand."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_llmeval import functions
from pytest_llmeval.collection import GateTest, TrialTest
from pytest_llmeval.run import SelectedGate, Selection


def is_suite(path: Path, config: pytest.Config) -> bool:
    """Whether the ini key `llm_suites` names this file."""
    try:
        relative = path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return False
    patterns = [pattern.replace("**/", "*") for pattern in config.getini("llm_suites")]
    return any(fnmatch.fnmatch(relative, pattern) for pattern in patterns)


def select(items: Sequence[pytest.Item]) -> Selection:
    """What the selected nodes need of the run."""
    selection = Selection()
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
    # A function that is parametrized beside its mark has several tests for one trial.
    selection.trials = list({trial.id: trial for trial in selection.trials}.values())
    return selection


def order_as_planned(items: list[pytest.Item], models: Sequence[str]) -> None:
    """Sort the trials among the places that trials have: by model, then as they were collected."""
    places = [place for place, item in enumerate(items) if isinstance(item, TrialTest)]
    rank = {model: number for number, model in enumerate(models)}
    trials = [item for item in items if isinstance(item, TrialTest)]
    trials.sort(key=lambda item: (rank[item.trial.condition.model], item.number))
    for place, item in zip(places, trials, strict=True):
        items[place] = item
