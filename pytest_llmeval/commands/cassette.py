"""`llmeval cassette`: keep what a run was answered as one file, to be played without any model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.cassettes import (
    find_asking_run,
    is_cassette,
    read_recording,
    write_cassette,
)
from pytest_llmeval.results.manifest import read_manifest, require_requests
from pytest_llmeval.results.ownership import is_being_written


def record(name: str, path: Path, *, run_dir: Path) -> str:
    """Write the cassette of a run, and say what is on it. Raises RunError."""
    run = find_asking_run(run_dir, name)
    if is_being_written(run):
        raise RunError(f"the run {run.name} is being written: record it when it has ended")
    if path.exists() and not is_cassette(path):
        raise RunError(f"{path} is there and is no cassette: it is not overwritten")
    recording = read_recording(run)
    if not recording.predictions:
        raise RunError(f"the run {run.name} has no answers: there is nothing to record")
    manifest = read_manifest(run)
    require_requests(manifest, len(recording.questions), "recorded")
    replaced = ", in the place of the one that was there" if path.exists() else ""
    try:
        count = write_cassette(recording, path)
    except OSError as error:
        raise RunError(
            f"{path}: the cassette cannot be written: {error.strerror or error}"
        ) from error
    failed = Counter(p.answer is None for p in recording.predictions.values())[True]
    beside = f", {failed:,} of them failures" if failed else ""
    open_ = len(recording.questions.keys() - recording.predictions.keys())
    open_ -= sum(part.not_needed for part in manifest.parts)
    if open_ > 0:
        beside += (
            f" ({open_:,} of its {manifest.plan.trials:,} trials have none, and fail when played)"
        )
    return (
        f"{path}: {count:,} predictions of the run {recording.run}{beside}{replaced}, "
        f"{path.stat().st_size / 1000:,.0f} kB. Play it: pytest --llm-config FILE "
        f"--llm-set replay={path.as_posix()}"
    )
