from __future__ import annotations

import os
import socket
import sys

import pytest

from pytest_llmeval.servers import ports


def test_a_port_is_free_until_somebody_listens_on_it_and_after_that_again() -> None:
    port = ports.free_port("127.0.0.1")
    assert ports.is_free("127.0.0.1", port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not ports.is_free("127.0.0.1", port)
        if sys.platform != "darwin":  # where only root may ask
            assert ports.listener(port) == os.getpid()
            assert f"(pid {os.getpid()})" in str(ports.describe_listener(port))
    assert ports.is_free("127.0.0.1", port)
    assert ports.listener(port) is None
    assert ports.describe_listener(port) is None


@pytest.mark.skipif(sys.platform == "win32", reason="there SO_REUSEADDR means something else")
def test_a_port_whose_connections_only_linger_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = server.accept()
            connection.close()  # the side that closes first lingers
            assert client.recv(1) == b""
    assert ports.is_free("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
    ],
)
def test_a_server_at_every_address_is_asked_at_the_machines_own(host: str, asked: str) -> None:
    assert ports.reachable(host) == asked


def test_an_address_of_another_machine_is_no_port_in_use() -> None:
    with pytest.raises(OSError, match=r"assign|valid in its context"):
        ports.is_free("192.0.2.1", 1234)


def test_a_port_of_an_address_of_version_6() -> None:
    with socket.socket(socket.AF_INET6) as server:
        try:
            server.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
        server.listen()
        port = server.getsockname()[1]
        assert not ports.is_free("::1", port)
    assert ports.is_free("::1", port)
