"""Models that are asked in batches: each part of a condition is a job, known by name before it is
made, and gone on with by the session that comes after a kill.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmeval.engines.batch import BatchEngine, BatchResults, BatchStatus
from pytest_llmeval.errors import EngineError, JobGone, ResultMissing, Unsupported
from pytest_llmeval.records import Answer, Predictions, Request, Trial
from pytest_llmeval.results.jobs import BatchJob, read_jobs, write_jobs
from pytest_llmeval.results.strays import Strays
from pytest_llmeval.run.honesty import refuse_dishonest
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.progress import Part
from pytest_llmeval.running.batches import Batch, BatchLane, PollPolicy

#: The fake engine's jobs need no waiting for.
AT_ONCE = PollPolicy(initial=0.0, cap=0.0)


def new_name() -> str:
    """A name that no job has: two machines may use one account."""
    return f"llmeval-{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Asking:
    """What all jobs of a model have in common: how a trial is asked, and a name for a new job.

    `engine` is the kind of the model's engine.
    """

    live: LiveModel
    engine: str
    request_for: Callable[[Trial], Request]
    ledger: Ledger
    say: Callable[[str], None]
    name: Callable[[], str] = new_name


def batch_lane(asking: Asking, trials: Sequence[Trial], polling: PollPolicy) -> BatchLane:
    """The batches of a model: of each part what is left to ask, its unfinished job first."""
    left = {trial.id for trial in trials}
    batches = [
        Batch(job.trials, job.submit, job.poll, job.fetch)
        for part in asking.ledger.parts
        for job in _jobs_of(part, left, asking)
    ]
    live = asking.live
    return BatchLane(live.name, batches, live.open, live.close, polling)


def _jobs_of(part: Part, left: Collection[str], asking: Asking) -> Iterator[PartJob]:
    trials = [trial for trial in part.trials if trial.id in left]
    if not trials:
        return
    book = JobBook(asking.ledger.folder.jobs(part.condition, part.number))
    unfinished, rest = split_by_job(book.jobs, trials, asking.ledger.known)
    if unfinished:
        yield PartJob(asking, part, book, unfinished, place=len(book.jobs) - 1)
    if rest:
        yield PartJob(asking, part, book, rest)


class JobBook:
    """The jobs of a part, as they stand on the disk."""

    def __init__(self, path: Path):
        self._path = path
        self.jobs = list(read_jobs(path))

    def add(self, job: BatchJob) -> int:
        """Write a new one down; its place."""
        self.jobs.append(job)
        write_jobs(self._path, self.jobs)
        return len(self.jobs) - 1

    def change(self, place: int, **changes: Any) -> None:
        """Write down what has become of one."""
        self.jobs[place] = dataclasses.replace(self.jobs[place], **changes)
        write_jobs(self._path, self.jobs)


def split_by_job(
    jobs: Sequence[BatchJob], trials: Sequence[Trial], known: Predictions
) -> tuple[list[Trial], list[Trial]]:
    """Which of the trials left the newest job still asks, and which need a new one.

    A job whose results have come is still needed for those that a kill kept from the journal;
    what it brought a failure for is asked anew.
    """
    newest = jobs[-1] if jobs else None
    if newest is None or newest.outcome == "gone":
        return [], list(trials)
    asks = [
        trial.id in newest.trials and (newest.outcome is None or trial.id not in known)
        for trial in trials
    ]
    unfinished = [trial for trial, its in zip(trials, asks, strict=True) if its]
    return unfinished, [trial for trial, its in zip(trials, asks, strict=True) if not its]


class PartJob:
    """One job of a part on its way: submitted, looked at, fetched, each step written down.

    `place` is where it stands in the book, None for one that is to be made.
    """

    def __init__(
        self,
        asking: Asking,
        part: Part,
        book: JobBook,
        trials: Sequence[Trial],
        *,
        place: int | None = None,
    ):
        self.trials = trials
        self._asking = asking
        self._part = part
        self._book = book
        self._place = place
        self._status = BatchStatus("pending", "")

    async def submit(self) -> None:
        """Make the job, unless it is there; its name is on the disk before anything is sent."""
        engine = self._engine()
        if self._place is not None and self._job.id is not None:
            if await self._is_there(engine):
                self._tell(f"goes on with the batch job {self._job.id}")
                return
            self._tell(f"the batch job {self._job.id} is gone; asking anew")
            self._change(outcome="gone")
            self._place = None
        if self._place is None:
            ids = tuple(trial.id for trial in self.trials)
            self._place = self._book.add(BatchJob(self._asking.name(), ids))
        requests = await asyncio.to_thread(self._requests)
        label = f"{self._asking.ledger.folder.id} {self._part.condition} part {self._part.number}"
        self._change(id=await engine.submit(self._job.name, requests, label))
        self._tell(f"batch job {self._job.id} asks {len(requests):,}")

    async def poll(self) -> bool:
        """Look how far it is, and tell what has changed."""
        assert self._job.id is not None
        status = await self._engine().poll(self._job.id)
        if status.told() != self._status.told():
            self._tell(f"batch job {self._job.id}: {status.told()}")
        self._status = status
        return status.has_ended

    async def fetch(self) -> Mapping[str, Answer | EngineError]:
        """Get an answer or an error for every trial, and keep what does not belong."""
        assert self._job.id is not None
        results = await self._engine().fetch(self._job.id)
        odd = strays_of(results, self._job.trials)
        place = self._part.condition, self._part.number
        odd = self._asking.ledger.note_strays(*place, self._job.name, odd)
        outcome = "failed" if self._status.state == "failed" else "completed"
        self._change(outcome=outcome, odd=odd)
        lost = ResultMissing(
            f"the batch job {self._job.id} ended ({self._status.told()}) without a result for it"
        )
        requests = await asyncio.to_thread(self._requests)
        return {
            trial.id: self._held(requests[trial.id], results.outcomes.get(trial.id, lost))
            for trial in self.trials
        }

    def _held(self, request: Request, outcome: Answer | EngineError) -> Answer | EngineError:
        """An outcome, or why it can be none to this request."""
        if isinstance(outcome, Answer):
            try:
                refuse_dishonest(request, outcome, self._asking.engine)
            except EngineError as error:
                return error
        return outcome

    @property
    def _job(self) -> BatchJob:
        assert self._place is not None
        return self._book.jobs[self._place]

    def _change(self, **changes: Any) -> None:
        assert self._place is not None
        self._book.change(self._place, **changes)

    def _requests(self) -> dict[str, Request]:
        """What the job asks, which may be more than is left."""
        wanted = set(self._job.trials)
        its = [trial for trial in self._part.trials if trial.id in wanted]
        return {trial.id: self._asking.request_for(trial) for trial in its}

    async def _is_there(self, engine: BatchEngine) -> bool:
        assert self._job.id is not None
        try:
            await engine.poll(self._job.id)
        except JobGone:
            return False
        return True

    def _engine(self) -> BatchEngine:
        engine = self._asking.live.engine
        if not isinstance(engine, BatchEngine):
            raise Unsupported(f"The engine of {self._asking.live.name} takes no batches.")
        return engine

    def _tell(self, words: str) -> None:
        self._asking.say(f"llmeval: {self._part.condition} part {self._part.number}: {words}")


def strays_of(results: BatchResults, asked: Sequence[str]) -> Strays:
    """What a job brought besides one result for each trial; lines that cannot be read count as
    results for nobody.
    """
    wanted = set(asked)
    unknown = [id_ for id_ in results.outcomes if id_ not in wanted]
    unknown += [f"a line that cannot be read ({beginning})" for beginning in results.unreadable]
    return Strays(
        doubled=tuple(id_ for id_ in results.doubled if id_ in wanted), unknown=tuple(unknown)
    )
