"""A scorer of somebody else's that does not come back costs its score, not the run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.records import Answer, Item, Prediction, Score, ScorerSpec
from pytest_llmeval.scoring import judging
from pytest_llmeval.scoring import scorer as registry
from pytest_llmeval.scoring.judging import MOST_TIMEOUTS, close_scorers, score_prediction
from pytest_llmeval.scoring.scorer import (
    BUILT_IN,
    TIME_LIMIT,
    make_scorer,
    register,
    score_of,
)
from pytest_llmeval.scoring.time_limits import within

ITEM = Item("one", "one", {}, "42")
ANSWERED = Prediction("t", Answer("42", "stop"), None)


@pytest.fixture(autouse=True)
def _only_built_in_scorers_stay_registered() -> Iterator[None]:
    yield
    judging.close_scorers([])
    for name in registry._registered.keys() - BUILT_IN.keys():
        del registry._registered[name]


def loop() -> None:
    while True:
        pass


def sleep() -> None:
    threading.Event().wait()


def catch() -> None:
    while True:
        try:
            loop()
        except Exception:  # noqa: BLE001 - as users write it
            continue


@dataclass(frozen=True, slots=True)
class Stuck:
    name: ClassVar[str]
    version: ClassVar[str] = "1"
    how: Any = None
    time_limit: float | None = 0.05

    def __call__(self, answer: Answer, item: Item) -> Score:
        self.how()
        return score_of(self.name, 1)


@pytest.mark.parametrize("how", [loop, sleep, catch])
def test_a_scorer_that_runs_for_ever_fails_by_name_and_limit_and_the_others_go_on(
    how: Callable[[], None],
) -> None:
    register("stuck")(Stuck)
    scorers = [Stuck(how), make_scorer(ScorerSpec("exact"))]
    stuck, exact = score_prediction(scorers, ANSWERED, ITEM)
    assert (stuck.outcome, stuck.value, stuck.reason) == ("failure", None, "scorer")
    assert stuck.stages == ("TimeoutError: scorer stuck took longer than its time_limit of 0.05 s",)
    assert exact.outcome == "right"


@pytest.mark.parametrize("how", [loop, catch])
def test_a_loop_that_was_left_behind_ends(how: Callable[[], None]) -> None:
    before = set(threading.enumerate())
    with pytest.raises(TimeoutError, match="too long"):
        within(0.05, how, "too long")
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_what_a_call_gives_and_raises_comes_through() -> None:
    assert within(30, lambda: 7, "too long") == 7
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 // 0, "too long")
    with pytest.raises(KeyboardInterrupt):
        within(30, interrupt, "too long")


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_call_sees_the_context_of_whoever_waits() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="other")
    variable.set("mine")
    assert within(30, variable.get, "too long") == "mine"


@dataclass(frozen=True, slots=True)
class Where:
    name: ClassVar[str]
    version: ClassVar[str] = "1"
    time_limit: float | None = 30

    def __call__(self, answer: Answer, item: Item) -> Score:
        return score_of(self.name, threading.current_thread() is threading.main_thread())


def test_with_a_limit_of_none_a_scorer_is_called_where_everything_else_is() -> None:
    register("where")(Where)
    assert score_prediction([Where()], ANSWERED, ITEM)[0].outcome == "wrong"
    assert score_prediction([Where(None)], ANSWERED, ITEM)[0].outcome == "right"


def test_built_in_scorers_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread"))
    scorers = [make_scorer(ScorerSpec(name)) for name in ("exact", "numeric", "token_f1")]
    assert {score.outcome for score in score_prediction(scorers, ANSWERED, ITEM)} == {"right"}


@pytest.mark.parametrize("limit", [0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused_when_the_suite_is_read(limit: float) -> None:
    register("where")(Where)
    with pytest.raises(ScorerError, match="scorer where: time_limit must be more than 0 seconds"):
        make_scorer(ScorerSpec("where", {"time_limit": limit}))


def test_a_scorer_that_says_nothing_has_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Plain:
        name: ClassVar[str]
        version: ClassVar[str] = "1"

        def __call__(self, answer: Answer, item: Item) -> Score:
            time.sleep(0)
            return score_of(self.name, 1)

    register("plain")(Plain)
    limits: list[float] = []

    def noting(limit: float, call: Callable[[], Score], message: str) -> Score:
        limits.append(limit)
        return call()

    monkeypatch.setattr(judging, "within", noting)
    assert score_prediction([Plain()], ANSWERED, ITEM)[0].outcome == "right"
    assert limits == [TIME_LIMIT] == [60]


def test_a_scorer_that_never_comes_back_is_not_asked_for_ever() -> None:
    asked = 0

    def count() -> None:
        nonlocal asked
        asked += 1
        loop()

    register("stuck")(Stuck)
    scorers = [Stuck(count), make_scorer(ScorerSpec("exact"))]
    scores = [score_prediction(scorers, ANSWERED, ITEM) for _ in range(MOST_TIMEOUTS + 3)]
    assert asked == MOST_TIMEOUTS
    assert {stuck.outcome for stuck, _ in scores} == {"failure"}
    (told,) = scores[-1][0].stages
    assert told == (
        "TimeoutError: scorer stuck was not asked any more: it took longer than its time_limit of "
        "0.05 s 5 times; mend it, or raise its time_limit, and score again"
    )
    assert {exact.outcome for _, exact in scores} == {"right"}
    close_scorers(scorers)
    score_prediction(scorers, ANSWERED, ITEM)
    assert asked == MOST_TIMEOUTS + 1


def test_a_timeout_that_a_scorer_raises_itself_is_no_sign_that_it_hangs() -> None:
    def refuse() -> None:
        raise TimeoutError("the server of the judge")

    register("stuck")(Stuck)
    scores = [score_prediction([Stuck(refuse, 30)], ANSWERED, ITEM) for _ in range(8)]
    assert {score.stages for (score,) in scores} == {("TimeoutError: the server of the judge",)}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a POSIX interval timer")
def test_what_interrupts_the_waiting_is_none_of_the_scorers() -> None:
    """pytest-timeout raises like this, in the main thread, while a scorer is at work."""

    def interrupt(*_: object) -> None:
        pytest.fail("Timeout (>0.1s) from pytest-timeout.")

    register("stuck")(Stuck)
    before, threads = signal.signal(signal.SIGALRM, interrupt), set(threading.enumerate())
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(pytest.fail.Exception, match="from pytest-timeout"):
            score_prediction([Stuck(loop, 600)], ANSWERED, ITEM)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for thread in set(threading.enumerate()) - threads:
        thread.join()  # it was asked to end
