"""Drive health and restarts of a kept server through random lives; every step keeps its promises.

    python tools/restart_machine.py [--steps 100000] [--seed 7]

A hypothesis state machine plays servers of all kinds under policies of all kinds: they start,
answer well, badly, late or not at all, compute, crash, are stopped and looked after, and clocks run
between. A promise that breaks is told with the shortest life that breaks it, and exit status 1.
`tests/servers/test_restart_machine.py` does the same for a moment.
"""

# ruff: noqa: D102 - a rule's name says what happens, an invariant's what must be true

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.restart import GivenUp, RestartAt, RestartHistory
from pytest_llmeval.servers.spec import RestartPolicy
from pytest_llmeval.servers.vitals import (
    Answered,
    Ended,
    Failed,
    HealthPolicy,
    NoAnswer,
    Observation,
    Started,
    Stopped,
)
from pytest_llmeval.servers.watching import Step, Watched, step

STEPS_OF_A_LIFE = 60

# Eighths of seconds add up without rounding, so that the model below has the same moments.
moments = st.integers(0, 8 * 200).map(lambda eighths: eighths / 8)
restart_policies = st.builds(
    RestartPolicy,
    enabled=st.sampled_from([True, True, True, False]),
    initial=st.sampled_from([0.0, 0.5, 1.0, 30.0]),
    multiplier=st.sampled_from([1.0, 1.5, 2.0, 10.0]),
    cap=st.sampled_from([0.0, 5.0, 60.0]),
    jitter=st.sampled_from([(0.5, 1.5), (1.0, 1.0), (0.0, 2.0)]),
    max_retries=st.integers(0, 5),
    window=st.sampled_from([1.0, 60.0, 600.0]),
    reset_after=st.sampled_from([0.0, 10.0, 60.0]),
)
health_policies = st.builds(
    HealthPolicy, retries=st.integers(1, 4), start_period=st.sampled_from([0.0, 10.0, 120.0])
)
draws = st.floats(0, 1, exclude_max=True)
good = st.sampled_from(["healthy", "busy"])
bad = st.sampled_from(["loading", "error", "unknown"])


@dataclass
class Life:
    """What the keeper of the server knows by itself: the model that the engine is held to.

    `counted` is the row of failures by Docker's rules, told of each question as it was asked.
    """

    runs: bool = False
    started: float = 0.0
    well_once: bool = False
    counted: int = 0
    well_since: float | None = None
    due: RestartAt | None = None
    restarts: list[float] = field(default_factory=list)


