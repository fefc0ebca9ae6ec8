"""Requests out of bytes, wherever these are cut, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_llmeval.orchestrator.front_door.messages import Page, Request
from pytest_llmeval.orchestrator.front_door.reading import Limits, RequestReader

SIZED = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
    b"2;note=x\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 9\r\nX-A: 2\r\n\r\n"
)
UPGRADE = (
    b"POST /v1/x?y=1 HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: a\r\nX-A: 1\r\n"
    b"HTTP2-Settings: AAE\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"
)
ALL = {"sized": SIZED, "chunked": CHUNKED, "upgrade": UPGRADE}
LIMITS = Limits(head=300, body=64)


def read(*pieces: bytes, limits: Limits = LIMITS) -> tuple[list[Request | Page], int]:
    """What comes out, and how often a body was let come."""
    let = []
    reader = RequestReader(limits, lambda: let.append(1))
    return [each for piece in pieces for each in reader.feed(piece)], len(let)


def check_hello(got: Request | Page) -> None:
    assert isinstance(got, Request)
    assert (got.method, got.target, got.path) == (b"POST", b"/v1/x?y=1", b"/v1/x")
    assert got.body == b"hello"
    assert got.fields[b"x-a"] == b"1"
    assert got.keep_alive
    assert b"x-trailer" not in got.fields


@pytest.mark.parametrize("whole", ALL.values(), ids=ALL)
def test_a_request_reads_the_same_wherever_it_is_cut(whole: bytes) -> None:
    cuts = [[whole[:at], whole[at:]] for at in range(1, len(whole))]
    for pieces in [*cuts, [bytes([byte]) for byte in whole]]:
        (got,), _ = read(*pieces)
        check_hello(got)


@pytest.mark.parametrize("first", ALL.values(), ids=ALL)
@pytest.mark.parametrize("second", ALL.values(), ids=ALL)
def test_requests_sent_in_one_go_are_told_apart(first: bytes, second: bytes) -> None:
    both = first + second
    for at in range(1, len(both)):
        got, _ = read(both[:at], both[at:])
        assert len(got) == 2
        for each in got:
            check_hello(each)


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400, "no HTTP request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "one header Host, and this has none"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "one header Host, and this has 2"),
        (b"GET / HTTP/0.9\r\n\r\n", 505, "HTTP 0.9 is not spoken"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 400, 431, "longer than 300 bytes"),
        (b"GET /" + b"x" * 400, 431, "longer than 300 bytes"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 60 + b"\r\n", 431, "longer than 300"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65\r\n\r\n", 413, "longer than 64 bytes"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + b"x" * 80,
            413,
            "longer than 64 bytes",
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417, "miracles"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "CONNECT is not served"),
        # What others might read as another request than we do (smuggling).
        (SIZED.replace(b"X-A: 1", b"Transfer-Encoding: chunked"), 400, "Content-Length"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400, ""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, ""),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, ""),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, ""),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, ""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, ""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, ""),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_after_it_is_read(
    sent: bytes, status: int, why: str
) -> None:
    for pieces in ([sent, SIZED], [*[bytes([byte]) for byte in sent], SIZED]):
        got, _ = read(*pieces)
        (page,) = got[-1:]
        assert isinstance(page, Page)
        assert page.status == status
        assert why in json.loads(page.content)["error"]["message"]
        assert len(got) == 1


def test_a_refusal_comes_after_the_requests_before_it() -> None:
    got, _ = read(SIZED + b"nonsense\r\n\r\n" + SIZED)
    assert [type(each) for each in got] == [Request, Page]


def test_a_body_that_waits_for_our_word_is_let_come_unless_it_is_too_long() -> None:
    expecting = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    assert read(expecting % 5) == ([], 1)
    got, let = read(expecting % 65)
    assert isinstance(got[0], Page)
    assert let == 0


def test_how_a_connection_goes_on_is_as_the_client_says() -> None:
    old = b"GET / HTTP/1.0\r\n\r\n"
    closing = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for sent in (old, closing):
        (got,), _ = read(sent)
        assert isinstance(got, Request)
        assert not got.keep_alive


def test_a_head_and_a_body_that_come_too_slowly_are_told_apart() -> None:
    limits = replace(LIMITS, head_seconds=1, body_seconds=2, slowest=1)
    reader = RequestReader(limits, lambda: None)
    assert limits.overdue(reader, 99) is None
    reader.feed(SIZED[:20])
    assert limits.overdue(reader, 1) is None
    assert limits.overdue(reader, 1.1) == "the head took more than 1 s"
    reader.feed(SIZED[20:-2])
    assert limits.overdue(reader, 5) is None  # 2 s, and as many more as 3 bytes may take
    assert limits.overdue(reader, 5.1) == "the body comes too slowly: 3 bytes in 5 s"
