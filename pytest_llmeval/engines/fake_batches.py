"""The fake engine's second face: jobs that live in the process, and end after three looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_llmeval.engines.batch import BatchOutcome, BatchResults, BatchState, BatchStatus
from pytest_llmeval.errors import EngineError, JobGone
from pytest_llmeval.records import Answer, Request

_STATES: tuple[BatchState, ...] = ("pending", "running", "completed")


@dataclass(slots=True)
class _Job:
    requests: Mapping[str, Request]
    looks: int = 0


class FakeBatches(ABC):
    """`BatchEngine` on top of single answers: a base class for the fake engine."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}

    @abstractmethod
    async def complete(self, request: Request) -> Answer:
        """Make one attempt at an answer; the engine's own."""

    async def submit(self, name: str, requests: Mapping[str, Request], label: str) -> str:
        """Keep the requests, unless there is a job of this name."""
        del label
        self._jobs.setdefault(name, _Job(dict(requests)))
        return name

    async def poll(self, job: str) -> BatchStatus:
        """Be pending, then running, then completed."""
        known = self._known(job)
        state = _STATES[min(known.looks, 2)]
        known.looks += 1
        return BatchStatus(state, state, len(known.requests))

    async def fetch(self, job: str) -> BatchResults:
        """Answer everything now."""
        return BatchResults(
            {id_: await self._outcome(asked) for id_, asked in self._known(job).requests.items()}
        )

    async def _outcome(self, request: Request) -> BatchOutcome:
        try:
            return await self.complete(request)
        except EngineError as error:
            return error

    def _known(self, job: str) -> _Job:
        if job not in self._jobs:
            raise JobGone(f"the fake engine knows no batch job {job}")
        return self._jobs[job]
