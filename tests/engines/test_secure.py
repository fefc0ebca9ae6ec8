"""The wire for https. Most of it is shown over plain http, where a server can break at will."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.engines import secure
from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.secure import SecureWire
from pytest_llmeval.engines.wire import make_wire
from pytest_llmeval.errors import BadAnswer, EndpointTimeout, EndpointUnreachable

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer, Step


def send(url: str, timeout: float = 30.0, api_key: str | None = None, times: int = 1) -> Reply:
    """Send requests in turn through httpx; gives the last reply."""

    async def main() -> Reply:
        wire = SecureWire(
            parse_address(url),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout,
        )
        try:
            for _ in range(times):
                reply = await wire.send("POST", "/v1/chat", b"{}")
            return reply
        finally:
            await wire.close()

    return asyncio.run(main())


def test_a_request_arrives_as_over_http(server: FaultServer) -> None:
    reply = send(f"{server.url}/base", api_key="sk-1", times=2)
    seen = server.seen[1]
    assert (seen.method, seen.path, seen.body) == ("POST", "/base/v1/chat", b"{}")
    assert seen.headers["authorization"] == "Bearer sk-1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.connection == 1
    assert reply.status == 200
    assert "content-length" in reply.headers


def test_any_status_is_a_reply_and_redirections_are_not_followed(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"", "302 Found", ["Location: /elsewhere"])]]
    assert send(server.url).status == 302
    assert len(server.seen) == 1


def test_loopback_is_reached_without_the_proxies_of_the_environment(
    server: FaultServer, dead_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{dead_port}")
    assert send(server.url).status == 200


def test_silence_is_a_timeout(server: FaultServer) -> None:
    server.scripts = [["hang"]]
    with pytest.raises(EndpointTimeout, match=r"no complete answer within 0\.05 s"):
        send(server.url, timeout=0.05)


def test_dripping_does_not_stretch_the_timeout(server: FaultServer) -> None:
    script: list[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]
    for _ in range(99):
        script += [b"x", 0.02]
    server.scripts = [script]
    with pytest.raises(EndpointTimeout):
        send(server.url, timeout=0.2)


def test_a_refused_connection_is_unreachable_in_words(dead_port: int) -> None:
    words = rf"^Cannot connect to 127\.0\.0\.1:{dead_port} \(connection refused\): .* correct url$"
    with pytest.raises(EndpointUnreachable, match=words):
        send(f"https://127.0.0.1:{dead_port}")


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_reply_cut_short_is_unreachable(server: FaultServer, ending: Step) -> None:
    server.scripts = [[server.reply()[:-5], 0.01, ending]]
    with pytest.raises(EndpointUnreachable, match=f"The connection to 127.0.0.1:{server.port}"):
        send(server.url)


def test_a_compressed_answer_is_never_unpacked(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"no gzip", headers=["Content-Encoding: gzip"])]]
    with pytest.raises(
        BadAnswer, match=r"sent an answer that is compressed \(gzip\), which nobody asked for"
    ):
        send(server.url)


def test_an_endless_body_is_a_bad_answer(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secure, "BODY_LIMIT", 100_000)
    server.scripts = [[server.reply(b"x" * 300_000, length=False), "hang"]]
    with pytest.raises(BadAnswer, match=r"an answer of more than 100,000 bytes"):
        send(server.url)


def test_https_to_a_server_that_speaks_http_is_unreachable(server: FaultServer) -> None:
    async def main() -> None:
        wire = make_wire(Endpoint(f"https://127.0.0.1:{server.port}", timeout=5))
        try:
            await wire.send("GET", "/")
        finally:
            await wire.close()

    server.greeting = [b"HTTP/1.1 400 Bad Request\r\n\r\n", "close"]
    with pytest.raises(EndpointUnreachable, match=r"failed: .*SSL"):
        asyncio.run(main())
