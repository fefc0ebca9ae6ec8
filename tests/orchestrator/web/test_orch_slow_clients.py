"""Clients that take a place and ask nothing, and those that ask without an end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.orchestrator.web.conftest import Served, serving
from tests.standins.instances import StandIn


@pytest.fixture
def hurried(tmp_path: Path) -> Iterator[Served]:
    """An interface that waits for a request for no longer than half a second."""
    with serving(StandIn(tmp_path), lambda: True, head_seconds=0.5) as one:
        yield one


def connected(served: Served) -> socket.socket:
    port = int(served.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def is_ended(client: socket.socket) -> bool:
    """Wait until the other side has closed it, whatever it has said before."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


WHOLE = b"GET /instances HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LONG_BODY = (
    b"POST /instances/x/start HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999\r\n\r\nbegun"
)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", WHOLE, WHOLE + WHOLE[:-3], LONG_BODY])
def test_who_asks_nothing_is_let_go(hurried: Served, sent: bytes) -> None:
    """Whether they never began, stopped in the middle of a head, or after a request."""
    with connected(hurried) as client:
        client.sendall(sent)
        assert is_ended(client)
    assert hurried.call("GET", "/instances").status_code == 200


def test_who_watches_is_not(hurried: Served) -> None:
    with hurried.client.stream("GET", f"{hurried.url}/events") as events:
        lines = events.iter_lines()
        while not next(lines).startswith("event: overview"):
            pass
        with connected(hurried) as silent:
            assert is_ended(silent)  # so long this takes
        hurried.instances.add("qwen")
        while not next(lines).startswith("event: instance"):
            pass


def test_who_keeps_asking_on_one_connection_is_not(hurried: Served) -> None:
    asking = HTTPConnection(hurried.url.removeprefix("http://"), timeout=60)
    asking.connect()
    asking.auto_open = 0
    with connected(hurried) as silent:
        ended = threading.Thread(target=is_ended, args=(silent,))
        ended.start()
        while ended.is_alive():
            asking.request("GET", "/instances")
            assert asking.getresponse().read()
    asking.close()


def test_a_head_without_an_end_is_refused(served: Served) -> None:
    with connected(served) as client:
        try:
            for _ in range(1000):
                client.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 100_000)
            pytest.fail("a head of 100 MB was taken")
        except ConnectionError:
            pass
