"""Batches on their way: submitted once, looked at with patience, handed over as predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import (
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    ResultMissing,
    ServerStartError,
)
from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    Prediction,
    PromptVariant,
    Sampling,
    Suite,
    Trial,
)
from pytest_llmeval.running.batches import Batch, BatchLane, BatchRunner, PollPolicy
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.running.retries import RetryPolicy
from pytest_llmeval.running.scheduler import Scheduler

POLLING = PollPolicy(initial=1.0, multiplier=2.0, cap=5.0, patience=3)


def make_trials(count: int, model: str = "m") -> list[Trial]:
    items = tuple(Item(f"i{n}", f"i{n}", {}, None) for n in range(count))
    prompt = PromptVariant("", (), "hash")
    suite = Suite("s", "suites/s.yaml", items, "hash", (prompt,), ())
    return list(trials_of(suite, Condition(model, model, prompt, Sampling(8))))


class Service:
    """A service that takes jobs; `troubles` are raised by its steps, in turn."""

    def __init__(self, trials: Sequence[Trial], looks: int = 1):
        self.steps: list[str] = []
        self.troubles: dict[str, list[EngineError]] = {"submit": [], "poll": [], "fetch": []}
        self.errors: dict[str, EngineError] = {}
        self.looks = looks
        self.batch = Batch(trials, self.submit, self.poll, self.fetch)

    async def submit(self) -> None:
        self._step("submit")

    async def poll(self) -> bool:
        self._step("poll")
        self.looks -= 1
        return self.looks <= 0

    async def fetch(self) -> dict[str, Answer | EngineError]:
        self._step("fetch")
        return {
            trial.id: self.errors.get(trial.item.id, Answer(trial.item.id, "stop"))
            for trial in self.batch.trials
        }

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if self.troubles[name]:
            raise self.troubles[name].pop(0)


class Clock:
    """Time that goes on by sleeping only."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def nothing() -> None:
    """Nothing to open or to close."""


def see_through(
    *services: Service,
    clock: Clock | None = None,
    opening: Callable[[], Awaitable[None]] = nothing,
    polling: PollPolicy = POLLING,
    sending: Callable[[Trial], None] = lambda _: None,
) -> dict[str, Prediction]:
    """What becomes of the trials of some batches, by item."""
    clock = clock or Clock()
    found: list[Prediction] = []
    lane = BatchLane("m", [service.batch for service in services], opening, nothing, polling)
    runner = BatchRunner(
        lane,
        found.append,
        policy=RetryPolicy(attempts=3, initial=1.0),
        clock=clock,
        jitter=lambda: 0.5,
        began=90.0,
        sending=sending,
        sleep=clock.sleep,
    )
    asyncio.run(runner.run())
    assert runner.sent == {}
    by_item = {p.trial_id.rpartition("::")[2]: p for p in found}
    assert len(by_item) == len(found)
    return by_item


def test_every_trial_of_every_batch_gets_its_own_result() -> None:
    trials = make_trials(5)
    first, second = Service(trials[:3]), Service(trials[3:], looks=3)
    found = see_through(first, second)
    assert {item: p.text for item, p in found.items()} == {f"i{n}": f"i{n}" for n in range(5)}
    assert first.steps == ["submit", "poll", "fetch"]
    assert second.steps == ["submit", "poll", "poll", "poll", "fetch"]


def test_the_whole_way_of_the_job_is_the_trials_time() -> None:
    (prediction,) = see_through(Service(make_trials(1), looks=3)).values()
    assert prediction.started == 10.0
    assert prediction.total_ms == 3000.0  # two waits, of 1 and 2 seconds
    assert (len(prediction.attempts), prediction.attempts[0].error) == (1, None)


def test_waits_grow_up_to_a_cap() -> None:
    clock = Clock()
    see_through(Service(make_trials(1), looks=6), clock=clock)
    assert clock.slept == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_an_error_in_the_place_of_a_result_fails_its_trial_only() -> None:
    service = Service(make_trials(3))
    service.errors = {
        "i1": RequestRefused("too long", status=400),
        "i2": ResultMissing("the job ended without a result for it"),
    }
    found = see_through(service)
    assert found["i0"].failure is None
    failures = {item: p.failure for item, p in found.items() if p.failure}
    assert {item: (f.reason, f.message) for item, f in failures.items()} == {
        "i1": ("refused", "too long"),
        "i2": ("missing", "the job ended without a result for it"),
    }
    assert found["i1"].attempts[0].status == 400


@pytest.mark.parametrize("step", ["submit", "fetch"])
def test_a_step_that_may_succeed_later_is_tried_again(step: str) -> None:
    service, clock = Service(make_trials(2)), Clock()
    service.troubles[step] = [EndpointBusy("later", retry_after=7.0), EndpointUnreachable("gone")]
    found = see_through(service, clock=clock)
    assert all(p.answer for p in found.values())
    assert service.steps.count(step) == 3
    assert clock.slept == [7.0, 2.0]