class KeptServer(RuleBasedStateMachine):
    """One server and its faithful keeper, who starts it again when and only when it is due."""

    steps: ClassVar[int] = 0
    restarted: ClassVar[int] = 0
    given_up: ClassVar[int] = 0

    @initialize(health=health_policies, restart=restart_policies)
    def be_given_policies(self, health: HealthPolicy, restart: RestartPolicy) -> None:
        self.health, self.policy = health, restart
        self.now = 0.0
        self.watched = Watched()
        self.life = Life()

    def see(self, observation: Observation, draw: float = 0.5) -> Step:
        """Take a step, and hold it to what must be true of any."""
        before = self.watched
        seen = step(before, observation, self.health, self.policy, now=self.now, draw=draw)
        KeptServer.steps += 1
        KeptServer.restarted += isinstance(seen.decision, RestartAt)
        KeptServer.given_up += isinstance(seen.decision, GivenUp)
        self.watched = seen.watched
        self._hold_decision(before, observation, seen)
        self._hold_row(before.history, observation, seen)
        if seen.decision is not None:
            self._follow(seen.decision)
        return seen

    # What happens -----------------------------------------------------------------------------

    @rule(seconds=moments)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.life.runs and self.life.due is None)
    @rule()
    def be_brought_up(self) -> None:
        self._stop()
        self._start()

    @precondition(lambda self: self.life.due is not None)
    @rule()
    def come_back(self) -> None:
        assert self.life.due is not None
        self.now = max(self.now, self.life.due.at)
        self._start()

    @precondition(lambda self: self.life.runs)
    @rule(state=good, seconds=moments, draw=draws)
    def answer_well(self, state: str, seconds: float, draw: float) -> None:
        self.life.well_once, self.life.counted = True, 0
        seen = self.see(Answered(Health(state), seconds), draw)  # type: ignore[arg-type]
        assert seen.decision is None, "a server that answers well was restarted"
        assert seen.watched.vitals.health == state, "one success makes it healthy"
        since = self.life.well_since
        self.life.well_since = self.now if since is None else since

    @precondition(lambda self: self.life.runs)
    @rule(state=bad, seconds=moments, moved=st.booleans(), draw=draws)
    def answer_badly(self, state: str, seconds: float, moved: bool, draw: float) -> None:
        spared = moved and state == "loading"
        answer = Answered(Health(state), seconds, cpu_moved=moved)  # type: ignore[arg-type]
        self._fail(answer, seconds, draw, spared=spared)

    @precondition(lambda self: self.life.runs)
    @rule(moved=st.booleans(), refused=st.booleans(), seconds=moments, draw=draws)
    def be_silent(self, moved: bool, refused: bool, seconds: float, draw: float) -> None:
        spared = moved and not (refused and self.life.well_once)
        self._fail(NoAnswer("none", moved, refused, seconds), seconds, draw, spared=spared)

    @precondition(lambda self: self.life.runs)
    @rule(draw=draws)
    def crash(self, draw: float) -> None:
        seen = self.see(Ended("exit code 1"), draw)
        assert seen.decision is not None, "an end brought no decision with it"

    @rule(seldom=st.integers(0, 9))
    def be_stopped(self, seldom: int) -> None:
        if seldom == 0:  # a stop forgets all restarts: lives must be long enough to have some
            self._stop()

    @precondition(lambda self: not self.life.runs)
    @rule()
    def fail_to_start(self) -> None:
        self.life.due = None
        assert self.see(Failed("no program")).watched.vitals.health == "error"

    @precondition(lambda self: not self.life.runs)
    @rule(
        late=st.sampled_from(
            [
                Answered(Health("healthy"), 0.1),
                Answered(Health("error"), 0.1),
                NoAnswer("none", cpu_moved=True),
                NoAnswer("none", cpu_moved=False),
                Ended("told late"),
            ]
        )
    )
    def hear_of_one_that_is_gone(self, late: Observation) -> None:
        before = self.watched
        seen = self.see(late)
        assert seen.decision is None, "one end was decided on twice"
        assert seen.watched.history == before.history
        assert not seen.watched.vitals.ready, "somebody else's answer made it ready"

    # What must be true ------------------------------------------------------------------------

    @invariant()
    def time_does_not_go_backwards(self) -> None:
        assert self.watched.vitals.since <= self.now
        times = self.watched.history.times
        assert all(earlier <= later for earlier, later in itertools.pairwise(times))

    @invariant()
    def never_more_restarts_than_allowed_in_a_window(self) -> None:
        for first, beyond in zip(
            self.life.restarts, self.life.restarts[self.policy.max_retries :], strict=False
        ):
            assert beyond - first >= self.policy.window

    @invariant()
    def failures_are_counted_as_docker_does(self) -> None:
        if not self.life.runs:
            return
        vitals = self.watched.vitals
        assert vitals.failures == self.life.counted
        assert (vitals.health == "unhealthy") == (self.life.counted >= self.health.retries)

    @invariant()
    def given_up_is_an_error_and_not_due(self) -> None:
        if self.life.runs:
            return
        given_up = self.watched.history.given_up is not None
        assert not (given_up and self.life.due), "one that was given up is due"
        assert not given_up or self.watched.vitals.health == "error"
        assert self.watched.vitals.started_at is None

    # How --------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.life.due is not None:
            self.life.restarts.append(self.life.due.at)
        assert self.watched.history.given_up is None, "one that was given up was started"
        kept = self.life.restarts
        self.life = Life(runs=True, started=self.now, restarts=kept)
        assert self.see(Started()).watched.vitals.health == "loading"

    def _stop(self) -> None:
        self.life = Life()
        assert self.see(Stopped()).watched.history == RestartHistory()

    def _fail(
        self, seen: Answered | NoAnswer, seconds: float, draw: float, *, spared: bool
    ) -> None:
        """Be seen to do badly; `spared` is one that shows that it computes."""
        asked_in_time = self.now - seconds - self.life.started < self.health.start_period
        if spared:
            self.life.counted = 0
        elif self.life.well_once or not asked_in_time:
            self.life.counted += 1
        after = self.see(seen, draw)
        ready = after.watched.vitals.ready
        self.life.well_since = self.life.well_since if ready else None
        if ready and self.life.well_since is None and self.life.runs:
            self.life.well_since = self.now
        assert not (spared and after.decision), "a server that computes was restarted"
        lost = self.life.counted >= self.health.retries and self.policy.enabled
        assert lost == (after.decision is not None)

    def _follow(self, decision: RestartAt | GivenUp) -> None:
        due = decision if isinstance(decision, RestartAt) else None
        self.life = Life(due=due, counted=self.life.counted, restarts=self.life.restarts)

    def _hold_decision(self, before: Watched, seen: Observation, after: Step) -> None:
        decision = after.decision
        if decision is None:
            return
        assert self.life.runs, "there was no process to decide about"
        assert self.policy.enabled or isinstance(seen, Ended), "left alone means left alone"
        if isinstance(decision, GivenUp):
            assert after.watched.vitals.health == "error"
            return
        assert before.history.given_up is None, "one that was given up is to be started"
        assert self.policy.enabled
        row = before.history.in_a_row
        base = min(self.policy.cap, self.policy.initial * self.policy.multiplier**row)
        low, high = self.policy.jitter
        assert base * low <= decision.delay <= base * high
        assert decision.at == self.now + decision.delay
        assert decision.number == row + 1

    def _hold_row(self, before: RestartHistory, seen: Observation, after: Step) -> None:
        """A row ends by good health for long enough, or by somebody who looks after the server."""
        row = after.watched.history.in_a_row
        if row >= before.in_a_row or isinstance(seen, Stopped):
            return
        since = self.now if self.life.well_since is None else self.life.well_since
        assert after.watched.vitals.ready, "a row was ended by bad health"
        assert self.now - since >= self.policy.reset_after, "a row was ended too early"


def drive(steps: int, first_seed: int) -> None:
    """Play lives until there were so many steps; a broken promise is raised."""
    KeptServer.steps = KeptServer.restarted = KeptServer.given_up = 0
    for number in itertools.count(first_seed):
        if KeptServer.steps >= steps:
            return
        lives = max(1, min(500, (steps - KeptServer.steps) // 20))
        run_state_machine_as_test(seed(number)(KeptServer), settings=_settings(lives))


def _settings(lives: int) -> settings:
    return settings(
        max_examples=lives,
        stateful_step_count=STEPS_OF_A_LIFE,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    began, broken = time.perf_counter(), 0
    try:
        drive(given.steps, given.seed)
    except AssertionError as error:
        broken = 1
        print(*getattr(error, "__notes__", ()), f"{error}", sep="\n", file=sys.stderr)
    seconds = time.perf_counter() - began
    print(
        f"{KeptServer.steps:,} steps: {KeptServer.restarted:,} restarts, {KeptServer.given_up:,} "
        f"times given up; {seconds:.0f} s; broken invariants: {broken}"
    )
    return broken


if __name__ == "__main__":
    sys.exit(main())
