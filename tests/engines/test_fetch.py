"""One GET that never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.engines.fetch import Fetched, fetch
from pytest_llmeval.errors import EndpointTimeout, EndpointUnreachable

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer, Step


def test_any_status_comes_back_with_its_body(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"loading", "503 Service Unavailable")]]
    assert fetch(f"{server.url}/health", 5) == Fetched(503, b"loading")
    assert (server.seen[0].method, server.seen[0].path) == ("GET", "/health")
    assert "authorization" not in server.seen[0].headers


def test_a_key_travels_as_a_bearer_token(server: FaultServer) -> None:
    fetch(server.url, 5, "sk-1")
    assert server.seen[0].headers["authorization"] == "Bearer sk-1"


def test_no_proxy_comes_between(
    server: FaultServer, dead_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{dead_port}")
    assert fetch(server.url, 5).status == 200


def test_a_refused_connection_is_told(dead_port: int) -> None:
    fetched = fetch(f"http://127.0.0.1:{dead_port}/health", 5)
    assert fetched.status is None
    assert fetched.error.startswith("cannot connect: ")


def test_silence_is_told(server: FaultServer) -> None:
    server.scripts = [["hang"]]
    assert fetch(server.url, 0.05) == Fetched(None, error="no answer within 0.05 s", timed_out=True)


@pytest.mark.parametrize(
    "script", [[b"SSH-2.0\r\n"], [b"HTTP/1.1 200", "close"], ["reset"], ["close"]], ids=str
)
def test_a_broken_answer_is_told(server: FaultServer, script: list[Step]) -> None:
    server.scripts = [[*script, "close"]]
    fetched = fetch(server.url, 5)
    assert fetched.status is None
    assert "Error: " in fetched.error


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "http://", "http://127.0.0.1:x", "ftp://127.0.0.1", "http://no.invalid"],
)
def test_a_url_that_leads_nowhere_is_told(url: str) -> None:
    fetched = fetch(url, 5)
    assert fetched.status is None
    assert fetched.error


def test_a_key_that_no_header_can_carry_is_told_without_showing_it(server: FaultServer) -> None:
    fetched = fetch(server.url, 5, "sk-ü")
    assert fetched.status is None
    assert fetched.error
    assert "sk-" not in fetched.error


def test_an_answer_is_handed_on_and_its_lack_is_raised_by_its_kind() -> None:
    assert Fetched(503, b"busy").answer() == (503, b"busy")
    with pytest.raises(EndpointTimeout, match="no answer within 5 s"):
        Fetched(None, error="no answer within 5 s", timed_out=True).answer()
    with pytest.raises(EndpointUnreachable, match="cannot connect"):
        Fetched(None, error="cannot connect: refused").answer()
