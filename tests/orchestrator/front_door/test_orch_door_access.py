"""Who may ask the front door."""

from __future__ import annotations

import json

import pytest

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.front_door.access import check_key, options, refusal
from pytest_llmeval.orchestrator.front_door.messages import Request


def request(**headers: str) -> Request:
    fields = {name.encode(): value.encode() for name, value in headers.items()}
    return Request(b"POST", b"/v1/x", tuple(fields.items()), b"", "1.1", True, fields)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_other_machines_are_let_in_with_a_key_only(host: str) -> None:
    with pytest.raises(OrchestratorError, match=f"{host} .* --proxy-token-env, or listen on 127"):
        check_key(host, None)
    check_key(host, "key")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_no_key(host: str) -> None:
    check_key(host, None)


@pytest.mark.parametrize("given", ["", "key", "Bearer", "Bearer ", "Bearer ke", "Basic key"])
def test_where_there_is_a_key_it_must_be_right(given: str) -> None:
    page = refusal(request(host="desk:1", authorization=given), "key")
    assert page is not None
    assert page.status == 401
    assert "Authorization: Bearer KEY" in json.loads(page.content)["error"]["message"]
    assert (b"WWW-Authenticate", b"Bearer") in page.headers


@pytest.mark.parametrize("given", ["Bearer kéy", "bearer kéy"])
def test_with_the_right_key_it_matters_not_where_one_comes_from(given: str) -> None:
    assert (
        refusal(request(host="x.org", origin="https://x.org", authorization=given), "kéy") is None
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.org"},
        {"host": "evil.org:9641"},
        {"host": "127.0.0.1.evil.org"},
        {"host": "127.0.0.1:1@evil.org"},
        {"host": "[::1"},
        {"host": "127.0.0.1", "origin": "https://evil.org"},
        {"host": "127.0.0.1", "origin": "null"},
        {"host": "127.0.0.1", "origin": "http://localhost.evil.org"},
    ],
)
def test_pages_of_other_hosts_are_refused_where_there_is_no_key(headers: dict[str, str]) -> None:
    page = refusal(request(**headers), None)
    assert page is not None
    assert page.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:9641"},
        {"host": "localhost"},
        {"host": "[::1]:9641", "origin": "http://localhost:3000"},
    ],
)
def test_programs_and_pages_of_this_machine_may_ask(headers: dict[str, str]) -> None:
    assert refusal(request(**headers), None) is None


def test_a_page_of_this_machine_is_told_that_it_may_ask_and_no_other() -> None:
    own = dict(options(request(origin="http://localhost:3000")).headers)
    assert own[b"Access-Control-Allow-Origin"] == b"http://localhost:3000"
    assert own[b"Vary"] == b"Origin"
    foreign = dict(options(request(origin="https://evil.org")).headers)
    assert foreign == {b"Allow": b"GET, HEAD, POST, OPTIONS"}
