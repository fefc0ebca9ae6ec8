from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_llmeval.errors import EndpointUnreachable
from pytest_llmeval.servers.health import (
    Health,
    Progress,
    Waited,
    check_health,
    read_health,
    wait_until_healthy,
)

LOADING = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b'{"status":"ok"}', "healthy"),
        (200, b'{"status":"ok","slots_idle":3,"slots_processing":1}', "healthy"),
        (200, b"", "healthy"),
        (200, b"<html>some proxy</html>", "healthy"),
        (200, b'{"status": 1}', "healthy"),
        (200, b'{"status":"loading model"}', "loading"),
        (200, b'{"status":"error"}', "error"),
        (503, LOADING, "loading"),
        (503, b'{"status":"loading model"}', "loading"),
        (503, b'{"status":"no slot available","slots_idle":0,"slots_processing":4}', "busy"),
        (200, b'{"status":"no slot available"}', "busy"),
        (503, b'{"error":{"message":"No slot available"}}', "busy"),
        (503, b"", "error"),
        (503, b"upstream gone", "error"),
        (500, b'{"status":"error"}', "error"),
        (500, b'{"error":"model crashed"}', "error"),
        (404, b"Not Found", "error"),
        (401, b'{"error":{"code":401,"message":"Invalid API Key"}}', "error"),
        (200, b"[" * 100_000, "healthy"),
        (503, b"\xff\xfe", "error"),
    ],
)
def test_every_body_of_every_age_has_its_state(status: int, body: bytes, state: str) -> None:
    assert read_health(status, body).state == state


def test_an_error_says_what_the_server_said() -> None:
    assert read_health(401, b'{"error":{"message":"Invalid API Key"}}') == Health(
        "error", "HTTP 401: invalid api key"
    )


def test_no_answer_is_unreachable_with_its_reason() -> None:
    assert read_health(None, None, "refused") == Health("unreachable", "refused")


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        ("healthy", True),
        ("busy", True),
        ("loading", False),
        ("error", False),
        ("unreachable", False),
    ],
)
def test_only_a_healthy_server_is_ready_even_with_all_slots_taken(state: str, ready: bool) -> None:
    assert Health(state).ready is ready  # type: ignore[arg-type]  # parametrized as text


def answers(**by_path: tuple[int, bytes]) -> tuple[Callable[..., tuple[int, bytes]], list[str]]:
    asked: list[str] = []

    def fetch(url: str, _key: str | None) -> tuple[int, bytes]:
        asked.append(url.removeprefix("http://h"))
        return by_path.get(asked[-1].rpartition("/")[2], (404, b""))

    return fetch, asked


def test_models_are_asked_for_only_where_no_health_is_known() -> None:
    fetch, asked = answers(models=(200, b"{}"))
    assert check_health(fetch, "http://h").state == "healthy"
    assert asked == ["/health", "/v1/health", "/v1/models"]
    fetch, asked = answers(health=(503, LOADING), models=(200, b"{}"))
    assert check_health(fetch, "http://h").state == "loading"
    assert asked == ["/health"]


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), EndpointUnreachable("no")])
def test_a_failed_request_is_unreachable(error: Exception) -> None:
    def fetch(_url: str, _key: str | None) -> tuple[int, bytes]:
        raise error

    assert check_health(fetch, "http://h") == Health("unreachable", "no")


IDLE = Progress(log_size=100, last_line="loading", cpu_seconds=1.0, memory=10**6)


@pytest.mark.parametrize(
    ("later", "moved"),
    [
        (IDLE, False),
        (Progress(101, "a line", 1.0, 10**6), True),
        (Progress(100, "loading", 1.2, 10**6), True),
        (Progress(100, "loading", 1.04, 10**6), False),  # it answered our own questions
        (Progress(100, "loading", 1.0, 3 * 10**6), True),
        (Progress(100, "loading", 1.0, 10**5), False),
    ],
)
def test_a_log_that_grows_cpu_and_memory_are_progress(later: Progress, moved: bool) -> None:
    assert later.moved_since(IDLE, 10.0) is moved


class Waiting:
    """A server in a world whose time passes by sleeping only."""

    def __init__(self, *, ready_at: float = 1e9, dies_at: float = 1e9, busy_until: float = 0):
        self.now = 0.0
        self.ready_at = ready_at
        self.dies_at = dies_at
        self.busy_until = busy_until
        self.reports: list[tuple[float, str]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def progress(self) -> Progress:
        return Progress(1, "loading", min(self.now, self.busy_until), 0)

    def wait(self, patience: float = 120) -> Waited:
        return wait_until_healthy(
            lambda: Health("healthy" if self.now >= self.ready_at else "loading"),
            alive=lambda: self.now < self.dies_at,
            progress=self.progress,
            patience=patience,
            clock=lambda: self.now,
            sleep=self.sleep,
            report=lambda seconds, line: self.reports.append((seconds, line)),
        )


def test_waiting_ends_soon_after_the_server_is_healthy() -> None:
    waited = Waiting(ready_at=5).wait()
    assert waited.end == "ready"
    assert 5 <= waited.seconds <= 5.25


def test_a_dead_process_ends_the_waiting_at_once_even_if_somebody_answers() -> None:
    waited = Waiting(dies_at=3, ready_at=3).wait()
    assert waited.end == "died"
    assert waited.seconds <= 3.25


def test_a_server_that_shows_progress_may_take_hours() -> None:
    assert Waiting(ready_at=9000, busy_until=9000).wait().end == "ready"


def test_patience_counts_from_the_last_progress() -> None:
    waited = Waiting(busy_until=100).wait()
    assert waited.end == "stalled"
    assert 220 <= waited.seconds <= 230
    assert waited.health.state == "loading"


def test_once_a_second_the_waiting_is_reported_with_the_last_line() -> None:
    world = Waiting(ready_at=10)
    world.wait()
    assert 8 <= len(world.reports) <= 10
    assert {line for _, line in world.reports} == {"loading"}
    assert world.reports == sorted(world.reports)
