"""The scheduler with engines made of coroutines: no process, no socket, only time and order."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import pytest

from pytest_llmeval.errors import (
    EndpointBusy,
    EndpointUnreachable,
    LlmevalError,
    RequestRefused,
    ServerLostError,
    ServerStartError,
    WrongKey,
)
from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    Message,
    Prediction,
    PromptVariant,
    Sampling,
    Settled,
    Suite,
    Trial,
    Unneeded,
)
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.running.retries import RetryPolicy
from pytest_llmeval.running.scheduler import Scheduler
from pytest_llmeval.running.stopping import Question, Stopping, SuiteWatch, Wish

PROMPT = PromptVariant("", (Message("user", "{{ q }}"),), "hash")
QUICK = RetryPolicy(attempts=3, initial=0.001, cap=0.002)


def make_trials(count: int, model: str = "m", suite: str = "s") -> list[Trial]:
    items = tuple(Item(f"i{n}", f"i{n}", {"q": str(n)}, str(n)) for n in range(count))
    its_suite = Suite(suite, f"suites/{suite}.yaml", items, "h", (PROMPT,), ())
    return list(trials_of(its_suite, Condition(model, model, PROMPT, Sampling(max_tokens=8))))


class Endpoint:
    """Answers with the item's id after `latency` seconds; `troubles` are raised first, per item."""

    def __init__(self, latency: float = 0.0, troubles: dict[str, list[Exception]] | None = None):
        self.latency = latency
        self.troubles = troubles or {}
        self.asked: list[str] = []
        self.busy = self.busiest = 0
        self.events: list[str] = []
        self.open_error: LlmevalError | None = None
        self.recover_error: LlmevalError | None = None

    async def ask(self, trial: Trial) -> Answer:
        self.asked.append(trial.item.id)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self.latency)
            waiting = self.troubles.get(trial.item.id)
            if waiting:
                raise waiting.pop(0)
            return Answer(trial.item.id, "stop")
        finally:
            self.busy -= 1

    async def open(self) -> None:
        self.events.append("open")
        if self.open_error:
            raise self.open_error

    async def recover(self) -> None:
        self.events.append("recover")
        if self.recover_error:
            raise self.recover_error

    async def close(self) -> None:
        self.events.append("close")

    def lane(self, trials: Sequence[Trial], in_flight: int = 3, model: str = "m") -> Lane:
        return Lane(model, trials, lambda: in_flight, self.ask, self.open, self.recover, self.close)


Start = Callable[..., Scheduler]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Scheduler] = []

    def begin(*turns: Sequence[Lane], **kwargs: object) -> Scheduler:
        async def nothing() -> None:
            """Nothing is left to shut down."""

        record = kwargs.pop("record", lambda _: None)
        options = {"policy": QUICK, "shutdown": nothing, **kwargs}
        scheduler = Scheduler(turns, record, **options)  # type: ignore[arg-type] # keywords of this test
        started.append(scheduler)
        scheduler.start()
        return scheduler

    yield begin
    for scheduler in started:
        scheduler.stop()


def collect(scheduler: Scheduler, trials: Sequence[Trial]) -> list[Prediction]:
    found = []
    for trial in trials:
        while (prediction := scheduler.wait(trial.id)) is None:
            pass
        assert isinstance(prediction, Prediction)
        found.append(prediction)
    return found


def test_every_trial_gets_one_prediction_and_no_more_than_in_flight_at_once(start: Start) -> None:
    trials, endpoint = make_trials(50), Endpoint(latency=0.001)
    found = collect(start([endpoint.lane(trials, in_flight=4)]), trials)
    assert [prediction.text for prediction in found] == [trial.item.id for trial in trials]
    assert Counter(endpoint.asked) == Counter(trial.item.id for trial in trials)
    assert endpoint.busiest == 4


def test_requests_are_sent_in_the_plans_order(start: Start) -> None:
    trials, endpoint = make_trials(20), Endpoint()
    collect(start([endpoint.lane(trials, in_flight=1)]), trials)
    assert endpoint.asked == [trial.item.id for trial in trials]


def test_a_trial_somebody_waits_for_goes_before_the_others(start: Start) -> None:
    trials, endpoint = make_trials(200), Endpoint(latency=0.01)
    scheduler = start([endpoint.lane(trials, in_flight=1)])
    collect(scheduler, [trials[-1]])
    assert endpoint.asked.index("i199") < 20


