"""Answers on their way from the journal to who waits for them.

Most go straight on. Those of suites that may stop are looked at first, one after the other in a
thread: a scorer may take its time, and the slots must not wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection

from pytest_llmeval.records import Prediction, Settled, Trial, Unneeded

from .stopping import Stopping

#: So many times the requests in flight at a model may its trials be ahead of what they wait for:
#: once so that its slots are full, and once because answers do not come in order.
LEAD = 2


class Settling:
    """Settles what becomes of trials, and says which need not be sent. Lives in one loop.

    `tell` gets everything that is settled, be it an answer or that none is needed.
    """

    def __init__(self, stopping: Stopping, tell: Callable[[Settled], None]):
        self._stopping = stopping
        self._tell = tell
        self._open: deque[Prediction] = deque()
        self._more = asyncio.Event()
        self._progress = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._expected: dict[str, str] = {}  # the model of each answer that is not settled yet
        self._behind: Counter[str] = Counter()  # and how many those are, by model
        self.unneeded: set[str] = set()
        self.models: Collection[str] = ()  # those asked side by side at present

    def expect(self, trial: Trial) -> None:
        """An answer has arrived, and will be taken in once it is written down."""
        if self._stopping.follows(trial.id):
            self._expected[trial.id] = trial.condition.model
            self._behind[trial.condition.model] += 1

    def take_in(self, prediction: Prediction) -> None:
        """Pass an answer on to who waits for it, or first to those who see if it is needed."""
        if self._stopping.follows(prediction.trial_id):
            self._open.append(prediction)
            self._more.set()
        else:
            self._tell(prediction)

    async def admit(self, trial: Trial, in_flight: int) -> bool:
        """Whether a trial is to be sent, as far as is known.

        Where that may change, not before all but a few of its model's answers are settled, and what
        it waits for is nearly as far: an engine that is quicker than the scorers, or than the model
        it is compared with, would have answered everything when they decide.
        """
        if self._stopping.follows(trial.id):
            await self.keep_up(trial.condition.model, in_flight)
            while self._is_ahead(trial, in_flight):
                await self._wait_for_progress()
        return trial.id not in self.unneeded

    def _is_ahead(self, trial: Trial, in_flight: int) -> bool:
        """Nobody is who is the last: of all that wait, the first in the plan's order may go on."""
        if trial.id in self.unneeded:
            return False
        return self._stopping.lead(trial, self.models) > LEAD * in_flight

    async def keep_up(self, model: str, most: int = 0) -> None:
        """Wait until at most so many answers of a model are open."""
        while self._behind[model] > most:
            await self._wait_for_progress()

    async def _wait_for_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    async def run(self) -> None:
        """Settle what comes, for ever."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Settle everything that has been taken in."""
        async with self._one_at_a_time:
            while self._open:
                prediction = self._open.popleft()
                for settled in await asyncio.to_thread(self._stopping.take, prediction):
                    if isinstance(settled, Unneeded):
                        self.unneeded.add(settled.trial_id)
                    self._tell(settled)
                # What an earlier session has left was never expected, of no model.
                self._behind[self._expected.pop(prediction.trial_id, "")] -= 1
                self._progress.set()
