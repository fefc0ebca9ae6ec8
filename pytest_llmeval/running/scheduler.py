"""Keeps every endpoint full.

Pytest runs tests one by one; servers have many slots. So the requests are sent ahead: an asyncio
loop in one background thread asks the whole plan, as many trials at a time as an endpoint takes,
and a test only waits for its own answer. One scheduler exists per run, in the process that owns it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.records import Prediction, Settled, Trial

from .batches import BatchLane, BatchRunner
from .lanes import Lane, LaneRunner, all_or_none
from .retries import RetryPolicy
from .settling import Settling
from .stopping import Stopping

Result = TypeVar("Result")

#: How long a wait lasts before it looks around: short enough for Ctrl-C on Windows, where a wait
#: without a limit cannot be interrupted.
SLICE = 0.2

#: Room for every model's start, digest and stop at once.
THREADS = 64

HAS_ENDED = "the run has ended: nothing can be asked any more"


class Scheduler:
    """Asks all trials of all lanes, turn after turn.

    Lanes of one turn are kept full side by side, those of the first wave and then those of the
    second; the next turn begins when the last one is through and its endpoints are closed.
    `record` gets each prediction before anyone sees it, in the scheduler's thread: journaling
    happens there, by one writer. `shutdown` is awaited at the end, whatever the reason. `known`
    predictions are of earlier sessions of the run, which took `elapsed` seconds together: the
    times of this one count on from there. `stopping` says which trials need not be asked any
    more; theirs and others' fates are settled as it says. `sending` is told, in the scheduler's
    thread too, of each trial that is about to be sent; `clean` makes of each prediction what may be
    written and seen.
    """

    def __init__(  # noqa: PLR0913 - what it must not know by itself, it is told
        self,
        turns: Sequence[Sequence[Lane | BatchLane]],
        record: Callable[[Prediction], None],
        shutdown: Callable[[], Awaitable[None]],
        *,
        known: Iterable[Prediction] = (),
        elapsed: float = 0.0,
        stopping: Stopping | None = None,
        sending: Callable[[Trial], None] = lambda _: None,
        clean: Callable[[Prediction], Prediction] = lambda prediction: prediction,
        policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.perf_counter,
        jitter: Callable[[], float] = random.random,
    ):
        self._turns = turns
        self._record = record
        self._shutdown = shutdown
        self._sending = sending
        self._clean = clean
        self._policy = policy or RetryPolicy()
        self._clock = clock
        self._jitter = jitter
        self._began = clock() - elapsed
        self._trials = {trial.id: trial for turn in turns for lane in turn for trial in lane.trials}
        self._stopping = stopping or Stopping()
        self._settling = Settling(self._stopping, self._tell)
        self.predictions = {prediction.trial_id: prediction for prediction in known}
        self._arrived: deque[Prediction] = deque()
        self._arrival = asyncio.Event()
        self._log: list[Settled] = []
        self._results: dict[str, Settled] = {}
        self._runners: dict[str, LaneRunner | BatchRunner] = {}
        self._wishes: dict[str, Trial] = {}
        self._waiting: dict[str, threading.Event] = {}
        for prediction in self.predictions.values():
            self._settling.take_in(prediction)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked: asyncio.Event | None = None
        self._closing = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._running = threading.Event()
        self._through = threading.Event()
        self._ended = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="llmeval-scheduler", daemon=True)

    # What other threads call ----------------------------------------------------------------------

    @property
    def broken(self) -> BaseException | None:
        """What ended the scheduler before its time, for instance a full disk."""
        return self._broken

    def seconds(self) -> float:
        """How long ago the run began, its earlier sessions included: the time of predictions."""
        return self._clock() - self._began

    def news(self, since: int) -> list[Settled]:
        """What was settled after the first `since`, in that order."""
        return self._log[since:]

    def start(self) -> None:
        """Begin to send, in a thread of its own; returns when the loop runs."""
        self._thread.start()
        self._running.wait()

    def wait(self, trial_id: str, seconds: float = SLICE) -> Settled | None:
        """Wait at most `seconds` for a trial's prediction, and have it sent before others, or for
        word that it is not needed.

        Raises LlmevalError when neither will ever come.
        """
        found = self._results.get(trial_id)
        if found is None:
            self._wait_for_news(trial_id, seconds)
            found = self._results.get(trial_id)
            if found is None and self._ended.is_set():
                raise LlmevalError(self._why_never(trial_id))
        return found

    def under_way(self, trial_id: str) -> float:
        """Seconds since the trial was first sent; 0 while it waits for its turn."""
        trial = self._trials.get(trial_id)
        runner = self._runners.get(trial.condition.model) if trial else None
        sent = runner.sent.get(trial_id) if runner else None
        return 0.0 if sent is None else self._clock() - sent

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something else on the scheduler's loop and wait for it, for instance one request."""
        if self._loop is None or self._ended.is_set():
            work.close()
            raise LlmevalError(HAS_ENDED)
        future = asyncio.run_coroutine_threadsafe(self._follow(work), self._loop)
        try:
            # A loop that closes at this very moment leaves the future undone for ever.
            while not future.done() and not self._ended.is_set():
                concurrent.futures.wait([future], SLICE)
        except BaseException:  # Ctrl-C while waiting: the work must not go on unseen
            future.cancel()
            raise
        try:
            return future.result(timeout=0)
        except (concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
            raise LlmevalError(HAS_ENDED) from None

    def wait_for_all(self, seconds: float = SLICE) -> bool:
        """Wait at most `seconds` until everything is asked and answered; whether nothing more will
        come, be it because that is so, or because it has ended before.
        """
        return self._through.wait(seconds) or self._ended.is_set()

    def stop(self) -> None:
        """Stop sending, drop what is under way, shut down, and wait until the thread has ended."""
        if self._loop is not None and self._stop_asked is not None:
            with contextlib.suppress(RuntimeError):  # the loop may close at this very moment
                self._loop.call_soon_threadsafe(self._stop_asked.set)
        while self._thread.is_alive():
            self._thread.join(SLICE)

    def _wait_for_news(self, trial_id: str, seconds: float) -> None:
        event = self._waiting.setdefault(trial_id, threading.Event())
        self._prefer(trial_id)
        # The prediction may have arrived between the caller's look and the event's registration.
        if trial_id not in self._results and not self._ended.is_set():
            event.wait(seconds)

    def _prefer(self, trial_id: str) -> None:
        if self._stopping.follows(trial_id):
            return  # such a suite is asked in its own order
        trial = self._trials.get(trial_id)
        runner = self._runners.get(trial.condition.model) if trial else None
        if trial is not None and runner is not None:
            runner.want(trial)
        elif trial is not None:
            self._wishes[trial_id] = trial  # its turn has not begun

    def _why_never(self, trial_id: str) -> str:
        if self._broken is not None:
            return f"the run broke off: {type(self._broken).__name__}: {self._broken}"
        if trial_id not in self._trials:
            return f"{trial_id} is not part of this run's plan"
        return f"the run was stopped before {trial_id} was answered"

    async def _follow(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run called work such that a shutdown ends it, and refuse what comes later."""
        task = asyncio.current_task()
        if self._closing or task is None:
            work.close()
            raise LlmevalError(HAS_ENDED)
        self._calls.add(task)
        try:
            return await work
        finally:
            self._calls.discard(task)

    # The scheduler's own thread -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self.live())
        except BaseException as error:  # noqa: BLE001 - kept, and shown to every test that waits
            self._broken = error
        finally:
            self._running.set()
            self._ended.set()
            for event in list(self._waiting.values()):
                event.set()

    async def live(self, *, stay: bool = True) -> None:
        """Ask everything, then stay for `call` until `stop`; shut down whatever happens.

        This is what `start` runs in a thread. Who has an event loop already, for instance one whose
        time is no real time, awaits it there, and does not `stay` when all is asked.
        """
        self._loop = asyncio.get_running_loop()
        # Servers start and stop in threads, and a stop must not wait until others have started.
        self._loop.set_default_executor(ThreadPoolExecutor(THREADS, "llmeval-wait"))
        self._stop_asked = asyncio.Event()
        self._running.set()
        working = asyncio.ensure_future(
            all_or_none(  # ends by an error only
                [self._ask_everything(stay=stay), self._record_arrivals(), self._settling.run()]
            )
        )
        stopped = asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            self._closing = True
            for task in (working, *self._calls):
                task.cancel()
            await asyncio.gather(working, *self._calls, return_exceptions=True)
            if working.cancelled():  # else the disk is full, or the like
                self._take_in_arrived()
            await self._shutdown()

    async def _ask_everything(self, *, stay: bool) -> None:
        await self._settling.catch_up()  # with what earlier sessions have left
        for number, lanes in enumerate(self._turns, start=1):
            turn: list[Lane | BatchLane] = []
            for wave in sorted({lane.wave for lane in lanes}):
                needed = [lane for lane in lanes if lane.wave == wave and self._needs(lane)]
                await self._ask_wave(needed)
                turn += needed
            if number < len(self._turns):
                for lane in turn:
                    await lane.close()
        self._through.set()
        if not stay and self._stop_asked is not None:
            self._stop_asked.set()

    async def _ask_wave(self, wave: Sequence[Lane | BatchLane]) -> None:
        runners = {lane.model: self._runner(lane) for lane in wave}
        for trial in list(self._wishes.values()):
            if trial.condition.model in runners:
                runners[trial.condition.model].want(trial)
        self._runners = runners
        self._settling.models = runners
        await all_or_none([runner.run() for runner in self._runners.values()])
        self._take_in_arrived()  # what comes next may be about these answers
        for lane in wave:  # so that it is known which models the next turn needs
            await self._settling.keep_up(lane.model)

    def _runner(self, lane: Lane | BatchLane) -> LaneRunner | BatchRunner:
        if isinstance(lane, BatchLane):
            return BatchRunner(
                lane,
                self._arrive,
                policy=self._policy,
                clock=self._clock,
                jitter=self._jitter,
                began=self._began,
                sending=self._sending,
            )
        return LaneRunner(
            lane,
            self._arrive,
            policy=self._policy,
            clock=self._clock,
            jitter=self._jitter,
            began=self._began,
            admit=lambda trial: self._admit(lane, trial),
            sending=self._sending,
        )

    async def _admit(self, lane: Lane, trial: Trial) -> bool:
        return lane.is_due(trial) and await self._settling.admit(trial, lane.in_flight())

    def _needs(self, lane: Lane | BatchLane) -> bool:
        return any(
            trial.id not in self._settling.unneeded and lane.is_due(trial) for trial in lane.trials
        )

    def _arrive(self, prediction: Prediction) -> None:
        self._settling.expect(self._trials[prediction.trial_id])
        self._arrived.append(prediction)
        self._arrival.set()

    async def _record_arrivals(self) -> None:
        """Take in what has arrived, a turn of the loop later: by then the next requests are sent.

        Answers come in clumps, and slots would wait while the whole clump is written down.
        """
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            self._take_in_arrived()

    def _take_in_arrived(self) -> None:
        while self._arrived:
            prediction = self._clean(self._arrived.popleft())
            self._record(prediction)
            self.predictions[prediction.trial_id] = prediction
            self._settling.take_in(prediction)

    def _tell(self, settled: Settled) -> None:
        self._results[settled.trial_id] = settled
        self._log.append(settled)
        event = self._waiting.pop(settled.trial_id, None)
        if event is not None:
            event.set()
