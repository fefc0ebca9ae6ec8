"""Hours of faults on the real scheduler in seconds: no deadlock, no lost trial, no doubled one.

    python tools/virtual_faults.py [--hours 8] [--worlds 300] [--seed 7]

First one long run of so many simulated hours, then many small ones. In each, endpoints with a
weather of their own (busy, loading, reset, hanging, dying, never starting) are asked by the lanes,
turns, waves and batches of `pytest_llmeval.running`, in virtual time (`virtual_time.py`); suites
stop early, tests wait for trials out of order, and Ctrl-C comes at random moments, after which the
run is resumed. A promise that breaks is told with its seed, and exit status 1.
`tests/running/test_virtual_faults.py` does the same for a moment.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_llmeval.errors import (
    BadAnswer,
    EndpointAbsent,
    EndpointBusy,
    EndpointKilled,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
    LlmevalError,
    RequestRefused,
    ResultMissing,
    ServerLostError,
    ServerStartError,
)
from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    Prediction,
    PromptVariant,
    Sampling,
    Score,
    StopSpec,
    Suite,
    Trial,
    Unneeded,
)
from pytest_llmeval.running.batches import Batch, BatchLane
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.plan import trials_of
from pytest_llmeval.running.retries import RetryPolicy
from pytest_llmeval.running.scheduler import Scheduler
from pytest_llmeval.running.stopping import Question, Stopping, SuiteWatch, Values, Wish
from tools.virtual_time import Deadlock, VirtualLoop, run_virtually

HOUR = 3600.0
POLICY = RetryPolicy()
REQUEST_TIMEOUT = 600.0
PROMPT = PromptVariant("", (), "hash")


class Broken(Exception):
    """A promise that was not kept."""


@dataclass
class Tally:
    """What has happened, over all sessions."""

    seconds: float = 0.0
    sessions: int = 0
    interrupts: int = 0
    requests: int = 0
    predictions: int = 0
    unneeded: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    busiest: dict[int, int] = field(default_factory=dict)

    def note_in_flight(self, bound: int, now: int) -> None:
        """How many requests are in flight at an endpoint that may have so many."""
        self.busiest[bound] = max(self.busiest.get(bound, 0), now)
        if now > bound:
            raise Broken(f"{now} requests in flight where {bound} may be")


# The endpoints ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weather:
    """How an endpoint behaves: shares of requests, and seconds."""

    latency: float
    shares: Mapping[str, float]
    lives: float
    storms: float
    starts: float = 1.0
    returns: float = 1.0


MILD = Weather(14.0, {"busy": 0.01, "reset": 0.004, "hang": 0.001, "refused": 0.002}, 3000, 2000)
ROUGH = Weather(
    6.0,
    {"busy": 0.15, "quota": 0.01, "reset": 0.05, "hang": 0.01, "refused": 0.03, "bad": 0.03}
    | {"killed": 0.005},
    lives=400,
    storms=300,
    starts=0.85,
    returns=0.9,
)


class Endpoint:
    """A server with slots, a queue, and a weather. Raises Broken when it is treated wrongly."""

    def __init__(self, slots: int, ahead: int, weather: Weather, chance: random.Random, sim: Sim):
        self.bound = slots + ahead
        self.weather = weather
        self.chance = chance
        self.sim = sim
        self.open_ = self.up = False
        self.in_flight = 0
        self._slots = asyncio.Semaphore(slots)
        self._dies_at = self._storm_begins = self._storm_ends = 0.0
        self.back_at: dict[str, float] = {}
        self.sent: Counter[str] = Counter()

    async def open(self) -> None:
        """Start it, which takes its time and may fail."""
        self.open_ = True
        await asyncio.sleep(self.chance.uniform(1, 60))
        if self.chance.random() > self.weather.starts:
            raise self.fault("never starts", ServerStartError("no such file"))
        self._rise()

    async def recover(self) -> None:
        """Restart it where it is dead."""
        await asyncio.sleep(0.05)
        if not self.up:
            await asyncio.sleep(self.chance.uniform(5, 90))
            if self.chance.random() > self.weather.returns:
                raise self.fault("lost for good", ServerLostError("died 5 times"))
            self._rise()

    async def close(self) -> None:
        """Let go of it."""
        self.open_ = self.up = False

    async def ask(self, trial: Trial) -> Answer:
        """One attempt, whatever becomes of it."""
        if not self.open_:
            raise Broken(f"{trial.id} was sent to an endpoint that is not open")
        if self.now < self.back_at.get(trial.id, 0.0):
            raise Broken(f"{trial.id} came back earlier than Retry-After allows")
        self.sim.tally.requests += 1
        self.sent[trial.id] += 1
        self.in_flight += 1
        self.sim.tally.note_in_flight(self.bound, self.in_flight)
        try:
            return await asyncio.wait_for(self._answer(trial), REQUEST_TIMEOUT)
        except asyncio.TimeoutError:
            raise self.fault("hang until the timeout", EndpointTimeout("no answer")) from None
        finally:
            self.in_flight -= 1

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self.sim.loop.time()

    def fault(self, name: str, error: LlmevalError) -> LlmevalError:
        """Count a fault."""
        self.sim.tally.faults[name] += 1
        return error

    def _rise(self) -> None:
        self.up = True
        self._dies_at = self.now + self.chance.expovariate(1 / self.weather.lives)

    async def _answer(self, trial: Trial) -> Answer:
        if not self.up:
            raise self.fault("connection refused", EndpointAbsent("nothing answers"))
        if self._stormy():
            raise self.fault("503 storm", EndpointBusy("Loading model", status=503))
        await self._early_fault(trial)
        async with self._slots:
            takes = self.weather.latency * self.chance.lognormvariate(0, 0.6)
            if self.now + takes >= self._dies_at:
                await asyncio.sleep(max(0.0, self._dies_at - self.now))
                self.up = False
                raise self.fault("server died", EndpointUnreachable("closed in mid-answer"))
            await asyncio.sleep(takes)
        return Answer(trial.item.id, "stop", service_ms=1000 * takes)

    def _stormy(self) -> bool:
        if self.now >= self._storm_ends:
            self._storm_begins = self.now + self.chance.expovariate(1 / self.weather.storms)
            self._storm_ends = self._storm_begins + self.chance.uniform(0.2, 20)
        return self.now >= self._storm_begins

    async def _early_fault(self, trial: Trial) -> None:
        names = list(self.weather.shares)
        weights = [*self.weather.shares.values()]
        [name] = self.chance.choices([*names, ""], [*weights, 1 - sum(weights)])
        if name:
            await asyncio.sleep(self.chance.uniform(0, self.weather.latency))
            if name == "hang":
                await asyncio.sleep(10 * REQUEST_TIMEOUT)
            raise self._error(name, trial)

    def _error(self, name: str, trial: Trial) -> LlmevalError:
        if name in {"busy", "quota"}:
            wait = 3600.0 if name == "quota" else self.chance.choice((None, 1.0, 5.0, 30.0, 120.0))
            self.back_at[trial.id] = self.now + (wait or 0.0)
            words = "429, quota of the day" if name == "quota" else "429 with Retry-After"
            return self.fault(words, EndpointBusy("slow down", status=429, retry_after=wait))
        if name == "killed":
            self.up = False
            return self.fault("killed by a request", EndpointKilled("died over it"))
        made: dict[str, EngineError] = {
            "reset": EndpointUnreachable("reset"),
            "refused": RequestRefused("too long", status=400),
            "bad": BadAnswer("no JSON"),
        }
        return self.fault(name, made[name])


class Service:
    """Takes one batch: submits, polls and fetches with troubles of their own."""

    def __init__(self, trials: Sequence[Trial], endpoint: Endpoint):
        self.trials = trials
        self.endpoint = endpoint
        self.looks = endpoint.chance.randrange(1, 30)

    def batch(self) -> Batch:
        """What the scheduler sees of it."""
        return Batch(self.trials, self._submit, self._poll, self._fetch)

    async def _submit(self) -> None:
        await self._step()

    async def _poll(self) -> bool:
        await self._step()
        self.looks -= 1
        return self.looks <= 0

    async def _fetch(self) -> Mapping[str, Answer | EngineError]:
        await self._step()
        missing = ResultMissing("no result")
        chance = self.endpoint.chance
        return {
            trial.id: missing if chance.random() < 0.02 else Answer(trial.item.id, "stop")
            for trial in self.trials
        }

    async def _step(self) -> None:
        chance = self.endpoint.chance
        self.endpoint.sim.tally.requests += 1
        await asyncio.sleep(chance.uniform(0.1, 5))
        if chance.random() < 0.1:
            self.endpoint.sim.tally.faults["batch service unreachable"] += 1
            raise EndpointUnreachable("the network is gone")


# One run ------------------------------------------------------------------------------------------


@dataclass
class LanePlan:
    """What one lane is to ask, and of whom."""

    model: str
    trials: list[Trial]
    slots: int
    ahead: int
    weather: Weather
    batch: bool = False
    wave: int = 1
    about: dict[str, str] = field(default_factory=dict)  # judged trials, by that of the judge


@dataclass
class RunPlan:
    """Turns of lanes, and the suites that may stop: their trials and after how many items."""

    turns: list[list[LanePlan]]
    stops: list[tuple[list[Trial], tuple[str, ...], int]] = field(default_factory=list)

    def trials(self) -> list[Trial]:
        """All that may be asked."""
        return [trial for turn in self.turns for lane in turn for trial in lane.trials]


class Sim:
    """One run with as many sessions as it is interrupted. `journal` is what is written down."""

    def __init__(self, plan: RunPlan, chance: random.Random, tally: Tally):
        self.plan = plan
        self.chance = chance
        self.tally = tally
        self.journal: dict[str, Prediction] = {}
        self.loop = VirtualLoop()
        self._elapsed = 0.0
        self._endpoints: list[Endpoint] = []
        self._ids = {trial.id for trial in plan.trials()}

    def play(self, interrupts: Sequence[float]) -> None:
        """Run it to its end, interrupted after so many seconds each; raises Broken, Deadlock."""
        for when in [*interrupts, None]:
            if self._session(when):
                break
        else:
            raise Broken("the run was never through")
        self.tally.seconds += self._elapsed
        self.tally.predictions += len(self.journal)

    def _session(self, interrupt_after: float | None) -> bool:
        """One session; whether the run is through."""
        self.loop = VirtualLoop()
        self._endpoints = []
        self.tally.sessions += 1
        known = list(self.journal.values())
        stopping = Stopping([_watch(*stop) for stop in self.plan.stops], _score)
        scheduler = Scheduler(
            [[self._lane(lane) for lane in turn] for turn in self.plan.turns],
            self._record,
            self._shut_down,
            known=known,
            elapsed=self._elapsed,
            stopping=stopping,
            policy=POLICY,
            clock=self.loop.time,
            jitter=self.chance.random,
        )
        if interrupt_after is not None:
            self.loop.call_later(interrupt_after, scheduler.stop)
        for _ in range(min(50, len(self._ids))):
            self.loop.call_later(self.chance.uniform(0, 2000), self._look, scheduler)
        try:
            run_virtually(self.loop, scheduler.live(stay=False))
        finally:
            self._elapsed += self.loop.time()
            self.loop.close()
        through = scheduler.wait_for_all(0)
        self.tally.interrupts += not through
        self._check(scheduler, len(known), through=through)
        return through

    def _lane(self, plan: LanePlan) -> Lane | BatchLane:
        endpoint = Endpoint(plan.slots, plan.ahead, plan.weather, self.chance, self)
        self._endpoints.append(endpoint)
        left = [trial for trial in plan.trials if trial.id not in self.journal]
        opening = self._opener(endpoint, plan)
        if plan.batch:
            size = max(1, math.ceil(len(left) / 3))
            parts = [left[start : start + size] for start in range(0, len(left), size)]
            batches = [Service(part, endpoint).batch() for part in parts]
            return BatchLane(plan.model, batches, opening, endpoint.close)
        return Lane(
            plan.model,
            left,
            lambda: endpoint.bound,
            endpoint.ask,
            opening,
            endpoint.recover,
            endpoint.close,
            wave=plan.wave,
            is_due=lambda trial: self._is_due(plan, trial),
        )

    def _opener(self, endpoint: Endpoint, plan: LanePlan) -> Callable[[], Awaitable[None]]:
        others = {lane.model for turn in self.plan.turns for lane in turn if plan not in turn}
        here = {lane.model for turn in self.plan.turns for lane in turn if plan in turn}

        async def opening() -> None:
            clash = [
                each.model
                for each, its in zip(self._lane_plans(), self._endpoints, strict=True)
                if its.open_ and each.model in others - here
            ]
            if clash:
                raise Broken(f"{plan.model} opens while {clash} of another turn are open")
            await endpoint.open()

        return opening

    def _lane_plans(self) -> list[LanePlan]:
        return [lane for turn in self.plan.turns for lane in turn]

    def _is_due(self, plan: LanePlan, trial: Trial) -> bool:
        if plan.wave == 1:
            return True
        judged = self.journal.get(plan.about[trial.id])
        return judged is not None and judged.answer is not None

    def _record(self, prediction: Prediction) -> None:
        if prediction.trial_id in self.journal:
            raise Broken(f"{prediction.trial_id} has two predictions")
        if prediction.trial_id not in self._ids:
            raise Broken(f"{prediction.trial_id} is none of the plan")
        self.journal[prediction.trial_id] = prediction
        if prediction.answer is not None and prediction.text != _item_of(prediction.trial_id):
            raise Broken(f"{prediction.trial_id} has the answer of {prediction.text}")

    async def _shut_down(self) -> None:
        for endpoint in self._endpoints:
            await endpoint.close()

    def _look(self, scheduler: Scheduler) -> None:
        """A test waits for its trial."""
        trial_id = self.chance.choice(sorted(self._ids))
        scheduler.wait(trial_id, 0)
        if scheduler.under_way(trial_id) < 0:
            raise Broken(f"{trial_id} is under way since a later time")

    # What must be true ----------------------------------------------------------------------------

    def _check(self, scheduler: Scheduler, known: int, *, through: bool) -> None:
        news = scheduler.news(0)
        told = Counter(settled.trial_id for settled in news)
        if twice := [trial_id for trial_id, times in told.items() if times > 1]:
            raise Broken(f"settled twice: {twice[:3]}")
        sent = sum((endpoint.sent for endpoint in self._endpoints), Counter[str]())
        for prediction in list(self.journal.values())[known:]:
            self._check_attempts(prediction, sent[prediction.trial_id])
        if any(endpoint.in_flight for endpoint in self._endpoints):
            raise Broken("requests are in flight after the end")
        if through:
            self.tally.unneeded += sum(isinstance(each, Unneeded) for each in news)
            lanes = self._lane_plans()
            due = {t.id for lane in lanes for t in lane.trials if self._is_due(lane, t)}
            if lost := due - told.keys():
                raise Broken(f"{len(lost)} lost, such as {min(lost)}")

    def _check_attempts(self, prediction: Prediction, sent: int) -> None:
        attempts = prediction.attempts
        batched = any(
            lane.batch and any(t.id == prediction.trial_id for t in lane.trials[:1])
            for lane in self._lane_plans()
        )
        if len(attempts) > POLICY.attempts:
            raise Broken(f"{prediction.trial_id} was tried {len(attempts)} times")
        if sent and sent != len(attempts) and not batched:
            raise Broken(f"{prediction.trial_id}: sent {sent} times, {len(attempts)} recorded")
        failed = [attempt for attempt in attempts if attempt.error is not None]
        if (prediction.answer is None) == (len(failed) < len(attempts)) and attempts:
            raise Broken(f"{prediction.trial_id}: its attempts are not those of its outcome")


def _item_of(trial_id: str) -> str:
    return trial_id.rsplit("::", 1)[1]


def _score(_: Trial, prediction: Prediction) -> tuple[Score, ...]:
    if prediction.answer is None:
        return (Score("exact", "failure", None, "timeout"),)
    return (Score("exact", "right", 1.0),)


def _watch(trials: list[Trial], conditions: tuple[str, ...], enough: int) -> SuiteWatch:
    seen: list[Sequence[Values]] = []

    def add(values: Sequence[Values]) -> bool:
        seen.append(values)
        return len(seen) >= enough

    question = Question(conditions, "exact", add)
    return SuiteWatch(trials, dict.fromkeys(conditions, Wish((question,))))


# Runs ---------------------------------------------------------------------------------------------


def make_trials(suite: str, model: str, count: int, *, stops: bool = False) -> list[Trial]:
    """The trials of one condition."""
    items = tuple(Item(f"i{n}", f"i{n}", {}, None) for n in range(count))
    its_suite = Suite(
        suite, f"suites/{suite}.yaml", items, "h", (PROMPT,), (), stop=StopSpec() if stops else None
    )
    return list(trials_of(its_suite, Condition(model, model, PROMPT, Sampling(8))))


def long_run(hours: float) -> RunPlan:
    """Two turns of three models, as many trials as so many hours take when little goes wrong, with
    a judge, batches, and a suite that stops, in each.
    """
    turns: list[list[LanePlan]] = []
    stops: list[tuple[list[Trial], tuple[str, ...], int]] = []
    for turn in "ab":
        lanes = []
        for number, slots in enumerate((2, 4, 8)):
            model = f"{turn}{number}"
            count = int(hours / 2 * HOUR * slots / (1.2 * MILD.latency)) + slots
            lanes.append(LanePlan(model, make_trials("s", model, count), slots, 1, MILD))
        compared = [make_trials("stop", lane.model, 400, stops=True) for lane in lanes[:2]]
        for lane, trials in zip(lanes, compared, strict=False):
            lane.trials += trials
        conditions = (lanes[0].model, lanes[1].model)
        stops.append(([trial for its in compared for trial in its], conditions, 250))
        batched = make_trials("s", f"{turn}-batch", 200)
        lanes.append(LanePlan(f"{turn}-batch", batched, 1, 0, MILD, batch=True))
        turns.append([*lanes, judge_of(lanes[0], lanes[1].model, every=20)])
    return RunPlan(turns, stops)


def random_run(chance: random.Random) -> RunPlan:
    """Anything that a config and its suites may lead to, small."""
    turns: list[list[LanePlan]] = []
    for turn in range(chance.randint(1, 3)):
        lanes = [_random_lane(f"m{turn}{n}", chance) for n in range(chance.randint(1, 3))]
        turns.append(lanes + _judges(lanes, chance))
    return RunPlan(turns, _stopping_suites(turns, chance))


def _random_lane(model: str, chance: random.Random) -> LanePlan:
    trials = make_trials("s", model, chance.choice((0, 1, 7, 40, 150)))
    weather = chance.choice((MILD, ROUGH, ROUGH))
    ahead = chance.randint(0, 1)
    return LanePlan(
        model, trials, chance.choice((1, 2, 4, 8)), ahead, weather, chance.random() < 0.15
    )


def _judges(lanes: Sequence[LanePlan], chance: random.Random) -> list[LanePlan]:
    """Perhaps a second wave, about answers of the first one, by one of its models or another."""
    judged = chance.choice(lanes)
    if not judged.trials or chance.random() < 0.5:
        return []
    model = chance.choice([judged.model, f"judge-{judged.model}"])
    return [judge_of(judged, model, chance.choice((MILD, ROUGH)))]


def judge_of(judged: LanePlan, model: str, weather: Weather = MILD, *, every: int = 1) -> LanePlan:
    """A second wave: one question about each answer of a lane, or each n-th, for this model."""
    chosen = judged.trials[::every]
    trials = make_trials("judged", model, len(chosen))
    about = {one.id: other.id for one, other in zip(trials, chosen, strict=True)}
    return LanePlan(model, trials, 2, 1, weather, wave=2, about=about)


def _stopping_suites(
    turns: Sequence[Sequence[LanePlan]], chance: random.Random
) -> list[tuple[list[Trial], tuple[str, ...], int]]:
    """Suites of one or two conditions that stop after some items; their trials join the lanes."""
    stops = []
    lanes = [lane for turn in turns for lane in turn if lane.wave == 1 and not lane.batch]
    for number in range(chance.randint(0, 2) if lanes else 0):
        chosen = chance.sample(lanes, k=min(len(lanes), chance.randint(1, 2)))
        count = chance.choice((5, 30, 80))
        its: list[Trial] = []
        for lane in chosen:
            trials = make_trials(f"stop{number}", lane.model, count, stops=True)
            lane.trials += trials
            its += trials
        conditions = tuple(lane.model for lane in chosen)
        stops.append((its, conditions, chance.randint(1, count + 5)))
    return stops


def play_long(hours: float, seed: int, tally: Tally) -> None:
    """One run of about so many hours."""
    Sim(long_run(hours), random.Random(seed), tally).play([])


def play_small(seed: int, tally: Tally) -> None:
    """One small run, perhaps interrupted some times."""
    chance = random.Random(seed)
    interrupts = [chance.expovariate(1 / 400) for _ in range(chance.choice((0, 0, 1, 3)))]
    Sim(random_run(chance), chance, tally).play(interrupts)


def lines(tally: Tally) -> Iterable[str]:
    """The figures."""
    yield f"simulated: {tally.seconds / HOUR:,.1f} hours in {tally.sessions:,} sessions"
    yield f"requests: {tally.requests:,}; predictions: {tally.predictions:,}"
    yield f"not needed any more: {tally.unneeded:,}; interrupted: {tally.interrupts:,}"
    yield f"faults: {sum(tally.faults.values()):,}"
    for name, count in tally.faults.most_common():
        yield f"    {name:<28}{count:>9,}"
    shown = ", ".join(f"{most} of {bound}" for bound, most in sorted(tally.busiest.items()))
    yield f"in flight at most, of slots + ahead: {shown}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print the figures, and say what broke."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=8.0, help="of the long run")
    parser.add_argument("--worlds", type=int, default=300, help="how many small runs")
    parser.add_argument("--seed", type=int, default=7, help="where the random numbers start")
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    tally = Tally()
    seed = given.seed
    try:
        play_long(given.hours, seed, tally)
        long = f"the long run: {tally.seconds / HOUR:,.1f} hours"
        print(f"{long} in {time.perf_counter() - began:.1f} s", flush=True)
        for seed in range(given.seed, given.seed + given.worlds):
            play_small(seed, tally)
    except (Broken, Deadlock) as broken:
        print(f"seed {seed}: {type(broken).__name__} {broken}", file=sys.stderr)
        return 1
    print("\n".join(lines(tally)))
    print(f"took {time.perf_counter() - began:.1f} s; lost 0, doubled 0, deadlocks 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