def test_predictions_are_recorded_before_anyone_sees_them(start: Start) -> None:
    trials, recorded = make_trials(5), list[str]()
    release = threading.Event()

    def record(prediction: Prediction) -> None:
        release.wait(10)
        recorded.append(prediction.trial_id)

    scheduler = start([Endpoint().lane(trials)], record=record)
    assert scheduler.wait(trials[0].id, 0.05) is None
    release.set()
    collect(scheduler, trials)
    assert sorted(recorded) == sorted(trial.id for trial in trials)


def test_a_busy_endpoint_is_asked_again_and_every_attempt_is_recorded(start: Start) -> None:
    trials = make_trials(1)
    endpoint = Endpoint(troubles={"i0": [EndpointBusy("full", status=429)]})
    [prediction] = collect(start([endpoint.lane(trials)]), trials)
    assert prediction.text == "i0"
    assert [(a.error, a.status) for a in prediction.attempts] == [("full", 429), (None, None)]


def test_a_refused_request_is_a_failure_at_once(start: Start) -> None:
    trials = make_trials(1)
    endpoint = Endpoint(troubles={"i0": [RequestRefused("too long", status=400)]})
    [prediction] = collect(start([endpoint.lane(trials)]), trials)
    assert prediction.answer is None
    assert prediction.failure is not None
    assert prediction.failure.message == "too long"
    assert endpoint.asked == ["i0"]


def test_attempts_have_a_limit(start: Start) -> None:
    trials = make_trials(1)
    endpoint = Endpoint(troubles={"i0": [EndpointBusy("full") for _ in range(9)]})
    [prediction] = collect(start([endpoint.lane(trials)]), trials)
    assert prediction.failure is not None
    assert prediction.failure.reason == "busy"
    assert len(prediction.attempts) == 3


def test_a_lost_endpoint_is_recovered_once_for_all_that_were_in_flight(start: Start) -> None:
    trials = make_trials(4)
    endpoint = Endpoint(0.01, {f"i{n}": [EndpointUnreachable("reset")] for n in range(4)})
    found = collect(start([endpoint.lane(trials, in_flight=4)]), trials)
    assert [prediction.text for prediction in found] == ["i0", "i1", "i2", "i3"]
    assert endpoint.events.count("recover") == 1


def test_an_endpoint_that_cannot_be_recovered_fails_the_rest_of_its_lane(start: Start) -> None:
    trials = make_trials(6)
    endpoint = Endpoint(troubles={"i2": [EndpointUnreachable("reset")]})
    endpoint.recover_error = ServerLostError("died 5 times", log_tail=("out of memory",))
    found = collect(start([endpoint.lane(trials, in_flight=1)]), trials)
    assert [prediction.answer is not None for prediction in found] == [True, True] + [False] * 4
    assert {p.failure.reason for p in found if p.failure} == {"server"}
    assert all("out of memory" in p.failure.message for p in found if p.failure)


def test_a_server_that_cannot_start_fails_its_trials_and_other_models_run(start: Start) -> None:
    bad_trials, good_trials = make_trials(3, "bad"), make_trials(3, "good")
    bad, good = Endpoint(), Endpoint()
    bad.open_error = ServerStartError("no such file")
    scheduler = start([bad.lane(bad_trials, model="bad"), good.lane(good_trials, model="good")])
    assert all(prediction.failure for prediction in collect(scheduler, bad_trials))
    assert all(prediction.answer for prediction in collect(scheduler, good_trials))
    assert bad.asked == []


def test_an_endpoint_that_refuses_to_be_opened_fails_its_trials_by_its_reason(start: Start) -> None:
    trials, endpoint = make_trials(2), Endpoint()
    endpoint.open_error = WrongKey("HTTP 401: no", status=401)
    found = collect(start([endpoint.lane(trials)]), trials)
    assert [p.failure.reason for p in found if p.failure] == ["wrong_key"] * 2


def test_the_last_words_of_a_server_stand_once_and_its_other_trials_name_the_place(
    start: Start,
) -> None:
    trials, endpoint = make_trials(3), Endpoint()
    endpoint.open_error = ServerStartError("it ended", log_tail=("loading", "unknown architecture"))
    scheduler = start([endpoint.lane(trials)])
    told = [p.failure.message for p in collect(scheduler, trials) if p.failure]
    full = "its last words:\n    loading\n    unknown architecture"
    brief = f"its last words, in full with {trials[0].id}: unknown architecture"
    assert told == [f"it ended\n{full}", f"it ended; {brief}", f"it ended; {brief}"]


