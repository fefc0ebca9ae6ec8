"""`llmeval rescore`: judge the answers of a run again, with the scorers as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pytest_llmeval.results.folder import find_run
from pytest_llmeval.results.terminal import summary_lines
from pytest_llmeval.run.rescoring import Rescored, rescore
from pytest_llmeval.scoring.own_file import load_scorers


def rescore_run(
    name: str,
    *,
    run_dir: Path,
    root: Path,
    suite_files: Sequence[Path] = (),
    scorer_files: Sequence[Path] = (),
    data_roots: Sequence[Path] = (),
) -> Rescored:
    """Find the run, load scorers of one's own, and judge again. Raises LlmevalError."""
    for path in scorer_files:
        load_scorers(path)
    return rescore(
        find_run(run_dir, name),
        run_dir=root / run_dir,
        root=root,
        now=datetime.now(timezone.utc),
        suite_files=[path.absolute() for path in suite_files],
        data_roots=data_roots,
    )


def lines(done: Rescored, width: int, *, colour: bool, encoding: str) -> Iterator[str]:
    """What is judged otherwise, the summary of a run, and how to see what has changed."""
    yield from done.notes
    yield from summary_lines(done.report, max(width, 80), colour=colour, encoding=encoding)
    if done.comparison:
        yield f"what changed: {done.comparison}"


def fails(done: Rescored) -> bool:
    """Whether a gate has failed: the exit status says so."""
    return any(result.fails for result in done.report.gates)
