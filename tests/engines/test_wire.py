"""Requests over real sockets, against a server that can break in every way."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_llmeval.engines import connection as connections
from pytest_llmeval.engines.connection import Connection, Reply, no_connection
from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.secure import SecureWire
from pytest_llmeval.engines.wire import PlainWire, Wire, make_wire
from pytest_llmeval.errors import (
    BadAnswer,
    ConfigError,
    EndpointAbsent,
    EndpointTimeout,
    EndpointUnreachable,
)

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer, Step

T = TypeVar("T")


def with_wire(url: str, use: Callable[[Wire], Awaitable[T]], timeout: float = 30.0) -> T:
    """Run a test's use of a wire in a loop of its own, and close the wire."""

    async def main() -> T:
        wire = make_wire(Endpoint(url, timeout=timeout))
        try:
            return await use(wire)
        finally:
            await wire.close()

    return asyncio.run(main())


def ask_once(server: FaultServer, *script: Step, timeout: float = 30.0) -> Reply:
    """Send one request to a server that plays one script."""
    server.scripts = [list(script)]
    return with_wire(server.url, lambda wire: wire.send("POST", "/chat", b"{}"), timeout)


def ask_in_turn(server: FaultServer, times: int, pause: float = 0.0) -> list[Reply]:
    """Send requests one after the other on one wire, with a pause between them."""

    async def use(wire: Wire) -> list[Reply]:
        replies = []
        for _ in range(times):
            replies.append(await wire.send("POST", "/chat", b"{}"))
            await asyncio.sleep(pause)
        return replies

    return with_wire(server.url, use)


# Replies in every shape ---------------------------------------------------------------------------


def test_a_request_arrives_complete_and_its_reply_comes_back(server: FaultServer) -> None:
    async def use(wire: Wire) -> Reply:
        return await wire.send("POST", "/chat", b'{"a": 1}')

    reply = with_wire(f"{server.url}/base/", use)
    seen = server.seen[0]
    assert (seen.method, seen.path, seen.body) == ("POST", "/base/chat", b'{"a": 1}')
    assert seen.headers["content-type"] == "application/json"
    assert "authorization" not in seen.headers
    assert reply.status == 200
    assert json.loads(reply.body)["usage"]["prompt_tokens"] == 21


def test_an_api_key_travels_as_a_bearer_token(server: FaultServer) -> None:
    async def main() -> None:
        wire = make_wire(Endpoint(server.url, api_key="sk-1"))
        await wire.send("GET", "/models")
        await wire.close()

    asyncio.run(main())
    assert server.seen[0].headers["authorization"] == "Bearer sk-1"


def test_header_names_are_lower_case_and_the_last_of_a_name_wins(server: FaultServer) -> None:
    reply = ask_once(server, server.reply(b"", headers=["X-One: 1", "RETRY-After: 7", "x-one: 2"]))
    assert reply.headers == {"x-one": "2", "retry-after": "7", "content-length": "0"}


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;note=x\r\nhello\r\n1\r\n,\r\n6\r\n w\xc3\xb6rl\r\n1\r\nd\r\n0\r\nX-Trailer: y\r\n\r\n"
)
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nX-A: b\r\n\r\nhello, w\xc3\xb6rld"
INTERIM = b"HTTP/1.1 100 Continue\r\nX-Note: wait\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
BODY = "hello, wörld".encode()


class _NoTransport(asyncio.Transport):
    """Stands where the socket would be, for bytes that the test feeds in by hand."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send nothing."""

    def abort(self) -> None:
        """Close nothing."""


async def _fed(pieces: list[bytes]) -> Reply:
    connection = Connection("here", lambda _: None)
    connection.connection_made(_NoTransport())
    waiter = connection.send(b"", 0.0)
    for piece in pieces:
        connection.data_received(piece)
    assert waiter.done()
    return await waiter


