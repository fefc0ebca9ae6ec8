"""`llmeval runs`: which runs there are, and which may go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.folder import list_runs
from pytest_llmeval.results.manifest import Manifest, moment, read_manifest
from pytest_llmeval.results.ownership import is_being_written

_HEAD = ("run", "started", "trials", "models", "suites", "status", "size")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as the list shows it. `manifest` is None when it cannot be read."""

    path: Path
    manifest: Manifest | None
    being_written: bool
    bytes: int

    @property
    def started(self) -> datetime | None:
        """When it began, in UTC."""
        return None if self.manifest is None else moment(self.manifest.started)

    @property
    def status(self) -> str:
        """One word: what its parts say, unless nobody is at work on it any more, or never was."""
        if self.manifest is None:
            return "unreadable"
        if self.being_written:
            return "running"
        if self.manifest.rescored_from is not None:
            return "rescored"
        if self.manifest.replayed_from is not None:
            return "replayed"
        status, has_ended = self.manifest.status, self.manifest.exit_reason == "finished"
        return status if has_ended and status in ("completed", "failed") else "stopped"


def look_at(run_dir: Path) -> list[RunFacts]:
    """Look at every run in a folder, oldest first."""
    return [_facts(path) for path in list_runs(run_dir)]


def _facts(path: Path) -> RunFacts:
    try:
        manifest = read_manifest(path)
    except RunError:
        manifest = None
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return RunFacts(path, manifest, is_being_written(path), size)


def list_lines(run_dir: Path) -> list[str]:
    """The table of runs, or a line that says how to make the first one."""
    found = look_at(run_dir)
    if not found:
        return [f"no runs in {run_dir} yet: pytest --llm-config FILE makes the first one"]
    rows = [_HEAD, *(_row(facts) for facts in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [_line(row, widths) for row in rows]


def _row(facts: RunFacts) -> tuple[str, ...]:
    plan = facts.manifest.plan if facts.manifest else None
    return (
        facts.path.name,
        f"{facts.started.astimezone():%Y-%m-%d %H:%M}" if facts.started else "-",
        f"{plan.trials:,}" if plan else "-",
        str(len({condition.model for condition in plan.conditions})) if plan else "-",
        str(len(plan.suites)) if plan else "-",
        facts.status,
        shown_size(facts.bytes),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    texts = {"run", "started", "status"}
    cells = (
        cell.ljust(width) if name in texts else cell.rjust(width)
        for name, cell, width in zip(_HEAD, row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def shown_size(count: int) -> str:
    """Bytes for people: `1.3 MB`."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def to_prune(
    runs: Sequence[RunFacts], *, keep: int | None, older_than: int | None, now: datetime
) -> list[RunFacts]:
    """Choose what may go: not among the newest `keep`, and older than so many days.

    `runs` stand oldest first. A run that is being written, one that cannot be read and a link to a
    run elsewhere are never chosen.
    """
    kept = runs if keep is None else runs[: max(0, len(runs) - keep)]
    limit = None if older_than is None else now - timedelta(days=older_than)
    return [
        facts
        for facts in kept
        if facts.started is not None
        and not facts.being_written
        and not facts.path.is_symlink()
        and (limit is None or facts.started < limit)
    ]


def prune_lines(chosen: Sequence[RunFacts], *, deleting: bool) -> Iterator[str]:
    """Say what goes, or would go."""
    if not chosen:
        yield "nothing to delete"
        return
    verb = "deleting" if deleting else "would delete"
    for facts in chosen:
        yield f"{verb} {facts.path} ({facts.status}, {shown_size(facts.bytes)})"
    if not deleting:
        total = shown_size(sum(facts.bytes for facts in chosen))
        yield f"{len(chosen)} in all, {total}; nothing is deleted yet: add --yes"


def delete(chosen: Sequence[RunFacts]) -> None:
    """Delete the chosen runs. Raises `RunError` when one cannot be deleted as a whole."""
    for facts in chosen:
        if is_being_written(facts.path):
            raise RunError(f"{facts.path} is being written by now; it stays")
        try:
            shutil.rmtree(facts.path)
        except OSError as error:
            raise RunError(f"{facts.path} cannot be deleted: {error}") from error
