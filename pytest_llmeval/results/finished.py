"""A run that has ended, read back from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.folder import ENVIRONMENT
from pytest_llmeval.results.journal import read_requests
from pytest_llmeval.results.manifest import CUT_OFF, Manifest, lacking, read_manifest
from pytest_llmeval.results.plan import AskedPlan, SuitePlan
from pytest_llmeval.results.significance import read_significance
from pytest_llmeval.results.tables import read_predictions, read_table
from pytest_llmeval.results.trust import trust_warnings

Key = tuple[str, str]
"""Suite and condition."""


@dataclass(slots=True)
class Column:
    """What one scorer made of one suite under one condition.

    `values` are those of each item that has any, one for each repeat, and `judged` the same
    without those that gave no answer; an item that has none, because its trials failed, is only in
    `targets`, and in `hashes` where the run has kept them. All stand in the order of the suite's
    items, which under `stop` is the one they were asked in. `is_binary`: every item was asked once
    and is right or wrong; `is_repeated`: some were asked again.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    judged: dict[str, list[float]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    is_binary: bool = True
    is_repeated: bool = False

    def without(self, items: Collection[str]) -> Column:
        """The column with some items left out."""
        return replace(
            self,
            values={item: its for item, its in self.values.items() if item not in items},
            judged={item: its for item, its in self.judged.items() if item not in items},
            targets={item: its for item, its in self.targets.items() if item not in items},
            hashes={item: its for item, its in self.hashes.items() if item not in items},
        )


def require_tables(run: Path) -> None:
    """Raise `RunError` for a run that has not come to its tables yet."""
    if not any(run.glob("*/predictions.csv")):
        raise lacking(run, "tables")


class FinishedRun:
    """A run as another one is held against it: what it asked, and how that was scored.

    Raises `RunError` when it cannot be read, or has no tables yet.
    """

    def __init__(self, path: Path):
        require_tables(path)
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        self.id = self.manifest.id
        self.suites: dict[str, SuitePlan] = {s.name: s for s in self.manifest.plan.suites}
        self.asked: dict[Key, AskedPlan] = {
            (each.suite, each.condition): each for each in self.manifest.plan.asked
        }
        self.columns: dict[Key, dict[str, Column]] = _read_columns(path)

    @cached_property
    def questions(self) -> dict[Key, dict[str, str]]:
        """What each item was asked."""
        return _read_questions(self.path)

    @property
    def environment(self) -> dict[str, Any]:
        """What it ran on; empty where that was not kept."""
        return _read_environment(self.path)

    def conditions(self, suite: str) -> list[str]:
        """The conditions of a suite, in the plan's order."""
        return [condition for name, condition in self.asked if name == suite]

    def column(self, suite: str, condition: str, scorer: str) -> Column:
        """What a scorer made of it; an empty column where it made nothing."""
        return self.columns.get((suite, condition), {}).get(scorer, Column())

    def model_of(self, condition: str) -> str:
        """The model of a condition."""
        plans = self.manifest.plan.conditions
        return next(plan.model for plan in plans if plan.name == condition)

    @cached_property
    def stopping(self) -> dict[str, int]:
        """How many trials each suite that might stop at any item has not needed."""
        if all(suite.stop is None for suite in self.suites.values()):
            return {}
        told = read_significance(self.path).get("stopping", [])
        return {suite["suite"]: suite["not_needed"] for suite in told}

    def remarks(self) -> Iterator[str]:
        """What a reader of its numbers should know."""
        yield from self.manifest.warnings
        yield from trust_warnings(self.manifest.models, self.manifest.doubts)
        if self.manifest.exit_reason != "finished":
            yield f"it stopped: {self.manifest.exit_reason or CUT_OFF}"
        for suite, not_needed in self.stopping.items():
            if not_needed:
                yield f"{suite} stopped early, {not_needed:,} of its trials were not needed"


def _read_columns(run: Path) -> dict[Key, dict[str, Column]]:
    """Read the scores of a run, by suite and condition, then by scorer, the headline first."""
    found: dict[Key, dict[str, Column]] = {}
    for path in sorted(run.glob("*/per_item_scores.csv")):
        for row in read_table(path):
            columns = found.setdefault((row["suite"], row["condition"]), {})
            _add(columns.setdefault(row["scorer"], Column()), row, path)
    return found


def _add(column: Column, row: Mapping[str, str], path: Path) -> None:
    item = row["item_id"]
    column.targets[item] = row["target"]
    if row.get("item_hash"):  # older runs have no such column
        column.hashes[item] = row["item_hash"]
    column.is_binary &= row["repeat"] == "1" and row["outcome"] != "graded"
    column.is_repeated |= row["repeat"] != "1"
    if row["value"]:
        value = _score(row["value"], item, path)
        column.values.setdefault(item, []).append(value)
        if row["outcome"] != "no_answer":
            column.judged.setdefault(item, []).append(value)


def _score(text: str, item: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise RunError(f"{path}: item {item}: {text!r} is no score from 0 to 1")
    return value


def _read_questions(run: Path) -> dict[Key, dict[str, str]]:
    """Read what each item was asked, by suite and condition: what it shows, as canonical JSON.

    Of an item's repeats the first counts; they differ in their seed only.
    """
    requests = read_requests(run)
    found: dict[Key, dict[str, str]] = {}
    for row in read_predictions(run):
        body = requests.get(row["trial_id"])
        if body is not None:
            questions = found.setdefault((row["suite"], row["condition"]), {})
            questions.setdefault(row["item_id"], _question(body))
    return found


def _question(body: Mapping[str, Any]) -> str:
    asked = [body.get(key) for key in ("messages", "prompt", "tools")]
    return json.dumps(asked, sort_keys=True)


def _read_environment(run: Path) -> dict[str, Any]:
    """Read environment.json; empty where it is missing or is none."""
    try:
        found = json.loads((run / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