WHOLE = {
    "sized": SIZED,
    "chunked": CHUNKED,
    "interim, sized": INTERIM + SIZED,
    "interim, chunked": INTERIM + CHUNKED,
}


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
def test_a_reply_reads_the_same_wherever_it_is_cut(whole: bytes) -> None:
    async def main() -> None:
        pieces = [[whole[:cut], whole[cut:]] for cut in range(1, len(whole))]
        for cut in [*pieces, [bytes([byte]) for byte in whole]]:
            reply = await _fed(cut)
            assert (reply.status, reply.body) == (200, BODY)
            assert "x-note" not in reply.headers

    asyncio.run(main())


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
def test_a_reply_that_drips_from_a_socket_byte_by_byte_is_whole(
    server: FaultServer, whole: bytes
) -> None:
    script: list[Step] = []
    for byte in whole:
        script += [bytes([byte]), 0.0005]
    assert ask_once(server, *script).body == BODY


def test_a_body_without_a_length_ends_with_the_connection(server: FaultServer) -> None:
    reply = ask_once(server, server.reply(b"all of it", length=False), 0.01, b", yes", "close")
    assert reply.body == b"all of it, yes"


def test_a_large_body_arrives_whole(server: FaultServer) -> None:
    body = bytes(range(256)) * 20_000
    assert ask_once(server, server.reply(body)).body == body


def test_a_large_request_arrives_whole(server: FaultServer) -> None:
    body = b'"' + b"x" * 3_000_000 + b'"'
    with_wire(server.url, lambda wire: wire.send("POST", "/chat", body))
    assert server.seen[0].body == body


def test_any_status_is_a_reply(server: FaultServer) -> None:
    for status in ("204 No Content", "404 Not Found", "503 Service Unavailable"):
        assert ask_once(server, server.reply(b"", status)).status == int(status[:3])
        server.seen.clear()


# Connections --------------------------------------------------------------------------------------


def test_requests_in_turn_share_a_connection(server: FaultServer) -> None:
    ask_in_turn(server, 5)
    assert [seen.connection for seen in server.seen] == [1] * 5


def test_requests_at_once_have_a_connection_each_and_keep_them(server: FaultServer) -> None:
    server.scripts = [[0.05, server.reply()]]

    async def use(wire: Wire) -> None:
        for _ in range(2):
            await asyncio.gather(*[wire.send("POST", "/chat", b"{}") for _ in range(4)])

    with_wire(server.url, use)
    assert server.connections == 4
    assert len(server.seen) == 8


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_connection_that_the_server_will_close_is_not_used_again(
    server: FaultServer, reply: bytes
) -> None:
    server.scripts = [[reply]]  # and it stays open, so that only what it said tells
    ask_in_turn(server, 2)
    assert [seen.connection for seen in server.seen] == [1, 2]


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_connection_closed_while_idle_is_replaced(server: FaultServer, ending: Step) -> None:
    server.scripts = [[server.reply(), 0.02, ending], [server.reply()]]
    assert [reply.status for reply in ask_in_turn(server, 2, pause=0.1)] == [200, 200]
    assert [seen.connection for seen in server.seen] == [1, 2]


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_request_that_met_a_stale_connection_is_sent_once_more_on_a_fresh_one(
    server: FaultServer, ending: Step
) -> None:
    server.scripts = [[server.reply()], [ending], [server.reply(b"fresh")]]
    assert [reply.body for reply in ask_in_turn(server, 2)][1] == b"fresh"
    assert [seen.connection for seen in server.seen] == [1, 1, 2]


def test_a_request_is_not_sent_a_third_time(server: FaultServer) -> None:
    server.scripts = [[server.reply()], ["close"], ["close"], [server.reply()]]
    with pytest.raises(EndpointUnreachable, match="closed the connection before it answered"):
        ask_in_turn(server, 2)
    assert len(server.seen) == 3


def test_a_server_that_dies_over_a_request_is_not_taken_for_a_stale_connection(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALE_WITHIN", 0.01)
    server.scripts = [[server.reply()], [0.1, "close"], [server.reply()]]
    with pytest.raises(EndpointUnreachable):
        ask_in_turn(server, 2)
    assert len(server.seen) == 2


def test_a_reply_that_began_is_never_asked_for_again(server: FaultServer) -> None:
    server.scripts = [[server.reply()], [b"HTTP/1.1 200", "close"], [server.reply()]]
    with pytest.raises(EndpointUnreachable, match="in the middle of an answer, after 12 bytes"):
        ask_in_turn(server, 2)
    assert len(server.seen) == 2


def test_data_after_a_reply_ends_the_connection_and_not_the_reply(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"1") + server.reply(b"2")], [server.reply(b"3")]]
    assert [reply.body for reply in ask_in_turn(server, 2)] == [b"1", b"3"]
    assert [seen.connection for seen in server.seen] == [1, 2]


