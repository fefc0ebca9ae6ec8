"""Whatever an endpoint sends through httpx, there is an end to it, and nothing is unpacked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.engines import fetch as fetching
from pytest_llmeval.engines import ollama_pull, web
from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.engines.ollama_pull import pull
from pytest_llmeval.engines.reading import call_of
from pytest_llmeval.engines.secure import SecureWire
from pytest_llmeval.engines.web import WebClient
from pytest_llmeval.errors import BadAnswer, RequestRefused

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer

Ask = Callable[[str], object]


def over_wire(url: str) -> object:
    async def main() -> object:
        wire = SecureWire(parse_address(url), headers={}, timeout=30)
        try:
            return (await wire.send("GET", "/")).body
        finally:
            await wire.close()

    return asyncio.run(main())


def over_web(url: str) -> object:
    async def main() -> object:
        client = WebClient(url, api_key=None, timeout=30)
        try:
            return (await client.get("/")).body
        finally:
            await client.close()

    return asyncio.run(main())


def downloaded(url: str) -> object:
    async def main() -> object:
        client = WebClient(url, api_key=None, timeout=30)
        try:
            return [line async for line in client.lines(f"{url}/file")]
        finally:
            await client.close()

    return asyncio.run(main())


def pulled(url: str) -> object:
    asyncio.run(pull(Endpoint(url, "m"), lambda _: None, pause=0))
    return None


def fetched(url: str) -> object:
    answer = fetch(url, 30)
    if answer.status is None:
        raise BadAnswer(answer.error)
    return answer.body


DOORS = [over_wire, over_web, downloaded, pulled, fetched]


@pytest.mark.parametrize("ask", DOORS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_bomb_is_not_unpacked_through_any_door(server: FaultServer, ask: Ask, times: int) -> None:
    content = b"\0" * 10_000_000
    for _ in range(times):
        content = gzip.compress(content)
    encodings = ", ".join(["gzip"] * times)
    server.scripts = [[server.reply(content, headers=[f"Content-Encoding: {encodings}"])]]
    with pytest.raises(BadAnswer) as caught:
        ask(server.url)
    assert f"is compressed ({encodings}), which nobody asked for" in str(caught.value)
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("ask", DOORS[:3])
def test_what_is_not_compressed_comes_as_it_is(server: FaultServer, ask: Ask) -> None:
    server.scripts = [[server.reply(b"one\r\n\ntwo", headers=["Content-Encoding: identity"])]]
    whole = b"one\r\n\ntwo"
    assert ask(server.url) == (whole.split(b"\n") if ask is downloaded else whole)


def test_a_compressed_refusal_is_still_the_refusal(server: FaultServer) -> None:
    body = gzip.compress(b"later")
    head = "429 Too Many Requests"
    server.scripts = [[server.reply(body, head, ["Content-Encoding: gzip"])]]
    assert over_web(server.url) == b""
    with pytest.raises(RequestRefused, match="429"):
        pulled(server.url)


def test_no_answer_about_a_state_is_endless(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_LIMIT", 100_000)
    server.scripts = [[server.reply(b"x" * 300_000, length=False), "hang"]]
    assert fetch(server.url, 30).error == "an answer of more than 100,000 bytes"


def test_no_download_and_no_line_of_it_is_endless(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "BODY_LIMIT", 100_000)
    monkeypatch.setattr(web, "DOWNLOAD_LIMIT", 200_000)
    place = f"127.0.0.1:{server.port}"
    server.scripts = [[server.reply(b"x" * 300_000, length=False), "hang"]]
    with pytest.raises(BadAnswer, match=f"{place} sent a line of more than 100,000 bytes"):
        downloaded(server.url)
    server.scripts = [[server.reply(b"x\n" * 150_000, length=False), "hang"]]
    with pytest.raises(BadAnswer, match=f"{place} sent an answer of more than 200,000 bytes"):
        downloaded(server.url)


def test_no_line_of_a_pull_is_endless(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_pull, "LINE_LIMIT", 100_000)
    server.scripts = [[server.reply(b"{" * 300_000, length=False), "hang"]]
    with pytest.raises(BadAnswer, match="sent a line of more than 100,000 bytes"):
        pulled(server.url)


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_lines_are_the_same_wherever_they_are_cut(server: FaultServer, cut: int) -> None:
    whole = b"a\n\nbb\r\nccc\xe2\x80\xa8d\n"
    steps: list[bytes | float] = [b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"]
    for start in range(0, len(whole), cut):
        steps += [whole[start : start + cut], 0.001]
    server.scripts = [list(steps)]
    assert downloaded(server.url) == [b"a", b"", b"bb\r", b"ccc\xe2\x80\xa8d"]


@pytest.mark.parametrize("arguments", ['{"a": ' + "[" * 150 + "]" * 150 + "}"])
def test_arguments_of_a_call_that_no_scorer_could_walk_through_are_none(arguments: str) -> None:
    call = call_of("f", arguments)
    assert (call.arguments, call.raw) == (None, arguments)
    assert call_of("f", '{"a": [[1]]}').arguments == {"a": [[1]]}
