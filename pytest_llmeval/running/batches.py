"""One model's trials on their way to a service of batches and back: jobs instead of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from pytest_llmeval.errors import EngineError, LlmevalError
from pytest_llmeval.records import Answer, Attempt, Failure, Prediction, Trial

from .lanes import all_or_none, reason_of_loss
from .retries import RetryPolicy

BatchOutcome = Answer | EngineError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How long to wait between two looks at a job: from `initial` up to `cap` seconds.

    `patience` is how many looks in a row may fail before a job is given up: a job takes hours, and
    a network that is gone for a while must not cost it.
    """

    initial: float = 2.0
    multiplier: float = 1.5
    cap: float = 60.0
    patience: int = 20

    def delay(self, looks: int, jitter: float) -> float:
        """Seconds before the next look, after so many; `jitter` is a random number in [0, 1).

        Between three quarters and five quarters of the nominal wait, so that parts that were
        submitted together are not asked about together.
        """
        nominal = self.cap
        if looks < 64:  # far beyond any cap, and before a float has no room for it
            nominal = min(self.cap, self.initial * self.multiplier**looks)
        return nominal * (0.75 + 0.5 * jitter)


@dataclass(frozen=True, slots=True)
class Batch:
    """Trials that one job asks, and how; each step raises EngineError.

    `submit` makes the job unless it is there. `poll` looks whether it has ended. `fetch` gives what
    came back, an answer or an error for every trial, by id.
    """

    trials: Sequence[Trial]
    submit: Callable[[], Awaitable[None]]
    poll: Callable[[], Awaitable[bool]]
    fetch: Callable[[], Awaitable[Mapping[str, BatchOutcome]]]


@dataclass(frozen=True, slots=True)
class BatchLane:
    """The batches of one model, and what is needed of its endpoint; see `Lane`."""

    model: str
    batches: Sequence[Batch]
    open: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    polling: PollPolicy = PollPolicy()

    @property
    def trials(self) -> list[Trial]:
        """All trials of the lane."""
        return [trial for batch in self.batches for trial in batch.trials]

    #: Batches are of models that are asked; judges have their questions when answers are there.
    wave: ClassVar[int] = 1

    @staticmethod
    def is_due(_: Trial) -> bool:
        """Every trial is: none of them is about another one's answer."""
        return True

    @staticmethod
    def in_flight() -> int:
        """A job is one request, however much it asks."""
        return 1


class BatchRunner:
    """Sees all batches of a lane through, side by side; what `LaneRunner` is for single requests.

    `sent` tells when each trial now under way was submitted, by the clock. Nothing goes first: a
    job is asked as a whole.
    """

    def __init__(
        self,
        lane: BatchLane,
        record: Callable[[Prediction], None],
        *,
        policy: RetryPolicy,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        began: float,
        sending: Callable[[Trial], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self._lane = lane
        self._record = record
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._began = began
        self._sending = sending
        self._sleep = sleep
        self.sent: dict[str, float] = {}

    def want(self, trial: Trial) -> None:
        """Somebody waits for this trial; it comes with its job."""

    async def run(self) -> None:
        """Open the endpoint and ask everything; returns when each trial has its prediction."""
        try:
            await self._lane.open()
        except LlmevalError as error:
            lost = Failure(reason_of_loss(error), str(error))
            for batch in self._lane.batches:
                self._hand_over(batch, self._clock(), dict.fromkeys(_ids(batch), lost))
            return
        await all_or_none([self._see_through(batch) for batch in self._lane.batches])

    async def _see_through(self, batch: Batch) -> None:
        began = self._clock()
        for trial in batch.trials:
            self.sent[trial.id] = began
            self._sending(trial)
        outcomes: Mapping[str, BatchOutcome | Failure]
        try:
            await self._insist(batch.submit)
            await self._await_end(batch)
            outcomes = await self._insist(batch.fetch)
        except EngineError as error:
            outcomes = dict.fromkeys(_ids(batch), error)
        self._hand_over(batch, began, outcomes)

    async def _insist(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Try a step again as often as the policy for requests allows."""
        made = 0
        while True:
            try:
                return await step()
            except EngineError as error:
                made += 1
                delay = self._policy.delay(error, made, self._jitter())
                if delay is None:
                    raise
                await self._sleep(delay)

    async def _await_end(self, batch: Batch) -> None:
        looks = failed = 0
        while True:
            retry_after = 0.0
            try:
                if await batch.poll():
                    return
                failed = 0
            except EngineError as error:
                failed += 1
                if not error.retryable or failed >= self._lane.polling.patience:
                    raise
                retry_after = error.retry_after or 0.0
            wait = self._lane.polling.delay(looks, self._jitter())
            await self._sleep(max(wait, retry_after))
            looks += 1

    def _hand_over(
        self, batch: Batch, began: float, outcomes: Mapping[str, BatchOutcome | Failure]
    ) -> None:
        took = 1000 * (self._clock() - began)
        for trial in batch.trials:
            self._record(_prediction(trial, outcomes[trial.id], began - self._began, took))
            self.sent.pop(trial.id, None)


def _ids(batch: Batch) -> list[str]:
    return [trial.id for trial in batch.trials]


def _prediction(
    trial: Trial, outcome: BatchOutcome | Failure, started: float, took: float
) -> Prediction:
    """The job's whole way counts as the trial's one attempt: nobody knows a share of it."""
    if isinstance(outcome, Answer):
        return Prediction(trial.id, outcome, None, (Attempt(took),), started, 0.0, took)
    if isinstance(outcome, EngineError):
        attempt = Attempt(took, str(outcome), outcome.status)
        failure = Failure(outcome.reason, str(outcome))
        return Prediction(trial.id, None, failure, (attempt,), started, 0.0, took)
    return Prediction(trial.id, None, outcome, (), started)
