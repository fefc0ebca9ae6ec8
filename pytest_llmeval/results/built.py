"""Files of requests that `llmeval batch build` has written, and whether they are still the same.

They are asked elsewhere, and what comes back counts as an answer to what the suites ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pytest_llmeval.errors import RunError


def hashes_of_requests(run: Path) -> dict[str, str]:
    """The sha256 of every file of requests, by its place in the run's folder.

    A line may end with CR LF: that is what some ways of copying make of it, and means the same.
    """
    return {
        path.relative_to(run).as_posix(): _hash(path)
        for path in sorted(run.glob("*/parts/part-*.requests.jsonl"))
    }


def refuse_changed(run: Path, built: Mapping[str, str]) -> None:
    """Raise RunError where a file of requests is another one than was built."""
    for place, now in hashes_of_requests(run).items():
        if built.get(place, now) != now:
            raise RunError(
                f"{run / place} is not as llmeval batch build wrote it, and its answers would be "
                "taken for answers to what the suites ask. Put it back, or build the folder anew "
                "from changed suites; copied elsewhere, it can be asked as a file of its own"
            )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