def test_data_that_comes_while_idle_is_never_a_reply(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"1"), 0.02, server.reply(b"late")], [server.reply(b"2")]]
    assert [reply.body for reply in ask_in_turn(server, 2, pause=0.1)] == [b"1", b"2"]


def test_small_packets_are_not_held_back(server: FaultServer) -> None:
    async def use(wire: Wire) -> int:
        assert isinstance(wire, PlainWire)
        await wire.send("GET", "/")
        (connection,) = wire._open
        assert connection._transport is not None
        sock: socket.socket = connection._transport.get_extra_info("socket")
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert with_wire(server.url, use) != 0


# Faults -------------------------------------------------------------------------------------------


def test_a_refused_connection_is_unreachable_and_says_where_and_the_way_out(dead_port: int) -> None:
    place = f"127.0.0.1:{dead_port}"
    with pytest.raises(EndpointUnreachable) as told:
        with_wire(f"http://{place}", lambda wire: wire.send("GET", "/"))
    assert str(told.value) == (
        f"Cannot connect to {place} (connection refused): nothing answers there. "
        "Start the server, or correct url"
    )


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 80)"),
            f": {os.strerror(errno.EHOSTUNREACH)}",
        ),
        (
            OSError(
                f"Multiple exceptions: [Errno {errno.ECONNREFUSED}] Connect call failed ('::1', "
                f"80, 0, 0), [Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', 80)"
            ),
            " (connection refused): nothing answers there. Start the server, or correct url",
        ),
        (OSError(5, "of another kind"), ": [Errno 5] of another kind"),
    ],
    ids=["no route", "two addresses", "other"],
)
def test_why_nothing_can_be_connected_to_names_no_address_twice(error: OSError, why: str) -> None:
    assert no_connection("there:80", error) == f"Cannot connect to there:80{why}"


def test_a_host_without_address_is_unreachable() -> None:
    with pytest.raises(EndpointUnreachable, match=r"Cannot connect to no-such-host\.invalid:80"):
        with_wire("http://no-such-host.invalid", lambda wire: wire.send("GET", "/"))


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("cut", [0, 9, 40, -1])
def test_a_reply_cut_short_is_unreachable(server: FaultServer, ending: Step, cut: int) -> None:
    with pytest.raises(EndpointUnreachable, match=f"127.0.0.1:{server.port} (closed|broke)"):
        ask_once(server, SIZED[:cut], 0.01, ending)


def test_chunks_cut_short_are_unreachable(server: FaultServer) -> None:
    with pytest.raises(EndpointUnreachable, match="in the middle of an answer"):
        ask_once(server, CHUNKED[:-2], "close")


@pytest.mark.parametrize("begun", [b"", SIZED[:20], SIZED[:-3], CHUNKED[:-5]])
def test_a_server_that_hangs_is_given_up_after_the_timeout(
    server: FaultServer, begun: bytes
) -> None:
    with pytest.raises(EndpointTimeout, match=r"no complete answer within 0\.05 s"):
        ask_once(server, begun, "hang", timeout=0.05)


def test_dripping_does_not_stretch_the_timeout(server: FaultServer) -> None:
    script: list[Step] = []
    for byte in SIZED:
        script += [bytes([byte]), 0.02]
    with pytest.raises(EndpointTimeout):
        ask_once(server, *script, timeout=0.2)


def test_a_connection_that_ends_before_it_is_written_to_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = asyncio.BaseEventLoop.create_connection

    async def connect_late(*arguments: Any) -> Any:
        """As when the event loop is busy: it hears of the connection, and of its end at once."""
        transport, connection = await connect(*arguments)
        while not connection.lost:  # noqa: ASYNC110 - it tells nobody else
            await asyncio.sleep(0)
        return transport, connection

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", connect_late)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        async def use(wire: Wire) -> None:
            asking = asyncio.ensure_future(wire.send("GET", "/"))
            accepted, _ = await asyncio.to_thread(listening.accept)
            accepted.close()
            with pytest.raises(EndpointAbsent, match="closed the connection before it was asked"):
                await asking

        with_wire(f"http://127.0.0.1:{listening.getsockname()[1]}", use)


