from __future__ import annotations

import pytest

from pytest_llmeval.errors import EndpointBusy, EndpointTimeout, RequestRefused
from pytest_llmeval.running.retries import RetryPolicy

POLICY = RetryPolicy(attempts=5, initial=1.0, multiplier=2.0, cap=6.0)


@pytest.mark.parametrize(("made", "nominal"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0)])
def test_waits_double_up_to_the_cap(made: int, nominal: float) -> None:
    assert POLICY.delay(EndpointTimeout("late"), made, jitter=0.5) == nominal


def test_jitter_spreads_a_wait_from_half_to_one_and_a_half() -> None:
    busy = EndpointBusy("full")
    assert POLICY.delay(busy, 1, jitter=0.0) == 0.5
    assert POLICY.delay(busy, 1, jitter=0.99) == pytest.approx(1.49)


def test_what_the_server_asks_for_is_never_shortened() -> None:
    assert POLICY.delay(EndpointBusy("full", retry_after=20), 1, jitter=0.5) == 20


def test_a_server_that_wants_more_than_ten_minutes_is_not_waited_for() -> None:
    assert RetryPolicy().delay(EndpointBusy("full", retry_after=600), 1, jitter=0.5) == 600
    assert RetryPolicy().delay(EndpointBusy("full", retry_after=86_400), 1, jitter=0.5) is None


def test_the_last_attempt_has_no_wait_after_it() -> None:
    assert POLICY.delay(EndpointBusy("full"), 5, jitter=0.5) is None


def test_a_refusal_is_not_asked_again() -> None:
    assert POLICY.delay(RequestRefused("no", status=400), 1, jitter=0.5) is None