@pytest.mark.parametrize("step", ["submit", "poll", "fetch"])
def test_a_refusal_fails_all_trials_at_once_with_the_services_words(step: str) -> None:
    service = Service(make_trials(2))
    service.troubles[step] = [RequestRefused("bad key", status=403)]
    found = see_through(service)
    assert {p.failure.message for p in found.values() if p.failure} == {"bad key"}
    assert service.steps.count(step) == 1


def test_looks_that_fail_now_and_then_do_not_cost_a_job() -> None:
    service = Service(make_trials(1), looks=4)
    busy = [EndpointBusy("later")] * 2
    service.troubles["poll"] = [*busy]
    assert see_through(service)["i0"].answer
    assert service.steps.count("poll") == 6


def test_a_job_that_cannot_be_looked_at_any_more_is_given_up() -> None:
    service, clock = Service(make_trials(1)), Clock()
    service.troubles["poll"] = [EndpointUnreachable("cannot connect")] * 9
    (prediction,) = see_through(service, clock=clock).values()
    assert prediction.failure is not None
    assert (prediction.failure.reason, service.steps.count("poll")) == ("unreachable", 3)


def test_what_the_service_asks_for_is_waited_at_least() -> None:
    service, clock = Service(make_trials(1), looks=1), Clock()
    service.troubles["poll"] = [EndpointBusy("later", retry_after=30.0)]
    see_through(service, clock=clock)
    assert clock.slept == [30.0]


def test_a_batch_that_fails_does_not_hold_the_others_up() -> None:
    trials = make_trials(4)
    bad, good = Service(trials[:2]), Service(trials[2:], looks=2)
    bad.troubles["submit"] = [RequestRefused("no")]
    found = see_through(bad, good)
    assert [found[f"i{n}"].answer is None for n in range(4)] == [True, True, False, False]


def test_an_endpoint_that_does_not_open_fails_everything_and_nothing_is_sent() -> None:
    async def refuse() -> None:
        raise ServerStartError("the key is not set")

    service, told = Service(make_trials(2)), list[Trial]()
    found = see_through(service, opening=refuse, sending=told.append)
    failures = {(p.failure.reason, p.failure.message) for p in found.values() if p.failure}
    assert failures == {("server", "the key is not set")}
    assert (service.steps, told) == ([], [])


def test_trials_are_told_as_sent_when_their_job_is() -> None:
    trials, told = make_trials(3), list[Trial]()
    see_through(Service(trials), sending=told.append)
    assert told == trials


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_five_quarters_of_the_cap(looks: int, jitter: float) -> None:
    policy = PollPolicy()
    wait = policy.delay(looks, jitter)
    assert 0.75 * policy.initial <= wait <= 1.25 * policy.cap
    assert policy.delay(looks + 1, jitter) >= wait


# In the scheduler ---------------------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Callable[..., Scheduler]]:
    started: list[Scheduler] = []

    def begin(*lanes: Any, record: Callable[[Prediction], None]) -> Scheduler:
        scheduler = Scheduler([lanes], record, nothing)
        started.append(scheduler)
        scheduler.start()
        return scheduler

    yield begin
    for scheduler in started:
        scheduler.stop()


def test_the_scheduler_runs_batches_beside_requests_and_records_both(
    start: Callable[..., Scheduler],
) -> None:
    from pytest_llmeval.running.lanes import Lane

    batched, single = make_trials(3, "b"), make_trials(3, "s")

    async def ask(trial: Trial) -> Answer:
        return Answer(f"single {trial.item.id}", "stop")

    recorded: list[str] = []
    polling = PollPolicy(initial=0.0, cap=0.0)
    scheduler = start(
        BatchLane("b", [Service(batched, looks=3).batch], nothing, nothing, polling),
        Lane("s", single, lambda: 2, ask, nothing, nothing, nothing),
        record=lambda p: recorded.append(p.trial_id),
    )
    for trial in (*batched, *single):
        while (found := scheduler.wait(trial.id)) is None:
            pass
        assert isinstance(found, Prediction)
        assert trial.id in recorded
    assert scheduler.predictions["s::b::i1"].text == "i1"
    assert scheduler.predictions["s::s::i1"].text == "single i1"


def test_a_stop_leaves_a_job_that_is_under_way_to_the_next_session(
    start: Callable[..., Scheduler],
) -> None:
    trials, recorded = make_trials(2), list[Prediction]()
    service = Service(trials, looks=10**9)
    polling = PollPolicy(initial=0.001, cap=0.001)
    lane = BatchLane("m", [service.batch], nothing, nothing, polling)
    scheduler = start(lane, record=recorded.append)
    while service.steps.count("poll") < 3:
        assert scheduler.wait(trials[0].id, 0.01) is None
    assert scheduler.under_way(trials[0].id) > 0
    scheduler.stop()
    assert recorded == []
    assert "fetch" not in service.steps
