from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import EndpointTimeout, EndpointUnreachable
from pytest_llmeval.servers.health import (
    Health,
    Progress,
    Waited,
    check_health,
    read_health,
    wait_until_healthy,
)
from pytest_llmeval.servers.health_answers import read_answer
from pytest_llmeval.servers.kinds import kind_of
from pytest_llmeval.servers.spec import ServerSpec

LOADING = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'


ANSWERS = json.loads((Path(__file__).parent / "health_answers.json").read_text(encoding="utf-8"))
"""What servers answer: who and of what age, where that is told, and what it means.

`source` says how we know: `recorded` by asking a server ourselves, `quoted` letter by letter from
somebody who did or from the server's own documentation, `documented` where the shape is known from
its code, its documentation or a report and the rest is filled in, `imitated` where nobody in
particular answers so. Each letter of a body is a byte.
"""

AT_FIRST_HAND = ("recorded", "quoted")


def named(answer: dict[str, Any]) -> str:
    return f"{answer['server']} {answer['build']} {answer['path']} {answer['status']}"


@pytest.mark.parametrize("answer", ANSWERS, ids=named)
def test_every_server_of_every_age_is_understood(answer: dict[str, Any]) -> None:
    health = read_health(answer["status"], answer["body"].encode("latin-1"))
    assert health.state == answer["expected"]
    assert health.detail == answer.get("says", health.detail)


def test_the_answers_are_many_and_of_all_servers() -> None:
    servers = {answer["server"] for answer in ANSWERS}
    assert servers >= {"llama-server", "ik_llama.cpp", "Ollama", "vLLM", "LM Studio"}
    assert {answer["source"] for answer in ANSWERS} == {*AT_FIRST_HAND, "documented", "imitated"}
    first_hand = [answer for answer in ANSWERS if answer["source"] in AT_FIRST_HAND]
    promised = ("llama-server", "Ollama", "vLLM", "LM Studio")
    assert len([answer for answer in first_hand if answer["server"].startswith(promised)]) >= 40
    assert {answer["server"] for answer in first_hand} >= {*promised}
    assert {answer["expected"] for answer in ANSWERS} >= {"healthy", "busy", "loading", "error"}
    assert all(answer["origin"] for answer in ANSWERS)


def test_a_detail_is_a_line_that_is_not_too_long() -> None:
    detail = read_health(500, b"many\n words " * 1000).detail
    assert "\n" not in detail
    assert len(detail) < 250


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


Answers = dict[str, tuple[int, bytes]]
PAGE = b"<!DOCTYPE html><html><head><title>KoboldAI Lite</title></head></html>"
MODELS = b'{"object":"list","data":[{"id":"m"}]}'


def asked_of(answers: Answers, **options: str) -> tuple[Health, list[str]]:
    """The health of an endpoint with these answers (404 where there is none), and what it took."""
    asked: list[str] = []

    def fetch(url: str, _key: str | None) -> tuple[int, bytes]:
        asked.append(url.removeprefix("http://h"))
        return answers.get(asked[-1], (404, b"Not Found"))

    return check_health(fetch, "http://h", **options), asked


@pytest.mark.parametrize("hostile", [b"<", b"<title>", b"<title", b"<style>"])
def test_a_page_of_tags_without_end_is_read_at_once(hostile: bytes) -> None:
    """Tag by tag, each of them would take from seconds to minutes."""
    for _ in range(20):
        assert read_answer(b"<html>" + hostile * (2**16 // len(hostile))).page


def test_a_page_without_a_title_is_told_by_its_words_and_not_by_its_code() -> None:
    css = b"<style>" + b"body { margin: 0; } " * 500 + b"</style>"
    page = b"<html>" + css + b"<SCRIPT src=x>f('<b>')</script ><p>Service is <b>warming</b> up"
    assert read_answer(page).words == "Service is warming up"


def test_a_title_is_found_behind_long_scripts() -> None:
    page = b"<html><script>" + b"x" * 50_000 + b"</script><TITLE>\nA b</Title><p>c</p>"
    assert read_answer(page).words == "A b"


def test_models_are_asked_for_only_where_no_health_is_known() -> None:
    health, asked = asked_of({"/v1/models": (200, MODELS)})
    assert health.state == "healthy"
    assert asked == ["/health", "/v1/health", "/v1/models"]
    health, asked = asked_of({"/health": (503, LOADING), "/v1/models": (200, MODELS)})
    assert health.state == "loading"
    assert asked == ["/health"]


@pytest.mark.parametrize(
    ("elsewhere", "models", "expected"),
    [
        # LM Studio answers what it does not know with 200, KoboldCpp with its web interface.
        ((200, b'{"error":"Unexpected endpoint or method. (GET /health)"}'), MODELS, "healthy"),
        ((200, PAGE), MODELS, "healthy"),
        ((405, b""), MODELS, "healthy"),
        ((200, PAGE), PAGE, "error"),
        ((404, b""), PAGE, "error"),
    ],
)
def test_an_answer_about_a_path_that_is_not_known_is_none_about_health(
    elsewhere: tuple[int, bytes], models: bytes, expected: str
) -> None:
    answers = {"/health": elsewhere, "/v1/health": elsewhere, "/v1/models": (200, models)}
    health, asked = asked_of(answers)
    assert health.state == expected
    assert len(asked) == 3


def test_who_knows_no_path_at_all_is_told_with_its_last_words() -> None:
    assert asked_of({})[0] == Health("error", "HTTP 404: Not Found")
    pages = dict.fromkeys(("/health", "/v1/health", "/v1/models"), (200, PAGE))
    assert asked_of(pages)[0] == Health("error", "it answers with web pages only")


def test_a_path_that_the_user_names_is_the_only_one() -> None:
    assert asked_of({"/": (200, PAGE)}, path="/") == (Health("healthy", "KoboldAI Lite"), ["/"])
    health, asked = asked_of({"/health": (200, b"")}, path="/ready")
    assert (health.state, asked) == ("error", ["/ready"])


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), EndpointUnreachable("no")])
def test_a_failed_request_is_unreachable(error: Exception) -> None:
    def fetch(_url: str, _key: str | None) -> tuple[int, bytes]:
        raise error

    assert check_health(fetch, "http://h") == Health("unreachable", "no")


def test_an_answer_that_comes_too_late_is_told_from_one_that_nobody_gives() -> None:
    def fetch(_url: str, _key: str | None) -> tuple[int, bytes]:
        raise EndpointTimeout("no answer within 5 s")

    health = check_health(fetch, "http://h")
    assert health == Health("unreachable", "no answer within 5 s", silent=True)


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


def test_a_server_of_ours_is_asked_at_the_path_that_its_spec_names(tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(url: str, _key: str | None) -> tuple[int, bytes]:
        asked.append(url)
        return 200, b""

    path = tmp_path / "log"
    spec = ServerSpec("m", "embedded", None, 1, 64, path, health_path="/v1/models")
    assert kind_of(spec).check_health(fetch, "http://h").ready
    assert asked == ["http://h/v1/models"]
