"""One model's trials on their way to one endpoint and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pytest_llmeval.errors import (
    EndpointUnreachable,
    EngineError,
    LlmevalError,
    RequestRefused,
    ServerError,
)
from pytest_llmeval.records import Answer, Attempt, Failure, Prediction, Trial

from .retries import RetryPolicy

#: Characters of a reason that stands in full elsewhere.
BRIEF_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Lane:
    """The trials of one model and what is needed of its endpoint.

    `ask` makes one attempt and raises EngineError. `open` makes the endpoint ready, `recover` makes
    it ready again after it could not be reached, `close` lets go of it; what `open` and `recover`
    raise (LlmevalError) is why everything left in the lane fails. `in_flight` says, once the
    endpoint is open, how many requests are under way at once. `explain` puts into words why a trial
    stays unanswered after this error.

    The trials of the second `wave` are about answers: they are asked when all lanes of the first
    one in their turn are through, those that are then `is_due`, and `asked` gives the hash of what
    was asked.
    """

    model: str
    trials: Sequence[Trial]
    in_flight: Callable[[], int]
    ask: Callable[[Trial], Awaitable[Answer]]
    open: Callable[[], Awaitable[None]]
    recover: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    explain: Callable[[EngineError], str] = str
    wave: int = 1
    is_due: Callable[[Trial], bool] = lambda _: True
    asked: Callable[[Trial], str] = lambda _: ""


class LaneRunner:
    """Asks the trials of one lane, `in_flight` at a time, until all have a prediction.

    `began` is when the run began, by the same clock. `sent` tells when each trial now under way was
    first sent; entries leave when its prediction has been handed to `record`. `admit` says when a
    trial may be sent, or that it need not be any more; `sending` is told of each that is.
    """

    def __init__(
        self,
        lane: Lane,
        record: Callable[[Prediction], None],
        *,
        policy: RetryPolicy,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        began: float,
        admit: Callable[[Trial], Awaitable[bool]],
        sending: Callable[[Trial], None] = lambda _: None,
    ):
        self._lane = lane
        self._record = record
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._began = began
        self._mine = frozenset(trial.id for trial in lane.trials)
        self._queue = deque(lane.trials)
        self._wanted: deque[Trial] = deque()
        self._taken: set[str] = set()
        self._admit = admit
        self._sending = sending
        self._recoveries = 0
        self._recovering = asyncio.Lock()
        self._lost: LlmevalError | None = None
        self._told: str | None = None
        self.sent: dict[str, float] = {}

    def want(self, trial: Trial) -> None:
        """Somebody waits for this trial: it goes first, unless it has been sent.

        A trial of the same model's other lane, in another wave, is none of this one's.
        """
        if trial.id in self._mine and trial.id not in self._taken:
            self._wanted.append(trial)

    async def run(self) -> None:
        """Open the endpoint and ask everything; returns when each trial has its prediction."""
        try:
            await self._lane.open()
        except LlmevalError as error:
            self._lost = error
        await all_or_none([self._ask_in_turn() for _ in range(self._lane.in_flight())])

    def _take(self) -> Trial | None:
        for queue in (self._wanted, self._queue):
            while queue:
                trial = queue.popleft()
                if trial.id not in self._taken:
                    self._taken.add(trial.id)
                    return trial
        return None

    async def _ask_in_turn(self) -> None:
        while (trial := self._take()) is not None:
            if await self._admit(trial):
                self.sent[trial.id] = self._clock()
                if self._lost is None:
                    self._sending(trial)
                self._record(await self._predict(trial))
                del self.sent[trial.id]

    async def _predict(self, trial: Trial) -> Prediction:
        attempts: list[Attempt] = []
        while self._lost is None:
            recoveries = self._recoveries
            began = self._clock()
            try:
                answer = await self._lane.ask(trial)
            except EngineError as error:
                attempts.append(Attempt(1000 * (self._clock() - began), str(error), error.status))
                delay = self._policy.delay(error, len(attempts), self._jitter())
                if delay is None:
                    return self._failed(
                        trial, attempts, Failure(error.reason, self._lane.explain(error))
                    )
                await self._get_ready(error, delay, recoveries)
            else:
                total = 1000 * (self._clock() - began)
                attempts.append(Attempt(total))
                return self._answered(trial, answer, attempts, total)
        reason = reason_of_loss(self._lost)
        return self._failed(trial, attempts, Failure(reason, self._why_lost(trial)))

    def _why_lost(self, trial: Trial) -> str:
        """All its words stand once: hundreds of trials may fail for one reason."""
        lost = self._lost
        if self._told is None:
            self._told = trial.id
            return str(lost)
        if isinstance(lost, ServerError) and lost.log_tail:
            words = f"its last words, in full with {self._told}: {lost.log_tail[-1]}"
            return f"{_brief(lost.message)}; {words}"
        whole = str(lost)
        brief = _brief(whole)
        return whole if brief == whole else f"{brief}; in full with {self._told}"

    async def _get_ready(self, error: EngineError, delay: float, recoveries: int) -> None:
        """Wait before the next try; after a lost connection see to the endpoint, once for all."""
        if not isinstance(error, EndpointUnreachable):
            await asyncio.sleep(delay)
            return
        async with self._recovering:
            if self._recoveries == recoveries and self._lost is None:
                try:
                    await self._lane.recover()
                except LlmevalError as lost:
                    self._lost = lost
                self._recoveries += 1
                await asyncio.sleep(delay)

    def _answered(
        self, trial: Trial, answer: Answer, attempts: list[Attempt], total: float
    ) -> Prediction:
        service = answer.service_ms
        return Prediction(
            trial_id=trial.id,
            answer=answer,
            failure=None,
            attempts=tuple(attempts),
            started=self.sent[trial.id] - self._began,
            queued_ms=0.0 if service is None else max(0.0, total - service),
            total_ms=total,
            asked=self._lane.asked(trial),
        )

    def _failed(self, trial: Trial, attempts: list[Attempt], failure: Failure) -> Prediction:
        return Prediction(
            trial_id=trial.id,
            answer=None,
            failure=failure,
            attempts=tuple(attempts),
            started=self.sent[trial.id] - self._began,
            total_ms=attempts[-1].ms if attempts else 0.0,
            asked=self._lane.asked(trial),
        )


def reason_of_loss(lost: LlmevalError | None) -> str:
    """Why trials fail whose model is not to be had: it refuses (a wrong key), or is not there."""
    return lost.reason if isinstance(lost, RequestRefused) else "server"


def _brief(message: str) -> str:
    """Its first sentence, cut short where that is long, too."""
    first = message.split("\n", 1)[0].split(". ", 1)[0]
    return first if len(first) <= BRIEF_LENGTH else f"{first[: BRIEF_LENGTH - 3]}..."


async def all_or_none(works: Sequence[Awaitable[None]]) -> None:
    """Wait for all of them; when one raises, or the wait is cancelled, end the others first."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