@pytest.mark.parametrize(
    ("why", "brief"),
    [
        ("x.yaml:3: it needs Ollama. Install it", "x.yaml:3: it needs Ollama; in full with {}"),
        ("y" * 400, "y" * 117 + "...; in full with {}"),
        ("x.yaml:3: the weights are others", "x.yaml:3: the weights are others"),
    ],
    ids=["sentences", "long", "short"],
)
def test_why_a_model_is_lost_stands_once_in_full(start: Start, why: str, brief: str) -> None:
    trials, endpoint = make_trials(3), Endpoint()
    endpoint.open_error = LlmevalError(why)
    scheduler = start([endpoint.lane(trials)])
    told = [p.failure.message for p in collect(scheduler, trials) if p.failure]
    assert told == [why, *[brief.format(trials[0].id)] * 2]


def test_a_run_that_is_stopped_leaves_no_noise_behind(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Exceptions that nobody has taken are logged by asyncio when their tasks are collected."""
    trials = make_trials(2)
    collect(scheduler := start([Endpoint().lane(trials)]), trials)
    scheduler.stop()
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


def test_models_take_turns_and_a_turns_endpoints_close_before_the_next_opens(start: Start) -> None:
    first, second = make_trials(5, "a"), make_trials(5, "b")
    one, two = Endpoint(), Endpoint()
    one.events = two.events = []
    scheduler = start([one.lane(first, model="a")], [two.lane(second, model="b")])
    collect(scheduler, [*first, *second])
    assert one.events == ["open", "close", "open"]


def test_known_predictions_are_not_asked_again(start: Start) -> None:
    trials, endpoint = make_trials(3), Endpoint()
    known = Prediction(trials[0].id, Answer("earlier", "stop"), None)
    scheduler = start([endpoint.lane(trials[1:])], known=[known])
    assert [prediction.text for prediction in collect(scheduler, trials)] == ["earlier", "i1", "i2"]
    assert sorted(endpoint.asked) == ["i1", "i2"]
    assert scheduler.news(0)[0] is known


def test_stopping_drops_what_is_under_way_and_says_so_to_who_waits(start: Start) -> None:
    trials, endpoint = make_trials(3), Endpoint(latency=60)
    scheduler = start([endpoint.lane(trials)])
    while not endpoint.asked:
        time.sleep(0.001)
    scheduler.stop()
    assert endpoint.busy == 0
    with pytest.raises(LlmevalError, match="the run was stopped before s::m::i0 was answered"):
        scheduler.wait(trials[0].id)


def test_a_record_that_cannot_be_written_breaks_the_run_off(start: Start) -> None:
    def full(_: Prediction) -> None:
        raise OSError(28, "No space left on device")

    trials = make_trials(3)
    scheduler = start([Endpoint().lane(trials)], record=full)
    with pytest.raises(LlmevalError, match=r"the run broke off: OSError.*No space left"):
        collect(scheduler, trials)


def test_a_trial_outside_the_plan_is_refused_by_name_once_the_run_has_ended(start: Start) -> None:
    scheduler = start([Endpoint().lane(make_trials(1))])
    scheduler.stop()
    with pytest.raises(LlmevalError, match="s::m::unknown is not part of this run's plan"):
        scheduler.wait("s::m::unknown")


def test_shutdown_runs_whatever_ended_the_run(start: Start) -> None:
    ended = threading.Event()

    async def shutdown() -> None:
        ended.set()

    scheduler = start([Endpoint(latency=60).lane(make_trials(1))], shutdown=shutdown)
    scheduler.stop()
    assert ended.is_set()


def test_other_work_can_be_called_on_the_loop_while_trials_run(start: Start) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 42

    scheduler = start([Endpoint(latency=0.05).lane(make_trials(3))])
    assert scheduler.call(work()) == 42
    scheduler.stop()
    with pytest.raises(LlmevalError, match="the run has ended"):
        scheduler.call(work())


def test_under_way_counts_from_sending_and_not_from_waiting(start: Start) -> None:
    trials, endpoint = make_trials(2), Endpoint(latency=60)
    scheduler = start([endpoint.lane(trials, in_flight=1)])
    while not endpoint.asked:
        time.sleep(0.001)
    assert scheduler.under_way(trials[0].id) > 0
    assert scheduler.under_way(trials[1].id) == 0


def test_queued_time_is_what_the_server_did_not_spend_on_the_request(start: Start) -> None:
    trials = make_trials(1)

    class Timed(Endpoint):
        async def ask(self, trial: Trial) -> Answer:
            await asyncio.sleep(0.05)
            return Answer("x", "stop", service_ms=10.0)

    [prediction] = collect(start([Timed().lane(trials)]), trials)
    assert prediction.total_ms >= 50
    assert prediction.queued_ms == pytest.approx(prediction.total_ms - 10)


def test_a_resumed_runs_times_count_on_from_its_earlier_sessions(start: Start) -> None:
    trials = make_trials(1)
    [prediction] = collect(start([Endpoint().lane(trials)], elapsed=1000.0), trials)
    assert prediction.started >= 1000


def test_work_that_was_called_ends_with_the_run_and_says_so(start: Start) -> None:
    scheduler = start([Endpoint().lane(make_trials(1))])
    begun = threading.Event()
    said: list[str] = []

    async def work() -> None:
        begun.set()
        await asyncio.sleep(60)

    def call() -> None:
        try:
            scheduler.call(work())
        except LlmevalError as error:
            said.append(str(error))

    caller = threading.Thread(target=call)
    caller.start()
    begun.wait()
    scheduler.stop()
    caller.join()
    assert said == ["the run has ended: nothing can be asked any more"]


def test_work_that_is_called_while_the_run_shuts_down_is_refused(start: Start) -> None:
    reached, go_on = threading.Event(), threading.Event()

    async def shutdown() -> None:
        reached.set()
        await asyncio.to_thread(go_on.wait)

    async def work() -> None:
        """Would open a model that nobody closes."""

    scheduler = start([Endpoint().lane(make_trials(1))], shutdown=shutdown)
    stopper = threading.Thread(target=scheduler.stop)
    stopper.start()
    reached.wait()
    try:
        with pytest.raises(LlmevalError, match="the run has ended"):
            scheduler.call(work())
    finally:
        go_on.set()
        stopper.join()


# Stopping early -----------------------------------------------------------------------------------


class UntilText(Stopping):
    """Everything after the answer to one item is not needed; `slow` is how long that takes."""

    def __init__(self, trials: Sequence[Trial], last: str, slow: float = 0.0):
        super().__init__()
        self.trials, self.last, self.slow = {t.id: t for t in trials}, last, slow
        self.done = False

    def follows(self, trial_id: str) -> bool:
        return trial_id in self.trials

    def lead(self, trial: Trial, models: Collection[str]) -> int:
        return 0

    def take(self, prediction: Prediction) -> list[Settled]:
        time.sleep(self.slow)
        if self.done:
            return []
        self.done = prediction.text == self.last
        rest = list(self.trials)[list(self.trials).index(prediction.trial_id) + 1 :]
        return [prediction, *(Unneeded(trial_id) for trial_id in rest if self.done)]


def test_what_is_not_needed_is_not_asked_and_told_at_once(start: Start) -> None:
    trials, endpoint = make_trials(30), Endpoint(latency=0.002)
    lane = endpoint.lane(trials, in_flight=2)
    scheduler = start([lane], stopping=UntilText(trials, "i5"))
    found = collect(scheduler, trials[:6])
    assert [prediction.text for prediction in found] == [f"i{n}" for n in range(6)]
    for trial in trials[6:]:
        while (settled := scheduler.wait(trial.id)) is None:
            pass
        assert settled == Unneeded(trial.id)
    assert len(endpoint.asked) <= 6 + 2 + 3  # under way, and waiting to be settled


def test_an_engine_that_is_quicker_than_the_scorers_does_not_run_ahead(start: Start) -> None:
    trials, endpoint = make_trials(60), Endpoint()
    lane = endpoint.lane(trials, in_flight=2)
    scheduler = start([lane], stopping=UntilText(trials, "i5", slow=0.01))
    while scheduler.wait(trials[-1].id) is None:
        pass
    assert len(endpoint.asked) <= 6 + 2 + 3


def test_answers_beyond_what_is_needed_are_recorded_all_the_same(start: Start) -> None:
    trials, recorded = make_trials(30), list[str]()
    endpoint = Endpoint(latency=0.01)
    scheduler = start(
        [endpoint.lane(trials, in_flight=8)],
        stopping=UntilText(trials, "i0"),
        record=lambda prediction: recorded.append(prediction.trial_id),
    )
    while scheduler.wait(trials[-1].id) is None:
        pass
    scheduler.stop()
    assert set(recorded) == set(scheduler.predictions)
    assert {s.trial_id for s in scheduler.news(0) if isinstance(s, Unneeded)} == {
        trial.id for trial in trials[1:]
    }


def test_a_model_of_which_nothing_is_needed_is_not_opened(start: Start) -> None:
    first, second = make_trials(3), make_trials(3, model="n")
    one, other, third = Endpoint(), Endpoint(), Endpoint()
    last = make_trials(1, model="o")
    scheduler = start(
        [one.lane(first)],
        [other.lane(second, model="n")],
        [third.lane(last, model="o")],
        stopping=UntilText([*first, *second], "i2"),
    )
    collect(scheduler, last)
    assert other.events == []
    assert other.asked == []


def test_what_an_earlier_session_has_decided_is_settled_before_anything_is_asked(
    start: Start,
) -> None:
    trials, endpoint = make_trials(5), Endpoint()
    known = [Prediction(trial.id, Answer(trial.item.id, "stop"), None) for trial in trials[:2]]
    scheduler = start([endpoint.lane(trials[2:])], known=known, stopping=UntilText(trials, "i1"))
    while scheduler.wait(trials[4].id) is None:
        pass
    assert endpoint.asked == []
    assert scheduler.news(0)[:2] == known


def test_a_wish_changes_no_order_of_what_may_stop(start: Start) -> None:
    trials, endpoint = make_trials(20), Endpoint(latency=0.002)
    scheduler = start([endpoint.lane(trials, in_flight=1)], stopping=UntilText(trials, "i19"))
    collect(scheduler, [trials[-1]])
    assert endpoint.asked == [trial.item.id for trial in trials]


def pair_of(first: Sequence[Trial], second: Sequence[Trial], least: int) -> Stopping:
    """Two models, both asked until so many items of both are in."""
    taken: list[object] = []

    def add(values: Sequence[object]) -> bool:
        taken.append(values)
        return len(taken) >= least

    trials = [*first, *second]
    question = Question(tuple({t.condition.name: None for t in trials}), "exact", add)
    wish = Wish((question,))
    return Stopping([SuiteWatch(trials, {t.condition.name: wish for t in trials})])


def test_a_quick_model_does_not_run_away_from_the_one_it_is_compared_with(start: Start) -> None:
    first, second = make_trials(100), make_trials(100, model="n")
    quick, slow = Endpoint(), Endpoint(latency=0.01)
    scheduler = start(
        [quick.lane(first), slow.lane(second, model="n")], stopping=pair_of(first, second, 6)
    )
    while scheduler.wait(first[-1].id) is None:
        pass
    while scheduler.wait(second[-1].id) is None:
        pass
    assert len(quick.asked) <= 6 + 2 * 3 + 3  # the lead, and what each slot may yet send
    assert len(slow.asked) <= 6 + 3 + 3


@pytest.mark.parametrize("trouble", ["at the start", "on the way"])
def test_a_model_that_is_lost_holds_the_other_up_no_longer(start: Start, trouble: str) -> None:
    first, second = make_trials(40), make_trials(40, model="n")
    lost = Endpoint(latency=0.002, troubles={"i9": [EndpointUnreachable("gone")]})
    lost.open_error = ServerStartError("no") if trouble == "at the start" else None
    lost.recover_error = ServerLostError("gone for good")
    quick = Endpoint()
    scheduler = start(
        [quick.lane(first), lost.lane(second, model="n")], stopping=pair_of(first, second, 99)
    )
    for trial in (*first, *second):
        while scheduler.wait(trial.id) is None:
            pass
    assert len(quick.asked) == 40
    assert scheduler.predictions[second[-1].id].failure is not None


def test_a_model_that_is_asked_in_another_turn_is_not_waited_for(start: Start) -> None:
    """Memory may be less when a run is resumed: the turns are others then."""
    first, second = make_trials(30), make_trials(30, model="n")
    one, other = Endpoint(), Endpoint()
    scheduler = start(
        [one.lane(first)], [other.lane(second, model="n")], stopping=pair_of(first, second, 3)
    )
    while scheduler.wait(second[-1].id) is None:
        pass
    assert len(one.asked) == 30
    assert len(other.asked) <= 3 + 3 + 3


def test_a_stop_ends_those_that_wait_for_another_model(start: Start) -> None:
    first, second = make_trials(30), make_trials(30, model="n")
    quick, stuck = Endpoint(), Endpoint(latency=600)
    scheduler = start(
        [quick.lane(first), stuck.lane(second, model="n")], stopping=pair_of(first, second, 3)
    )
    while len(scheduler.predictions) < 7:
        time.sleep(0.001)
    scheduler.stop()
    assert len(quick.asked) == 7


def test_trouble_while_settling_breaks_the_run_off(start: Start) -> None:
    class Broken(UntilText):
        def take(self, prediction: Prediction) -> list[Settled]:
            raise RuntimeError("out of order")

    trials = make_trials(3)
    scheduler = start([Endpoint().lane(trials)], stopping=Broken(trials, ""))
    with pytest.raises(LlmevalError, match="the run broke off: RuntimeError: out of order"):
        collect(scheduler, trials)
