from __future__ import annotations

import pytest

from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.restart import GivenUp, RestartAt
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

OK = Answered(Health("healthy"), 0.01)
REFUSED = NoAnswer("refused", cpu_moved=False, refused=True)
COMPUTING = NoAnswer("no answer within 5 s", cpu_moved=True)
CRASH = Ended("exit code 1")


class Life:
    """A server in a world whose time is written down."""

    def __init__(self, **policy: object) -> None:
        self.policy = RestartPolicy(**policy)  # type: ignore[arg-type]  # keywords of the test
        self.watched = Watched()

    def see(self, now: float, observation: Observation) -> Step:
        policy = HealthPolicy()
        seen = step(self.watched, observation, policy, self.policy, now=now, draw=0.5)
        self.watched = seen.watched
        return seen

    @property
    def health(self) -> str:
        return self.watched.vitals.health


def test_an_end_brings_its_decision_in_the_same_step() -> None:
    life = Life()
    life.see(0, Started())
    decision = life.see(0.1, CRASH).decision
    assert isinstance(decision, RestartAt)
    assert (decision.at, decision.number) == (1.1, 1)
    assert (life.health, life.watched.vitals.detail) == ("unknown", "exit code 1")


def test_a_server_that_hangs_is_decided_on_once() -> None:
    life = Life()
    for now, seen in ((0, Started()), (1, OK), (11, REFUSED), (21, REFUSED)):
        assert life.see(now, seen).decision is None
    assert isinstance(life.see(31, REFUSED).decision, RestartAt)
    assert life.see(32, REFUSED).decision is None
    assert life.see(33, Ended("killed by SIGTERM")).decision is None
    assert life.see(34, Started()).decision is None
    assert life.health == "loading"


def test_a_busy_server_is_never_restarted() -> None:
    life = Life()
    life.see(0, Started())
    life.see(1, OK)
    assert all(life.see(10 * n, COMPUTING).decision is None for n in range(1, 5000))


def test_given_up_is_an_error_that_says_what_the_last_end_was() -> None:
    life = Life(max_retries=1)
    life.see(0, Started())
    life.see(1, CRASH)
    life.see(2, Started())
    assert isinstance(life.see(3, CRASH).decision, GivenUp)
    assert life.health == "error"
    assert life.watched.vitals.detail == (
        "given up after 1 restart within 10 minutes; the last time: exit code 1"
    )


def test_a_server_that_is_looked_after_begins_anew() -> None:
    life = Life(max_retries=0)
    life.see(0, Started())
    life.see(1, CRASH)
    life.see(2, Stopped())
    assert life.watched == Watched(life.watched.vitals)
    assert life.health == "unknown"


def test_a_start_that_fails_before_there_is_a_process_is_an_error_without_a_decision() -> None:
    life = Life()
    assert life.see(0, Failed("no llama-server on PATH")).decision is None
    assert life.health == "error"


@pytest.mark.parametrize("count", [3, 30])
def test_without_restarts_a_server_that_hangs_is_left_alone_and_may_come_to(count: int) -> None:
    life = Life(enabled=False)
    life.see(0, Started())
    life.see(1, OK)
    assert all(life.see(2, REFUSED).decision is None for _ in range(count))
    assert life.health == "unhealthy"
    life.see(3, OK)
    assert life.health == "healthy"


def test_without_restarts_an_end_is_an_error() -> None:
    life = Life(enabled=False)
    life.see(0, Started())
    assert isinstance(life.see(1, CRASH).decision, GivenUp)
    assert life.watched.vitals.detail.startswith("not started again: its restart policy is not")


def test_good_health_ends_the_row() -> None:
    life = Life(reset_after=60)
    for now, seen in ((0, Started()), (1, CRASH), (2, Started()), (3, OK), (62, OK)):
        life.see(now, seen)
    assert life.watched.history.in_a_row == 1
    life.see(63, OK)
    decision = life.see(64, CRASH).decision
    assert isinstance(decision, RestartAt)
    assert decision.number == 1
