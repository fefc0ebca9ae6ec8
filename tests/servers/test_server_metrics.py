"""What is made of llama-server's /metrics."""

from __future__ import annotations

import pytest

from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.metrics import (
    Metrics,
    Throughput,
    next_throughput,
    read_metrics,
    with_slots,
)

SAID = b"""# HELP llamacpp:tokens_predicted_total Number of generation tokens processed.
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 1.5e+03
# HELP llamacpp:requests_processing Number of requests processing.
llamacpp:requests_processing 2
"""


def after(*looks: tuple[float, float, int]) -> Throughput:
    """What is known after looks at (time, tokens, requests in work)."""
    throughput = None
    for at, tokens, processing in looks:
        throughput = next_throughput(throughput, Metrics(tokens, processing), at)
    assert throughput is not None
    return throughput


def test_tokens_and_requests_are_read() -> None:
    assert read_metrics(200, SAID) == Metrics(1500.0, 2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"vllm:num_requests_running 1",
        b"llamacpp:tokens_predicted_total 1.2.3",
    ],
)
def test_what_is_not_llama_servers_says_nothing(body: bytes) -> None:
    assert read_metrics(200, body) is None


def test_an_error_says_nothing() -> None:
    assert read_metrics(501, SAID) is None


def test_the_first_look_tells_no_speed() -> None:
    assert after((0, 100, 1)).rate is None


def test_tokens_of_a_request_count_for_all_the_time_that_it_took() -> None:
    assert after((0, 0, 0), (10, 0, 1), (14, 0, 1), (20, 100, 0)).rate == 100 / 20


def test_time_with_nothing_to_do_does_not_make_it_slow() -> None:
    assert after((0, 0, 0), (100, 0, 0), (110, 100, 0)).rate == 10


def test_while_it_works_and_has_counted_nothing_the_last_speed_stands() -> None:
    assert after((0, 0, 0), (10, 100, 1), (11, 100, 1), (12, 100, 1)).rate == 10


def test_with_nothing_to_do_it_is_idle() -> None:
    assert after((0, 0, 0), (10, 100, 0)).idle is False
    assert after((0, 0, 0), (10, 100, 0), (11, 100, 0)).idle is True


def test_a_counter_that_went_back_is_another_server() -> None:
    assert after((0, 500, 0), (1, 20, 1)) == Throughput(20, 1, None, 1)


@pytest.mark.parametrize(
    ("state", "processing", "then"),
    [("healthy", 1, "healthy"), ("healthy", 2, "busy"), ("loading", 2, "loading")],
)
def test_healthy_with_every_slot_taken_is_busy(state: str, processing: int, then: str) -> None:
    health = Health(state)  # type: ignore[arg-type] # of its words
    assert with_slots(health, processing, 2).state == then
