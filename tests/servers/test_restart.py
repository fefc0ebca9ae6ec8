from __future__ import annotations

import pytest

from pytest_llmeval.servers.restart import RestartHistory, restart_delay
from pytest_llmeval.servers.spec import RestartPolicy

POLICY = RestartPolicy(max_retries=100)
MIDDLE = 0.5  # of the jitter from 0.5 to 1.5: a factor of 1


def after(times: int) -> RestartHistory:
    history = RestartHistory()
    for _ in range(times):
        history = history.with_restart(0.0)
    return history


@pytest.mark.parametrize(
    ("restarts", "seconds"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (50, 60)]
)
def test_the_delay_doubles_up_to_its_cap(restarts: int, seconds: float) -> None:
    assert restart_delay(after(restarts), POLICY, now=0, draw=MIDDLE) == seconds


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 2.0), (0.25, 3.0), (0.75, 5.0)])
def test_jitter_spreads_the_delay_from_half_to_one_and_a_half(draw: float, seconds: float) -> None:
    assert restart_delay(after(2), POLICY, now=0, draw=draw) == seconds


def test_a_minute_of_health_ends_the_row_but_not_the_count() -> None:
    history = after(4)
    assert history.after_health(59.9, POLICY) == history
    calm = history.after_health(60.0, POLICY)
    assert restart_delay(calm, POLICY, now=0, draw=MIDDLE) == 1
    assert len(calm.times) == 4


def test_five_restarts_in_ten_minutes_are_the_limit() -> None:
    policy = RestartPolicy()
    history = RestartHistory()
    for time in (0.0, 100.0, 200.0, 300.0, 400.0):
        assert restart_delay(history, policy, now=time, draw=MIDDLE) is not None
        history = history.with_restart(time)
    assert restart_delay(history, policy, now=599.9, draw=MIDDLE) is None
    assert restart_delay(history, policy, now=600.0, draw=MIDDLE) is not None
