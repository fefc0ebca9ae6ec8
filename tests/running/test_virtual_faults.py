"""The scheduler under simulated faults; tools/virtual_faults.py plays any number of hours."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Prediction
from pytest_llmeval.running import lanes
from pytest_llmeval.running.retries import RetryPolicy
from pytest_llmeval.running.scheduler import Scheduler
from pytest_llmeval.running.settling import Settling
from tools import virtual_faults
from tools.virtual_faults import Broken, Tally
from tools.virtual_time import Deadlock, VirtualLoop, run_virtually

REPOSITORY = Path(__file__).resolve().parents[2]


def play(runs: int) -> Tally:
    tally = Tally()
    for seed in range(runs):
        virtual_faults.play_small(seed, tally)
    return tally


def test_hours_of_simulated_faults_break_no_promise() -> None:
    command = [sys.executable, "tools/virtual_faults.py", "--hours", "8", "--worlds", "60"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    hours = re.match(r"the long run: ([\d.]+) hours", done.stdout)
    assert hours is not None
    assert float(hours[1]) >= 8
    assert done.stdout.endswith("lost 0, doubled 0, deadlocks 0\n")


def test_a_simulation_meets_every_fault_and_fills_what_is_in_flight() -> None:
    tally = play(60)
    assert len(tally.faults) >= 12
    assert tally.interrupts > 10
    assert tally.unneeded > 100
    assert all(most == bound for bound, most in tally.busiest.items())


def test_the_same_seed_is_the_same_simulation() -> None:
    assert play(8) == play(8)


# The simulation sees what it is for ---------------------------------------------------------------


def test_one_request_too_many_in_flight_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(works: Sequence[Awaitable[None]]) -> Awaitable[None]:
        return whole([*works, *extra])

    extra: list[Awaitable[None]] = []
    whole = lanes.all_or_none
    run = lanes.LaneRunner.run

    async def running(self: lanes.LaneRunner) -> None:
        extra[:] = [self._ask_in_turn()]
        await run(self)

    monkeypatch.setattr(lanes, "all_or_none", one_more)
    monkeypatch.setattr(lanes.LaneRunner, "run", running)
    with pytest.raises(Broken, match="requests in flight where"):
        play(60)


def test_a_lost_trial_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    arrive = Scheduler._arrive

    def forgetful(self: Scheduler, prediction: Prediction) -> None:
        if not prediction.trial_id.endswith("::i3"):
            arrive(self, prediction)

    monkeypatch.setattr(Scheduler, "_arrive", forgetful)
    with pytest.raises((Broken, Deadlock), match=r"^$|lost, such as"):
        play(60)


def test_a_doubled_trial_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    arrive = Scheduler._arrive

    def twice(self: Scheduler, prediction: Prediction) -> None:
        arrive(self, prediction)
        if prediction.failure is not None:
            arrive(self, prediction)

    monkeypatch.setattr(Scheduler, "_arrive", twice)
    with pytest.raises(Broken, match="has two predictions"):
        play(60)


def test_a_deadlock_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all trials behind an undecided item waited for those before them, these included."""
    monkeypatch.setattr(Settling, "_is_ahead", lambda *_: True)
    with pytest.raises(Deadlock):
        play(60)


def test_impatience_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def delay(self: RetryPolicy, error: EngineError, made: int, jitter: float) -> float | None:
        return 1.0 if error.retryable and made < self.attempts else None

    monkeypatch.setattr(RetryPolicy, "delay", delay)
    with pytest.raises(Broken, match="came back earlier than Retry-After allows"):
        play(60)


def test_an_attempt_too_many_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    delay = RetryPolicy.delay

    def tireless(self: RetryPolicy, error: EngineError, made: int, jitter: float) -> float | None:
        return delay(self, error, min(made, self.attempts - 1), jitter)

    monkeypatch.setattr(RetryPolicy, "delay", tireless)
    with pytest.raises(Broken, match=r"was tried \d+ times"):
        play(60)


def test_a_request_to_an_endpoint_that_nobody_opened_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hasty(self: lanes.LaneRunner) -> None:
        await lanes.all_or_none([self._ask_in_turn() for _ in range(self._lane.in_flight())])

    monkeypatch.setattr(lanes.LaneRunner, "run", hasty)
    with pytest.raises(Broken, match="sent to an endpoint that is not open"):
        play(60)


# The loop -----------------------------------------------------------------------------------------


def virtually(work: Callable[[VirtualLoop], Any]) -> Any:
    loop = VirtualLoop()
    try:
        return run_virtually(loop, work(loop))
    finally:
        loop.close()


def test_virtual_time_goes_on_by_what_is_waited_and_in_the_order_of_the_timers() -> None:
    async def work(loop: VirtualLoop) -> list[tuple[float, str]]:
        async def note(after: float, name: str) -> None:
            await asyncio.sleep(after)
            seen.append((loop.time(), name))

        seen: list[tuple[float, str]] = []
        await asyncio.gather(note(28_800, "c"), note(2, "a"), note(3600, "b"))
        return seen

    assert virtually(work) == [(2, "a"), (3600, "b"), (28_800, "c")]


def test_a_thread_takes_no_virtual_time_and_its_error_is_the_callers() -> None:
    async def work(loop: VirtualLoop) -> float:
        assert await asyncio.to_thread(lambda: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return loop.time()

    assert virtually(work) == 0.0


def test_waiting_for_what_nobody_will_do_is_a_deadlock() -> None:
    async def work(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        virtually(work)
