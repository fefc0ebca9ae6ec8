"""Who may call the interface: the rules by themselves, and each route on a real server."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pytest_llmeval.orchestrator.web.access import (
    ASSETS,
    Access,
    Call,
    access_to,
    is_loopback,
    refusal,
)
from pytest_llmeval.orchestrator.web.gate import call_of
from tests.orchestrator.web.conftest import RIGHT, TOKEN, Served

HERE = access_to("127.0.0.1", TOKEN, ["desk"])
EVERYWHERE = access_to("0.0.0.0", TOKEN, ["Desk", "desk.lan"])
LOOK = Call("GET", "/instances", "127.0.0.1:9640")
ACT = Call("POST", "/instances/qwen/start", "127.0.0.1:9640", token=TOKEN)
PAGE = Call("GET", "/", "127.0.0.1:9640")
OWN = "http://127.0.0.1:9640"

ACTIONS = ("start", "stop", "restart", "reset")


def word(call: Call, access: Access = HERE) -> str | None:
    """The word of the refusal; None where there is none."""
    found = refusal(call, access)
    return None if found is None else found.type


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "LOCALHOST", "::1"])
def test_only_this_machine_reaches_the_loopback_interface(host: str) -> None:
    assert is_loopback(host)
    assert not access_to(host, TOKEN, []).remote


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "desk", "localhost.lan"])
def test_every_other_address_is_for_other_machines(host: str) -> None:
    assert not is_loopback(host)
    assert access_to(host, TOKEN, []).remote


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9640", "LocalHost:1", "[::1]:9640"])
def test_names_of_this_machine_are_ours_at_any_port(host: str) -> None:
    """A tunnel may have another port at its other end."""
    assert word(replace(LOOK, host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "evil.example:9640", "", None, "desk"),
        *("192.168.1.7", "0.0.0.0:9640", "[::1", "127.0.0.1@evil.example", "localhost.evil"),
    ],
)
def test_a_host_that_is_not_ours_is_refused_whatever_it_asks_for(host: str | None) -> None:
    for call in (LOOK, ACT, PAGE):
        assert word(replace(call, host=host)) == "foreign_host"


@pytest.mark.parametrize("host", ["desk:9640", "DESK", "desk.lan", "desk.local", "192.168.1.7:80"])
def test_where_other_machines_may_call_its_names_and_addresses_are_ours(host: str) -> None:
    assert word(replace(LOOK, host=host, token=TOKEN), EVERYWHERE) is None
    assert word(replace(LOOK, host="evil.example", token=TOKEN), EVERYWHERE) == "foreign_host"


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("https://evil.example", "cross-site"),
        ("https://evil.example", None),
        ("http://127.0.0.1:3000", "same-site"),
        ("http://localhost:9640", None),
        ("null", "cross-site"),
        ("null", None),
        ("file://127.0.0.1:9640", None),
        ("http://[", None),
        (OWN, "same-site"),
        (None, "cross-site"),
        (None, "same-site"),
    ],
)
def test_the_page_of_another_site_may_call_nothing(origin: str | None, site: str | None) -> None:
    for call in (LOOK, ACT):
        assert word(replace(call, origin=origin, fetch_site=site)) == "cross_origin"


@pytest.mark.parametrize(
    ("origin", "site"),
    [(None, None), (OWN, None), (OWN, "same-origin"), (OWN.upper(), None), (None, "none")],
)
def test_our_own_page_and_programs_may_call(origin: str | None, site: str | None) -> None:
    for call in (LOOK, ACT):
        assert word(replace(call, origin=origin, fetch_site=site)) is None


def test_another_site_may_link_to_the_page() -> None:
    assert word(replace(PAGE, fetch_site="cross-site")) is None
    assert word(replace(PAGE, method="POST", fetch_site="cross-site")) == "cross_origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_whatever_is_not_reading_needs_the_token(method: str) -> None:
    assert word(replace(ACT, method=method)) is None
    assert word(replace(ACT, method=method, token=None)) == "token_missing"
    for wrong in ("", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ä" * 40):
        assert word(replace(ACT, method=method, token=wrong)) == "token_wrong"


def test_reading_needs_the_token_only_where_other_machines_may_call() -> None:
    assert word(LOOK) is None
    assert word(LOOK, EVERYWHERE) == "token_missing"
    assert word(replace(LOOK, token="wrong"), EVERYWHERE) == "token_wrong"
    assert word(replace(LOOK, token=TOKEN), EVERYWHERE) is None


def test_the_page_itself_needs_no_token() -> None:
    for asset in ASSETS:
        assert word(replace(PAGE, path=asset), EVERYWHERE) is None


def test_a_refusal_says_what_was_given_and_the_way_out() -> None:
    host = refusal(replace(LOOK, host="evil.example"), HERE)
    assert host is not None
    assert host.message == (
        "the Host header is 'evil.example', which is no name of this interface; "
        "open it by one of: 127.0.0.1, ::1, localhost"
    )
    token = refusal(replace(ACT, token=None), HERE)
    assert token is not None
    assert "`llama-orch serve` has printed" in token.message
    assert "`Authorization: Bearer TOKEN` or `X-Llama-Orch-Token: TOKEN`" in token.message


def test_no_token_is_shown_by_accident() -> None:
    assert TOKEN not in repr(HERE)
    assert TOKEN not in repr(ACT)


# On a real server ---------------------------------------------------------------------------------

WHO = {
    "no token": ({}, 401, "token_missing"),
    "another scheme": ({"Authorization": f"Basic {TOKEN}"}, 401, "token_missing"),
    "wrong token": ({"X-Llama-Orch-Token": "wrong"}, 401, "token_wrong"),
    "wrong bearer": ({"Authorization": "Bearer wrong"}, 401, "token_wrong"),
    "right token": (RIGHT, 200, None),
    "right bearer": ({"Authorization": f"bearer {TOKEN}"}, 200, None),
    "right, cross-origin": ({**RIGHT, "Origin": "http://evil.example"}, 403, "cross_origin"),
    "right, cross-site": ({**RIGHT, "Sec-Fetch-Site": "cross-site"}, 403, "cross_origin"),
    "right, foreign host": ({**RIGHT, "Host": "evil.example"}, 403, "foreign_host"),
}


@pytest.mark.parametrize(("action", "who"), list(itertools.product(ACTIONS, WHO)))
def test_every_changing_call_asks_who_comes(served: Served, action: str, who: str) -> None:
    served.instances.add("qwen")
    headers, status, word = WHO[who]
    answer = served.call("POST", f"/instances/qwen/{action}?wait=true", headers=headers)
    assert answer.status_code == status
    assert answer.json().get("error", {}).get("type") == word
    assert len(served.instances.calls) == (status == 200)
    assert (answer.headers.get("WWW-Authenticate") == "Bearer") == (status == 401)


def test_no_route_that_changes_something_is_left_out(served: Served) -> None:
    """The matrix above has all of them."""
    paths = served.call("GET", "/openapi.json").json()["paths"]
    changing = {path for path, methods in paths.items() if set(methods) - {"get"}}
    assert changing == {f"/instances/{{name}}/{action}" for action in ACTIONS}


READING = ("/instances", "/instances/qwen", "/instances/qwen/health", "/instances/qwen/logs")


@pytest.mark.parametrize("path", [*READING, "/metrics", "/openapi.json", "/events"])
def test_for_other_machines_every_call_needs_the_token(served_remotely: Served, path: str) -> None:
    served_remotely.instances.add("qwen")
    assert served_remotely.call("GET", path).status_code == 401
    if path != "/events":
        assert served_remotely.call("GET", path, headers=RIGHT).status_code == 200


def test_for_other_machines_the_page_is_open_and_holds_nothing(served_remotely: Served) -> None:
    served_remotely.instances.add("a-secret-name")
    for path in ASSETS:
        answer = served_remotely.call("GET", path)
        assert answer.status_code == 200
        assert "a-secret-name" not in answer.text


def test_two_hosts_in_one_request_are_none() -> None:
    hosts = [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]
    call = call_of({"type": "http", "method": "GET", "path": "/instances", "headers": hosts})
    assert word(call) == "foreign_host"


@pytest.mark.parametrize("path", ["/", "/page.js", "/instances", "/nowhere", "/metrics"])
def test_browsers_are_told_to_trust_nothing_else(served: Served, path: str) -> None:
    headers = served.call("GET", path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_preflight_of_another_site_is_refused(served: Served) -> None:
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = served.call("OPTIONS", "/instances/qwen/start", headers=asks)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
