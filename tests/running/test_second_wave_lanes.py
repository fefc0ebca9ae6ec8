"""Lanes of the second wave: asked when the first one is through, as far as they are then due."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from pytest_llmeval.errors import RequestRefused, ServerStartError
from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    Message,
    Prediction,
    PromptVariant,
    Sampling,
    Suite,
    Trial,
)
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.running.retries import RetryPolicy
from pytest_llmeval.running.scheduler import Scheduler

PROMPT = PromptVariant("", (Message("user", "{{ q }}"),), "hash")


def make_trials(count: int, model: str, suite: str = "s") -> list[Trial]:
    items = tuple(Item(f"i{n}", f"i{n}", {"q": str(n)}, str(n)) for n in range(count))
    its_suite = Suite(suite, f"suites/{suite}.yaml", items, "h", (PROMPT,), ())
    return list(trials_of(its_suite, Condition(model, model, PROMPT, Sampling(max_tokens=8))))


class World:
    """Models that answer with the item's id, and a list of all that happens."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.busy: dict[str, int] = {}
        self.busiest: dict[str, int] = {}
        self.refuses: set[str] = set()
        self.does_not_start: set[str] = set()

    def lane(self, model: str, trials: Sequence[Trial], wave: int = 1, in_flight: int = 2) -> Lane:
        async def ask(trial: Trial) -> Answer:
            self.events.append(f"{model} asks {trial.id}")
            self.busy[model] = self.busy.get(model, 0) + 1
            self.busiest[model] = max(self.busiest.get(model, 0), self.busy[model])
            await asyncio.sleep(0.001)
            self.busy[model] -= 1
            if trial.id in self.refuses:
                raise RequestRefused("no")
            return Answer(trial.item.id, "stop")

        async def open_() -> None:
            self.events.append(f"open {model}")
            if model in self.does_not_start:
                raise ServerStartError("no such file")

        async def close() -> None:
            self.events.append(f"close {model}")

        async def recover() -> None:
            """Nothing is ever lost here."""

        return Lane(model, trials, lambda: in_flight, ask, open_, recover, close, wave=wave)


Begin = Callable[..., Scheduler]


@pytest.fixture
def begin() -> Iterator[Begin]:
    started: list[Scheduler] = []

    def start(*turns: Sequence[Lane], **options: object) -> Scheduler:
        async def nothing() -> None:
            """Nothing is left to shut down."""

        policy = RetryPolicy(attempts=2, initial=0.001, cap=0.002)
        record = options.pop("record", lambda _: None)
        scheduler = Scheduler(turns, record, nothing, policy=policy, **options)  # type: ignore[arg-type] # keywords of this test
        started.append(scheduler)
        scheduler.start()
        return scheduler

    yield start
    for scheduler in started:
        scheduler.stop()


def wait(scheduler: Scheduler) -> None:
    while not scheduler.wait_for_all():
        pass


def test_a_judge_is_asked_when_all_lanes_of_its_turn_are_through(begin: Begin) -> None:
    world = World()
    asked, judged = make_trials(9, "m"), make_trials(9, "j", suite="judged")
    wait(begin([world.lane("m", asked), world.lane("j", judged, wave=2)]))
    sent = [event for event in world.events if " asks " in event]
    assert [event.split()[0] for event in sent] == ["m"] * 9 + ["j"] * 9
    assert world.events.index("open j") > world.events.index(sent[8])
    assert world.busiest == {"m": 2, "j": 2}


def test_a_model_judges_in_its_own_turn_without_being_opened_anew(begin: Begin) -> None:
    world = World()
    asked, judged = make_trials(3, "m"), make_trials(3, "m", suite="judged")
    wait(begin([world.lane("m", asked), world.lane("m", judged, wave=2)], []))
    assert [e for e in world.events if e.startswith("close")] == ["close m", "close m"]
    last_question = max(n for n, event in enumerate(world.events) if " asks " in event)
    assert world.events.index("close m") > last_question


def test_what_a_judge_is_asked_about_is_there_when_it_is_asked(begin: Begin) -> None:
    world = World()
    asked, judged = make_trials(20, "m"), make_trials(20, "j", suite="judged")
    seen: list[bool] = []
    named = threading.Event()

    def is_due(trial: Trial) -> bool:
        named.wait()  # the first wave may be through before `begin` has given its scheduler back
        seen.append(f"s::m::{trial.item.id}" in scheduler.predictions)
        return True

    lane = dataclasses.replace(world.lane("j", judged, wave=2), is_due=is_due)
    scheduler = begin([world.lane("m", asked, in_flight=7), lane])
    named.set()
    wait(scheduler)
    assert len(seen) >= 20
    assert all(seen)


def test_what_is_not_due_is_not_asked_and_its_model_not_opened(begin: Begin) -> None:
    world = World()
    world.refuses = {"s::m::i1"}
    asked, judged = make_trials(3, "m"), make_trials(3, "j", suite="judged")

    def is_due(trial: Trial) -> bool:
        prediction = scheduler.predictions.get(f"s::m::{trial.item.id}")
        return prediction is not None and prediction.answer is not None

    lane = dataclasses.replace(world.lane("j", judged, wave=2), is_due=is_due)
    never = dataclasses.replace(
        world.lane("k", make_trials(3, "k"), wave=2), is_due=lambda _: False
    )
    scheduler = begin([world.lane("m", asked), lane, never])
    wait(scheduler)
    assert {e for e in world.events if e.startswith("j asks")} == {
        "j asks judged::j::i0",
        "j asks judged::j::i2",
    }
    assert "open k" not in world.events
    assert "judged::j::i1" not in scheduler.predictions


def test_a_prediction_carries_the_hash_of_its_question_failed_or_not(begin: Begin) -> None:
    world = World()
    world.refuses = {"s::j::i1"}
    lane = world.lane("j", make_trials(2, "j"), wave=2)
    recorded: list[Prediction] = []
    lane = dataclasses.replace(lane, asked=lambda trial: f"hash of {trial.id}")
    wait(begin([lane], record=recorded.append))
    assert {p.trial_id: (p.asked, p.failure is None) for p in recorded} == {
        "s::j::i0": ("hash of s::j::i0", True),
        "s::j::i1": ("hash of s::j::i1", False),
    }


def test_a_judge_that_does_not_start_fails_its_trials_only(begin: Begin) -> None:
    world = World()
    world.does_not_start = {"j"}
    asked, judged = make_trials(2, "m"), make_trials(2, "j", suite="judged")
    scheduler = begin([world.lane("m", asked), world.lane("j", judged, wave=2)])
    wait(scheduler)
    failed = {id_ for id_, found in scheduler.predictions.items() if found.answer is None}
    assert failed == {trial.id for trial in judged}


def test_waiting_for_all_ends_when_the_scheduler_breaks(begin: Begin) -> None:
    def record(_: Prediction) -> None:
        raise OSError("disk full")

    world = World()
    scheduler = begin([world.lane("m", make_trials(3, "m"))], record=record)
    wait(scheduler)
    assert isinstance(scheduler.broken, OSError)


def test_waiting_for_all_ends_when_the_scheduler_is_stopped(begin: Begin) -> None:
    async def never(_: Trial) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    world = World()
    lane = dataclasses.replace(world.lane("m", make_trials(1, "m")), ask=never)
    scheduler = begin([lane])
    assert scheduler.wait_for_all(0.01) is False
    stopper = threading.Thread(target=scheduler.stop)
    stopper.start()
    wait(scheduler)
    stopper.join()
