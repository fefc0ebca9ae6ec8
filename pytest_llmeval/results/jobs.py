"""The batch jobs of a part, written down before they are made, so that a killed run finds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_llmeval.atomic import write_json
from pytest_llmeval.errors import RunError
from pytest_llmeval.results.strays import NO_STRAYS, Strays

JobOutcome = Literal["completed", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A job and the ids of the trials it asks.

    `name` is ours, chosen before anything is sent; `id` is the service's word for it, None until it
    has said so. `outcome` is there once the results are: a job without one is to be gone on with.
    `gone` is one that the service knows no more. `odd` are the results that were none of its own.
    """

    name: str
    trials: tuple[str, ...]
    id: str | None = None
    outcome: JobOutcome | None = None
    odd: Strays = NO_STRAYS


def write_jobs(path: Path, jobs: Sequence[BatchJob]) -> None:
    """Put the jobs of a part at `path`, whole or not at all."""
    write_json(path, {"jobs": list(jobs)})


def read_jobs(path: Path) -> tuple[BatchJob, ...]:
    """The jobs of a part, oldest first; none where the file is not there. Raises `RunError`."""
    from pydantic import TypeAdapter, ValidationError

    if not path.is_file():
        return ()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["jobs"]
        return tuple(TypeAdapter(list[BatchJob]).validate_python(data))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise RunError(
            f"{path}: holds no batch jobs ({first}). Put it back, or delete it: what is not "
            "answered yet is then asked by new jobs, and paid for again"
        ) from None