def test_a_connection_that_is_never_accepted_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        queue = [socket.socket() for _ in range(4)]  # fills the queue of waiting connections
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        try:
            with pytest.raises(EndpointTimeout, match=r"within 0\.1 s"):
                with_wire(f"http://127.0.0.1:{port}", lambda wire: wire.send("GET", "/"), 0.1)
        finally:
            for waiting in queue:
                waiting.close()


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\x00",
    ],
)
def test_what_is_not_http_is_a_bad_answer(server: FaultServer, noise: bytes) -> None:
    with pytest.raises(BadAnswer, match="answered with something that is not HTTP"):
        ask_once(server, noise, "hang", timeout=5)


def test_endless_headers_are_a_bad_answer(server: FaultServer) -> None:
    with pytest.raises(BadAnswer, match=r"sent headers of more than 65,536 bytes"):
        ask_once(server, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000, "hang")


def test_endless_interim_replies_are_a_bad_answer(server: FaultServer) -> None:
    with pytest.raises(BadAnswer, match="sent headers of more than"):
        ask_once(server, b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, "hang")


def test_an_endless_body_is_a_bad_answer(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_LIMIT", 100_000)
    with pytest.raises(BadAnswer, match=r"sent an answer of more than 100,000 bytes"):
        ask_once(server, server.reply(b"x" * 300_000, length=False), "hang")


# Giving up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_request_given_up_closes_its_connection_and_its_answer_reaches_nobody(
    server: FaultServer, how: str
) -> None:
    server.scripts = [[0.2, server.reply(b"late")], [server.reply(b"right")]]

    async def use(wire: Wire) -> Reply:
        task = asyncio.ensure_future(wire.send("POST", "/chat", b"{}"))
        if how == "cancel":
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.raises((asyncio.CancelledError, EndpointTimeout)):
            await task
        return await wire.send("POST", "/chat", b"{}")

    assert with_wire(server.url, use, timeout=0.1).body == b"right"
    assert [seen.connection for seen in server.seen] == [1, 2]


def test_cancelling_while_connecting_leaves_nothing_open_but_idle_connections(
    server: FaultServer,
) -> None:
    async def use(wire: Wire) -> int:
        assert isinstance(wire, PlainWire)
        for rounds in range(8):
            task = asyncio.ensure_future(wire.send("POST", "/chat", b"{}"))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)
        return len(wire._open.difference(wire._idle))

    assert with_wire(server.url, use) == 0


def test_closing_fails_what_is_in_flight_and_sends_nothing_again(server: FaultServer) -> None:
    server.scripts = [[server.reply()], ["hang"]]

    async def use(wire: Wire) -> None:
        await wire.send("POST", "/chat", b"{}")
        task = asyncio.ensure_future(wire.send("POST", "/chat", b"{}"))
        await asyncio.sleep(0.05)
        await wire.close()
        with pytest.raises(EndpointUnreachable, match="closing"):
            await task

    with_wire(server.url, use)
    assert len(server.seen) == 2


def test_a_closed_wire_leaves_no_socket_behind(server: FaultServer) -> None:
    async def use(wire: Wire) -> list[socket.socket]:
        assert isinstance(wire, PlainWire)
        await asyncio.gather(*[wire.send("GET", "/") for _ in range(3)])
        transports = [connection._transport for connection in wire._open]
        await wire.close()
        return [t.get_extra_info("socket") for t in transports if t is not None]

    assert [sock.fileno() for sock in with_wire(server.url, use)] == [-1, -1, -1]


# Which wire ---------------------------------------------------------------------------------------


def test_https_goes_through_httpx_and_http_does_not() -> None:
    assert isinstance(make_wire(Endpoint("https://127.0.0.1")), SecureWire)
    assert isinstance(make_wire(Endpoint("http://127.0.0.1")), PlainWire)


@pytest.mark.parametrize("key", ["", "sk-1\n", "sk-ü"])
def test_an_api_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError, match=r"API key for 127\.0\.0\.1:80 is empty or holds") as told:
        make_wire(Endpoint("http://127.0.0.1", api_key=key))
    assert "sk-" not in str(told.value)
