"""The tables of a run: one row a trial, one row a score, nothing rounded.

Rows stand in an order of their own, whatever order the answers came in, so that the tables of two
equal runs differ in times only.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from pytest_llmeval.atomic import replacing, replacing_text
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Predictions, Scores, Trial
from pytest_llmeval.results.cells import harmless, original
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.lines import prediction_to_line
from pytest_llmeval.results.rows import (
    PREDICTION_COLUMNS,
    SCORE_COLUMNS,
    in_order,
    prediction_row,
    score_rows,
)

_LONGEST_CELL = 2**31 - 1


TABLES = ("predictions.csv", "per_item_scores.csv", "results_combined.jsonl")
"""What each condition of a run has in its folder, when the run has ended."""

Work = tuple[Path, Callable[[], object]]
"""A file, and what writes it."""


def tables_of(
    folder: RunFolder,
    trials: Sequence[Trial],
    predictions: Predictions,
    scores: Scores,
    unneeded: Collection[str] = (),
    hashes: Mapping[tuple[str, str], str] | None = None,
) -> Iterator[Work]:
    """The tables of every condition, each with what writes it: one that cannot be written must not
    cost the others.

    `predictions` and `scores` go by trial id; a trial's first score is its headline. `unneeded`
    trials may have a prediction, and have no outcome. `hashes` are those of the items, by suite and
    id; one that is not known leaves its cell empty.
    """
    by_condition: dict[str, list[Trial]] = {}
    for trial in in_order(trials):
        by_condition.setdefault(trial.condition.name, []).append(trial)
    for condition, rows in by_condition.items():
        told, scored, combined = (folder.condition(condition) / name for name in TABLES)
        yield told, partial(_write_predictions, told, rows, predictions, scores, unneeded)
        yield scored, partial(_write_scores, scored, rows, scores, hashes or {})
        yield combined, partial(_write_combined, combined, rows, predictions)


def _write_predictions(
    path: Path,
    trials: Sequence[Trial],
    predictions: Predictions,
    scores: Scores,
    unneeded: Collection[str],
) -> None:
    with replacing_text(path) as handle:
        writer = _writer(handle)
        writer.writerow(PREDICTION_COLUMNS)
        for trial in trials:
            headline = next(iter(scores.get(trial.id, ())), None)
            needed = trial.id not in unneeded
            row = prediction_row(trial, predictions.get(trial.id), headline, needed=needed)
            writer.writerow(_cells(row))


def _write_scores(
    path: Path, trials: Sequence[Trial], scores: Scores, hashes: Mapping[tuple[str, str], str]
) -> None:
    with replacing_text(path) as handle:
        writer = _writer(handle)
        writer.writerow(SCORE_COLUMNS)
        for trial in trials:
            item_hash = hashes.get((trial.suite.name, trial.item.id))
            rows = score_rows(trial, scores.get(trial.id, ()), item_hash)
            writer.writerows(map(_cells, rows))


def _write_combined(path: Path, trials: Sequence[Trial], predictions: Predictions) -> None:
    with replacing(path) as handle:
        for trial in trials:
            if trial.id in predictions:
                handle.write(prediction_to_line(predictions[trial.id]))


def _writer(handle: IO[str]) -> Any:
    # Every text is quoted: with `\n` as line end some Python versions leave a lone `\r` bare, and
    # no reader would put that row together again.
    return csv.writer(handle, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def _cells(row: Sequence[object]) -> list[object]:
    return [harmless(value) if isinstance(value, str) else value for value in row]


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """Read the rows of one table, each cell as the text that was put into it.

    Raises `RunError` when it cannot be read.
    """
    csv.field_size_limit(_LONGEST_CELL)  # a model may write more than the 128 KiB csv expects
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                # A row that is too short or too long has entries that are no text.
                yield {
                    name: original(cell) if isinstance(cell, str) else cell
                    for name, cell in row.items()
                }
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


def read_predictions(run: Path) -> Iterator[dict[str, str]]:
    """Read the rows of predictions.csv of all conditions of a run, condition by condition."""
    paths = sorted(run.glob("*/predictions.csv"))
    return itertools.chain.from_iterable(map(read_table, paths))
