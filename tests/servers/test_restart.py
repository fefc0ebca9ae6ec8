from __future__ import annotations

import pytest

from pytest_llmeval.servers.restart import (
    GivenUp,
    RestartAt,
    RestartHistory,
    after_answer,
    after_death,
    reset,
)
from pytest_llmeval.servers.spec import RestartPolicy

POLICY = RestartPolicy(max_retries=1000)
MIDDLE = 0.5  # of the jitter from 0.5 to 1.5: a factor of 1


def restart_of(
    history: RestartHistory,
    policy: RestartPolicy = POLICY,
    *,
    now: float = 0.0,
    draw: float = MIDDLE,
) -> RestartAt:
    decision = after_death(history, policy, now, draw)
    assert isinstance(decision, RestartAt)
    return decision


def refusal_of(history: RestartHistory, policy: RestartPolicy, now: float = 0.0) -> GivenUp:
    decision = after_death(history, policy, now, MIDDLE)
    assert isinstance(decision, GivenUp)
    return decision


def after(times: int) -> RestartHistory:
    history = RestartHistory()
    for _ in range(times):
        history = restart_of(history).history
    return history


@pytest.mark.parametrize(
    ("restarts", "seconds"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (50, 60)]
)
def test_the_delay_doubles_up_to_its_cap(restarts: int, seconds: float) -> None:
    decision = restart_of(after(restarts), now=7.0)
    assert (decision.delay, decision.at) == (seconds, 7.0 + seconds)
    assert decision.number == restarts + 1


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 2.0), (0.25, 3.0), (0.75, 5.0)])
def test_jitter_spreads_the_delay_from_half_to_one_and_a_half(draw: float, seconds: float) -> None:
    assert restart_of(after(2), draw=draw).delay == seconds


@pytest.mark.parametrize(("initial", "delay"), [(1.0, 60.0), (0.0, 0.0)])
def test_a_row_too_long_for_a_float_has_the_cap(initial: float, delay: float) -> None:
    policy = RestartPolicy(max_retries=10**6, initial=initial)
    assert restart_of(RestartHistory(in_a_row=5000), policy).delay == delay


def test_a_minute_of_health_ends_the_row_but_not_the_count() -> None:
    history = after(4)
    history = after_answer(history, POLICY, 100.0, ready=True)
    short = after_answer(history, POLICY, 159.9, ready=True)
    assert restart_of(short).number == 5
    calm = after_answer(short, POLICY, 160.0, ready=True)
    assert restart_of(calm).number == 1
    assert len(calm.times) == 4


def test_a_bad_answer_begins_the_good_health_anew() -> None:
    history = after_answer(after(3), POLICY, 0.0, ready=True)
    history = after_answer(history, POLICY, 59.0, ready=False)
    history = after_answer(history, POLICY, 60.0, ready=True)
    assert after_answer(history, POLICY, 119.0, ready=True).in_a_row == 3
    assert after_answer(history, POLICY, 120.0, ready=True).in_a_row == 0


def test_the_health_of_a_server_that_died_is_no_health_of_the_next() -> None:
    history = after_answer(after(3), POLICY, 0.0, ready=True)
    history = restart_of(history, now=59.0).history
    assert after_answer(history, POLICY, 61.0, ready=True).in_a_row == 4


def test_five_restarts_in_ten_minutes_are_the_limit() -> None:
    policy = RestartPolicy(jitter=(1, 1), initial=0)
    history = RestartHistory()
    for time in (0.0, 100.0, 200.0, 300.0, 400.0):
        history = restart_of(history, policy, now=time).history
    assert refusal_of(history, policy, 599.9).why == "given up after 5 restarts within 10 minutes"
    assert restart_of(history, policy, now=600.0).number == 6


def test_the_limit_is_on_restarts_when_they_happen_not_when_they_are_decided() -> None:
    policy = RestartPolicy(max_retries=1, initial=10, jitter=(1, 1), window=100, multiplier=1)
    first = restart_of(RestartHistory(), policy, now=0.0)
    assert first.at == 10.0
    assert restart_of(first.history, policy, now=100.0).at == 110.0
    refusal_of(first.history, policy, 99.0)


def test_restarts_beyond_the_window_are_forgotten() -> None:
    history = RestartHistory()
    for time in range(0, 100_000, 1000):
        history = restart_of(history, RestartPolicy(), now=time).history
    assert len(history.times) == 1


def test_given_up_stays_given_up_until_it_is_reset() -> None:
    policy = RestartPolicy(max_retries=1)
    lost = refusal_of(restart_of(RestartHistory(), policy).history, policy)
    assert lost.why == "given up after 1 restart within 10 minutes"
    assert refusal_of(lost.history, policy, 1e9) == lost
    assert restart_of(reset(lost.history), policy, now=1.0).number == 1


def test_a_reset_leaves_the_good_health_of_now() -> None:
    history = after_answer(after(3), POLICY, 5.0, ready=True)
    assert reset(history) == RestartHistory(healthy_since=5.0)


def test_a_policy_that_is_not_enabled_allows_no_restart_and_says_so() -> None:
    lost = refusal_of(RestartHistory(), RestartPolicy(enabled=False))
    assert lost.why == "not started again: its restart policy is not enabled"


def test_a_short_window_is_told_in_seconds() -> None:
    policy = RestartPolicy(max_retries=0, window=30)
    assert refusal_of(RestartHistory(), policy).why == "given up after 0 restarts within 30 seconds"
