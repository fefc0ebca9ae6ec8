"""Whether two runs have left the same artifacts, but for times.

What is passed over is listed here, field by field, and nothing else is: everything in a run's
folder is compared that a reader, a gate or another command goes by.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

TIMES = frozenset(
    {
        *("queued_ms", "first_token_ms", "total_ms", "service_ms", "ms"),  # of an answer
        "started",  # of a run, and of an answer within it
        "finished",  # of a run
        *("seconds", "tokens_per_second", "slots_busy"),  # of a condition, in costs.json
    }
)
"""How long something took, or when it was."""

NAMES = frozenset({"id", "run"})
"""What a run is called: by the minute in which it began."""

_SALT = re.compile(r"\b\d{6}-\d{6}\b")
"""What makes the probes of a preflight new to a server's cache: the moment of the session."""

_IDENTITY = ("suite", "condition", "item_id", "repeat", "trial_id", "outcome", "reason")
"""Of a trial that was not needed nothing else counts: its answer may have come, or not."""


def differences(
    before: Path, after: Path, *, decided_only: bool = False, asked_again: bool = False
) -> list[str]:
    """What is different between two runs' folders, a line each; empty when nothing is.

    With `decided_only` it is what the runs have decided, and by which answers; `asked_again` says
    that a server has died over some requests, so that they may have had more attempts.
    """
    found = [*_differing_files(before, after)]
    both = _artifacts(before) & _artifacts(after)
    for name in sorted(filter(_is_decided, both) if decided_only else both):
        read = _READERS[_kind(name)]
        old, new = read(before / name, before.name), read(after / name, after.name)
        unlike = _unlike(old, new)
        found += [
            f"{name}: {words}" for words in unlike if not (asked_again and _ATTEMPTS.search(words))
        ]
    return found


_ATTEMPTS = re.compile(r"^\S*\.attempts(\[\d+\]\S*)? was ")


def doubled(run: Path) -> list[str]:
    """The trials that have more than one answer in the journals."""
    lines = itertools.chain.from_iterable(
        path.read_bytes().splitlines() for path in sorted(run.glob("*/parts/*.results.jsonl"))
    )
    answers = Counter(
        line["custom_id"] for line in map(json.loads, lines) if line["response"] is not None
    )
    return [trial for trial, count in answers.items() if count > 1]


def _kind(name: str) -> str:
    return "results_combined" if name.endswith("results_combined.jsonl") else Path(name).suffix


def _artifacts(run: Path) -> set[str]:
    """Every file of a run but its journals, which stand in the order of arrival and are summed up
    in results_combined.jsonl, the servers' own logs, and what is no artifact.
    """
    files = (path for path in run.rglob("*") if path.is_file())
    names = {path.relative_to(run).as_posix() for path in files}
    return {
        name
        for name in names
        if not name.endswith(".results.jsonl")
        and not name.startswith("logs/")
        and not Path(name).name.startswith(".journal.")
    }


def _is_decided(name: str) -> bool:
    return name.endswith((".csv", "significance.json", "results_combined.jsonl"))


def _differing_files(before: Path, after: Path) -> Iterator[str]:
    old, new = _artifacts(before), _artifacts(after)
    yield from (f"{name} is missing" for name in sorted(old - new))
    yield from (f"{name} is left over" for name in sorted(new - old))


def _unlike(old: Any, new: Any, where: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from _unlike(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _unlike(one, other, f"{where}[{place}]")
    elif old != new:
        yield f"{where or 'it'} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key not in TIMES | NAMES}
        return {key: _timeless(inner) for key, inner in kept.items()}
    if isinstance(value, list):
        return [_timeless(inner) for inner in value]
    return _SALT.sub("SALT", value) if isinstance(value, str) else value


def _json(path: Path, run: str) -> Any:
    del run
    return _timeless(json.loads(path.read_bytes()))


def _lines(path: Path, run: str) -> dict[str, Any]:
    del run
    lines = map(json.loads, path.read_bytes().splitlines())
    return {line["custom_id"]: _timeless(line) for line in lines}


def _needed_lines(path: Path, run: str) -> dict[str, Any]:
    """The predictions of trials that were needed."""
    rows = _table(path.with_name("predictions.csv"), run)
    unneeded = {row["trial_id"] for row in rows if row["reason"] == "not_needed"}
    lines = _lines(path, run)
    return {trial: line for trial, line in lines.items() if trial not in unneeded}


def _table(path: Path, run: str) -> list[dict[str, str]]:
    del run
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(handle)]
    return [
        {key: row[key] for key in _IDENTITY} if row.get("reason") == "not_needed" else row
        for row in rows
    ]


_FIGURES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "WHEN"),
    (re.compile(r"\b[\d,.]+ (?:ms|s|min|h)\b(?: [\d,.]+ (?:s|min)\b)?"), "TIME"),
    (re.compile(r"(slots busy(?:</dt><dd>)? ?)\d+ %"), r"\1BUSY"),
    (_SALT, "SALT"),
    (re.compile(r'(data-label="tok/s">)[^<]*'), r"\1"),
)
"""Times as reports write them."""


def _report(path: Path, run: str) -> list[str]:
    text = path.read_text(encoding="utf-8").replace(run, "RUN")
    for pattern, stand_in in _FIGURES:
        text = pattern.sub(stand_in, text)
    return [*_without_speed(text.splitlines())]


def _without_speed(lines: list[str]) -> Iterator[str]:
    """Tables of Markdown without their column of tokens a second."""
    column: int | None = None
    for line in lines:
        cells = re.split(r"(?<!\\)\|", line) if line.startswith("|") else []
        if not cells:
            column = None
        elif " tok/s " in cells:
            column = cells.index(" tok/s ")
        if column is not None and column < len(cells):
            cells[column] = ""
            line = "|".join(cells)  # noqa: PLW2901
        yield line


_READERS: Mapping[str, Callable[[Path, str], Any]] = {
    ".json": _json,
    ".jsonl": _lines,
    "results_combined": _needed_lines,
    ".csv": _table,
    ".md": _report,
    ".html": _report,
}
