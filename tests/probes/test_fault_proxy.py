"""The proxy over real sockets: what passes is untouched, what is hit is hit as its name says."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_llmeval.errors import FaultError
from pytest_llmeval.probes.faults import FaultProxy
from tests.standins.upstream import Upstream, chunked, event, stream, whole

Stand = Callable[..., FaultProxy]

JSON = "Content-Type: application/json"


class Client:
    """A socket to the proxy."""

    def __init__(self, proxy: FaultProxy):
        self.sock = socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=30)

    def send(self, body: bytes = b"", *headers: str, path: str = "/v1/chat/completions") -> None:
        method = "POST" if body else "GET"
        lines = [f"{method} {path} HTTP/1.1", "Host: me", *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def read(self, size: int) -> bytes:
        """So many bytes, or what comes until the end."""
        found = b""
        while len(found) < size and (piece := self.sock.recv(size - len(found))):
            found += piece
        return found

    def rest(self) -> bytes:
        return self.read(2**24)

    def head(self) -> str:
        found = b""
        while not found.endswith(b"\r\n\r\n"):
            found += self.read(1)
        return found.decode()

    def __enter__(self) -> Client:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def port_of(proxy: FaultProxy) -> int:
    return int(proxy.url.split(":")[2].split("/")[0])


def faults_of(proxy: FaultProxy) -> list[str]:
    return [injected.fault for injected in proxy.injected]


# What passes --------------------------------------------------------------------------------------

REPLIES = {
    "whole": whole(b'{"a": 1}', JSON, "X-Odd:  two  blanks"),
    "empty": whole(b""),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"c" * 9),
    "stream": stream(event({"a": 1}), event(b"[DONE]")),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "error": b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
    "interim first": b"HTTP/1.1 102 Processing\r\n\r\n" + whole(b"late"),
    "large": whole(bytes(range(256)) * 4096),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_what_no_fault_hits_passes_as_it_is(
    upstream: Upstream, before: Stand, reply: bytes
) -> None:
    upstream.reply = reply
    proxy = before("loading:path=/never")
    expected = reply.replace(b"X-Odd:  two  blanks", b"X-Odd: two  blanks")
    with Client(proxy) as client:
        for _ in range(2):  # on one connection
            client.send(b'{"q": 1}', "X-Mine: yes")
            assert client.read(len(expected)) == expected
    head, body = upstream.seen[0]
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{upstream.port}\r\n" in head
    assert "\r\nX-Mine: yes\r\n" in head
    assert body == b'{"q": 1}'
    assert (upstream.connections - 1, proxy.requests, proxy.injected) == (1, 2, ())


def test_a_reply_that_ends_with_its_connection_ends_so(upstream: Upstream, before: Stand) -> None:
    upstream.reply, upstream.closes = b"HTTP/1.1 200 OK\r\n\r\nall of it", True
    with Client(before("loading:path=/never")) as client:
        client.send()
        assert client.rest() == upstream.reply


def test_the_url_keeps_its_path(upstream: Upstream, llm_faults: Stand) -> None:
    proxy = llm_faults(f"{upstream.url}/v1/", "latency")
    assert proxy.url == f"http://127.0.0.1:{port_of(proxy)}/v1"
    assert repr(proxy) == f"<faults before 127.0.0.1:{upstream.port} at {proxy.url}>"


def test_a_request_in_chunks_and_one_that_waits_for_leave_pass(
    upstream: Upstream, before: Stand
) -> None:
    with Client(before("loading:path=/never")) as client:
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        client.sock.sendall(head)
        assert client.head() == "HTTP/1.1 100 Continue\r\n\r\n"
        client.sock.sendall(chunked(b"ab", b"cde"))
        assert client.read(len(upstream.reply)) == upstream.reply
    assert upstream.seen[0][1] == b"abcde"


def test_a_client_that_gives_up_is_seen_by_the_server(upstream: Upstream, before: Stand) -> None:
    proxy = before("loading:path=/never")
    upstream.gone.acquire()  # the connection by which the proxy saw that there is a server
    upstream.silent = True
    with Client(proxy) as client:
        client.send(b"{}")
        while not upstream.seen:
            time.sleep(0.001)
    assert upstream.gone.acquire(timeout=30)


def test_a_server_that_closes_an_idle_connection_is_seen_by_the_client(
    upstream: Upstream, before: Stand
) -> None:
    upstream.closes = True
    with Client(before("loading:path=/never")) as client:
        client.send()
        assert client.rest() == upstream.reply


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nConte",
        b"SSH-2.0\r\n\r\n",
    ],
    ids=["body", "head", "not HTTP"],
)
def test_a_server_that_breaks_off_is_passed_on_as_a_reset(
    upstream: Upstream, before: Stand, reply: bytes
) -> None:
    upstream.reply, upstream.closes = reply, True
    with Client(before("loading:path=/never")) as client:
        client.send()
        with pytest.raises(ConnectionError):
            client.rest()


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HT"]
)
def test_what_is_no_request_reaches_nobody(upstream: Upstream, before: Stand, sent: bytes) -> None:
    with Client(before("latency")) as client:
        client.sock.sendall(sent)
        with contextlib.suppress(OSError):  # it may be reset by now
            client.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            client.rest()
    assert upstream.seen == []


# The connection's faults --------------------------------------------------------------------------


def exchange(proxy: FaultProxy, size: int, body: bytes = b"{}") -> tuple[bytes, float]:
    """A reply of so many bytes, and the seconds that it took."""
    with Client(proxy) as client:
        began = time.monotonic()
        client.send(body)
        return client.read(size), time.monotonic() - began


@pytest.mark.parametrize("way", ["upstream", "downstream"])
def test_latency_comes_before_all_data(upstream: Upstream, before: Stand, way: str) -> None:
    upstream.reply = stream(*[event({"n": n}) for n in range(50)])
    proxy = before(f"latency:latency=60,jitter=10,stream={way}")
    reply, took = exchange(proxy, len(upstream.reply))
    assert reply == upstream.reply
    assert took >= 0.05
    assert faults_of(proxy) == [f"latency:latency=60,jitter=10,stream={way}"]


@pytest.mark.parametrize("way", ["upstream", "downstream"])
def test_bandwidth_is_a_limit(upstream: Upstream, before: Stand, way: str) -> None:
    upstream.reply = whole(b"x" * 4000)
    proxy = before(f"bandwidth:rate=20,stream={way}")
    reply, took = exchange(proxy, len(upstream.reply), b"y" * 4000)
    assert reply == upstream.reply
    assert took >= 4000 / 20_000
    assert upstream.seen[0][1] == b"y" * 4000


def test_sliced_data_are_the_same_data(upstream: Upstream, before: Stand) -> None:
    upstream.reply = whole(bytes(range(256)))
    proxy = before("slicer:average_size=10,size_variation=5,delay=1000")
    reply, took = exchange(proxy, len(upstream.reply))
    assert reply == upstream.reply
    assert took >= 256 / 15 * 0.001


@pytest.mark.parametrize("size", [0, 1, 40])
def test_a_limit_of_data_is_exact_and_ends_in_order(
    upstream: Upstream, before: Stand, size: int
) -> None:
    proxy = before(f"limit_data:bytes={size}")
    reply, _ = exchange(proxy, 10**6)
    assert reply == upstream.reply[:size]
    assert faults_of(proxy) == [f"limit_data:bytes={size}"]


def test_a_limit_that_is_not_reached_has_not_happened(upstream: Upstream, before: Stand) -> None:
    proxy = before("limit_data:bytes=100000,times=1")
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply
    assert proxy.injected == ()


def test_a_limit_upstream_cuts_the_request(upstream: Upstream, before: Stand) -> None:
    proxy = before("limit_data:bytes=30,stream=upstream")
    assert exchange(proxy, 10**6)[0] == b""
    assert upstream.seen == []


@pytest.mark.parametrize("way", ["upstream", "downstream"])
def test_a_reset_is_one(upstream: Upstream, before: Stand, way: str) -> None:
    with pytest.raises(ConnectionResetError):
        exchange(before(f"reset_peer:stream={way}"), 1)
    assert len(upstream.seen) == (way == "downstream")


@pytest.mark.parametrize("way", ["upstream", "downstream"])
def test_a_timeout_lets_nothing_pass_and_then_closes(
    upstream: Upstream, before: Stand, way: str
) -> None:
    reply, took = exchange(before(f"timeout:timeout=50,stream={way}"), 1)
    assert reply == b""
    assert took >= 0.05


def test_a_slow_close_keeps_the_end_back(upstream: Upstream, before: Stand) -> None:
    upstream.reply, upstream.closes = b"HTTP/1.1 200 OK\r\n\r\nall of it", True
    reply, took = exchange(before("slow_close:delay=80"), 10**6)
    assert reply == upstream.reply
    assert took >= 0.08


def test_down_is_refused_from_the_start(upstream: Upstream, before: Stand) -> None:
    proxy = before("down")
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    assert [(each.request, each.fault) for each in proxy.injected] == [(0, "down")]


def test_what_was_down_is_up_again_when_its_time_is_over(upstream: Upstream, before: Stand) -> None:
    proxy = before("down:duration=100")
    reply = b""
    while not reply:
        with contextlib.suppress(ConnectionError):
            reply, _ = exchange(proxy, len(upstream.reply))
    assert reply == upstream.reply
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply  # and it stays up
    assert faults_of(proxy) == ["down:duration=100"]


def test_requests_that_come_together_bring_it_down_once(
    upstream: Upstream, before: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = before("down:duration=200,times=9")
    while True:
        with contextlib.suppress(ConnectionError):
            clients = [Client(proxy) for _ in range(4)]
            break
    for act in (lambda client: client.send(b"{}"), Client.rest):
        for client in clients:
            with contextlib.suppress(ConnectionError):  # the first one brings all of them down
                act(client)
    for client in clients:
        client.sock.close()
    proxy.change()
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply
    time.sleep(0.5)  # whatever was to rise has risen
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply
    assert not caplog.records, "no task of the loop has failed"


def test_it_goes_down_as_many_times_as_is_said(upstream: Upstream, before: Stand) -> None:
    proxy = before("down:duration=50,times=2")
    replies = 0
    while replies < 2:
        with contextlib.suppress(ConnectionError):
            replies += bool(exchange(proxy, len(upstream.reply))[0])
    assert faults_of(proxy) == ["down:duration=50,times=2"] * 2


def test_down_breaks_what_there_is_and_refuses_what_comes(
    upstream: Upstream, before: Stand
) -> None:
    proxy = before("down:after=1")
    with Client(proxy) as idle, Client(proxy) as client:
        client.send(b"{}")
        assert client.read(len(upstream.reply)) == upstream.reply
        client.send(b"{}")
        for each in (client, idle):
            with pytest.raises(ConnectionResetError):
                each.rest()
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    proxy.change()
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply


def test_a_change_to_down_breaks_at_once_what_there_is(upstream: Upstream, before: Stand) -> None:
    proxy = before("latency:latency=1")
    with Client(proxy) as idle:
        idle.send(b"{}")
        assert idle.read(len(upstream.reply)) == upstream.reply
        proxy.change("down")
        with pytest.raises(ConnectionResetError):
            idle.rest()
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    assert [(each.request, each.fault) for each in proxy.injected[1:]] == [(0, "down")]
    proxy.change("down:duration=50")
    proxy.change()  # before it would have come up by itself
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply


def test_faults_are_changed_while_the_proxy_runs_only(upstream: Upstream) -> None:
    proxy = FaultProxy(upstream.url)
    words = r"does not run: .* between start\(\) and close\(\)"
    with pytest.raises(FaultError, match=words):
        proxy.change("loading")
    with proxy:
        proxy.change("loading")
    with pytest.raises(FaultError, match=words):
        proxy.change("loading")


def test_a_refusal_to_head_has_no_body(upstream: Upstream, before: Stand) -> None:
    with Client(before("loading:path=/x")) as client:
        client.sock.sendall(b"HEAD /x HTTP/1.1\r\nHost: me\r\n\r\n")
        head = client.head()
        assert head.startswith("HTTP/1.1 503 ")
        assert "Content-Length: 0" not in head
        client.send(b"{}")  # on the same connection
        assert client.read(len(upstream.reply)) == upstream.reply


# The answer's faults ------------------------------------------------------------------------------


def answer(proxy: FaultProxy, body: bytes = b'{"stream": false}') -> tuple[str, bytes]:
    """Head and body of a reply that has a length."""
    with Client(proxy) as client:
        client.send(body)
        head = client.head()
        length = next(line for line in head.split("\r\n") if line.startswith("Content-Length"))
        return head, client.read(int(length.split(": ")[1]))


@pytest.mark.parametrize(
    ("fault", "first", "words"),
    [
        ("loading", "HTTP/1.1 503 Service Unavailable", "Loading model"),
        ("rate_limit:retry_after=3", "HTTP/1.1 429 Too Many Requests", "Rate limit reached"),
        ("server_error", "HTTP/1.1 500 Internal Server Error", "injected fault"),
        ("server_error:status=529", "HTTP/1.1 529 Fault", "injected fault"),
    ],
)
def test_a_refusal_comes_without_asking_the_server(
    upstream: Upstream, before: Stand, fault: str, first: str, words: str
) -> None:
    head, body = answer(before(fault))
    assert head.startswith(first)
    assert words in json.loads(body)["error"]["message"]
    assert upstream.seen == []
    assert ("Retry-After: 3\r\n" in head) == ("retry_after" in fault)


def test_loading_is_said_in_llama_cpps_own_words(before: Stand) -> None:
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    assert json.loads(answer(before("loading"))[1]) == {"error": error}


def test_a_date_to_come_back_lies_that_far_ahead(before: Stand) -> None:
    from email.utils import parsedate_to_datetime

    head, _ = answer(before("rate_limit:retry_after=60,form=date"))
    written = next(line for line in head.split("\r\n") if line.startswith("Retry-After: "))
    assert 60 <= parsedate_to_datetime(written[13:]).timestamp() - time.time() + 5 <= 66


def test_a_page_of_html_has_status_200(before: Stand) -> None:
    head, body = answer(before("html"))
    assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/html")
    assert body.startswith(b"<!doctype html>")


def test_a_rewritten_answer_has_its_own_length_and_is_asked_for_uncompressed(
    upstream: Upstream, before: Stand
) -> None:
    upstream.reply = stream(b'{"choices"', b": []}").replace(
        b"text/event-stream", b"application/json"
    )
    proxy = before("garbage_utf8")
    with Client(proxy) as client:
        client.send(b"{}", "Accept-Encoding: gzip")
        assert "Content-Length: 17" in client.head()
        assert client.read(17).replace(b"\xff\xfe", b"") == b'{"choices": []}'
    assert "Accept-Encoding" not in upstream.seen[0][0]


def test_a_compressed_answer_is_left_alone(upstream: Upstream, before: Stand) -> None:
    upstream.reply = whole(b"\x1f\x8b...", JSON, "Content-Encoding: gzip")
    proxy = before("invalid_json", "ping_flood:count=3")
    assert exchange(proxy, len(upstream.reply))[0] == upstream.reply
    assert proxy.injected == ()


def test_a_flood_comes_before_a_whole_answer_as_blank_lines(
    upstream: Upstream, before: Stand
) -> None:
    upstream.reply, upstream.closes = whole(b'{"a": 1}', JSON), True
    reply, _ = exchange(before("ping_flood:count=3,interval=0"), 10**6)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == chunked(b"\n", b"\n", b"\n", b'{"a": 1}')


def test_a_flood_comes_before_a_stream_as_comments(upstream: Upstream, before: Stand) -> None:
    upstream.reply, upstream.closes = stream(event(b"[DONE]")), True
    reply, _ = exchange(before("ping_flood:count=2"), 10**6, b'{"stream": true}')
    assert reply.endswith(chunked(b": ping\n\n", b": ping\n\n", event(b"[DONE]")))


@pytest.mark.parametrize("events", [0, 2])
def test_a_hang_comes_after_the_headers_and_so_many_events(
    upstream: Upstream, before: Stand, events: int
) -> None:
    upstream.reply = stream(*[event({"n": n}) for n in range(3)])
    proxy = before(f"hang:events={events}")
    with Client(proxy) as client:
        client.send(b'{"stream": true}')
        assert client.head().startswith("HTTP/1.1 200 OK")
        expected = chunked(*[event({"n": n}) for n in range(events)])[:-5]
        assert client.read(len(expected)) == expected
        while not proxy.injected:
            time.sleep(0.001)
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.read(1)


def test_several_faults_act_together_and_are_told_in_their_order(
    upstream: Upstream, before: Stand
) -> None:
    deltas = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in "ab"]
    upstream.reply = stream(*map(event, deltas), event(b"[DONE]"))
    upstream.closes = True
    proxy = before("slicer:average_size=3", "missing_done", "empty_deltas", "cut_arguments")
    reply, _ = exchange(proxy, 10**6, b'{"stream": true}')
    assert b"[DONE]" not in reply
    assert reply.count(b'"choices":[]') == 2
    assert faults_of(proxy) == ["slicer:average_size=3", "empty_deltas", "missing_done"]


# The proxy ----------------------------------------------------------------------------------------


def test_a_fault_is_told_with_its_request(upstream: Upstream, before: Stand) -> None:
    told: list[Any] = []
    with FaultProxy(upstream.url, "loading:after=1,times=1", tell=told.append) as proxy:
        for _ in range(3):
            answer(proxy)
    [injected] = proxy.injected
    assert told == [injected]
    assert (injected.request, injected.method) == (2, "POST")
    assert injected.path == "/v1/chat/completions"
    assert injected.seconds >= 0
    assert proxy.requests == 3


def test_two_proxies_of_one_seed_do_the_same(upstream: Upstream, before: Stand) -> None:
    faults = ("loading:share=0.4", "garbage_utf8:share=0.5")
    runs = []
    for seed in (5, 5, 6):
        proxy = before(*faults, seed=seed)
        runs.append([answer(proxy)[1] for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]


def test_many_clients_at_once_get_their_own_answers(upstream: Upstream, before: Stand) -> None:
    proxy = before("latency:latency=20,jitter=20")
    clients = [Client(proxy) for _ in range(40)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    for client in clients:
        assert client.read(len(upstream.reply)) == upstream.reply
        client.sock.close()
    assert sorted(int(body) for _, body in upstream.seen) == list(range(40))


def test_closing_ends_every_connection(upstream: Upstream) -> None:
    proxy = FaultProxy(upstream.url, "timeout", "slow_close:delay=60000").start()
    with Client(proxy) as client:
        client.send(b"{}")
        while len(proxy.injected) < 2:
            time.sleep(0.001)
        proxy.close()
        assert client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    proxy.close()  # once more does nothing


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "https://127.0.0.1:1/v1",
            "is https, and the fault proxy reads what passes: give the http",
        ),
        ("127.0.0.1:8080", "'127.0.0.1:8080' is no usable url: it must look like http://127.0.0.1"),
        ("http://me:secret@127.0.0.1", "carries a user name or password"),
    ],
)
def test_a_url_that_it_cannot_stand_before_is_refused(url: str, words: str) -> None:
    with pytest.raises(FaultError) as refused:
        FaultProxy(url, "loading")
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_endpoint_that_is_not_there_is_told(dead_port: int) -> None:
    words = rf"nothing answers at 127\.0\.0\.1:{dead_port} \(.+\): start the server first, or corr"
    with pytest.raises(FaultError, match=words):
        FaultProxy(f"http://127.0.0.1:{dead_port}", "loading").start()


def test_a_port_that_is_taken_is_told(upstream: Upstream) -> None:
    with pytest.raises(FaultError, match=rf"port {upstream.port} of 127.0.0.1 cannot be taken \("):
        FaultProxy(upstream.url, "loading", port=upstream.port).start()
