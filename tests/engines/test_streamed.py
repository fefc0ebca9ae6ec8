"""Answers in pieces, over both wires, against a server that can break in every way."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from pytest_llmeval.engines import connection as connections
from pytest_llmeval.engines import secure
from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.engines.chat import chat_answer
from pytest_llmeval.engines.chunks import Chunks
from pytest_llmeval.engines.connection import Connection, Reply, Sink
from pytest_llmeval.engines.engine import Endpoint, Engine, make_engine
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.engines.refusals import error_from_reply
from pytest_llmeval.engines.secure import SecureWire
from pytest_llmeval.engines.streamed import Streaming
from pytest_llmeval.engines.wire import Wire, make_wire
from pytest_llmeval.errors import (
    BadAnswer,
    ContextOverflow,
    EndpointBusy,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
    WrongKey,
)
from pytest_llmeval.records import Answer, Message, Request, Sampling, Usage
from pytest_llmeval.servers.ports import free_port

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer, RealServer, Step

T = TypeVar("T")

ASKED = Request((Message("user", "1 + 1 ="),), Sampling(8, temperature=0.0))


def frame(chunk: object) -> bytes:
    """One event."""
    return b"data: %b\n\n" % json.dumps(chunk, ensure_ascii=False).encode()


def piece(content: str, finish: str | None = None) -> bytes:
    """An event with a piece of text."""
    return frame(
        {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}
    )


USAGE = frame({"choices": [], "usage": {"prompt_tokens": 21, "completion_tokens": 5}})
STREAM = b"".join(
    [b": ping\n\n", piece(""), piece("Zür"), piece("ich 🎈"), piece("", "stop"), USAGE]
)
WHOLE = STREAM + b"data: [DONE]\n\n"
ANSWER = Answer("Zürich 🎈", "stop", usage=Usage(21, 5, source="server"))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunked(data: bytes) -> bytes:
    """A chunk of the transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def refusal(reply: Reply) -> EngineError:
    return error_from_reply(reply.status, reply.headers, reply.body, now=lambda: 0.0)


def secure_wire(endpoint: Endpoint) -> Wire:
    """The wire for https, over plain http where a server can break at will."""
    return SecureWire(parse_address(endpoint.url), headers={}, timeout=endpoint.timeout)


@pytest.fixture(params=["plain", "secure"])
def make(request: pytest.FixtureRequest) -> Callable[[Endpoint], Wire]:
    """Each of the two wires."""
    return make_wire if request.param == "plain" else secure_wire


def ask(wire: Wire, clock: Callable[[], float] = time.perf_counter) -> Awaitable[Answer]:
    """Ask for a stream once."""
    streaming = Streaming(wire, refusal, clock=clock)
    return streaming.ask("/chat", b"{}", Chunks(chat_answer))


def play(
    server: FaultServer,
    make: Callable[[Endpoint], Wire],
    *script: Step,
    timeout: float = 30.0,
    times: int = 1,
) -> Answer:
    """Ask a server that plays one script; the last answer."""
    server.scripts = [list(script)]

    async def main() -> Answer:
        wire = make(Endpoint(server.url, timeout=timeout))
        try:
            for _ in range(times):
                answer = await ask(wire)
            return answer
        finally:
            await wire.close()

    return asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    """Look again until something is true that another thread or process makes so."""
    while not condition():  # noqa: ASYNC110 - nobody there could set an event of ours
        await asyncio.sleep(0.01)


# Streams in every shape ---------------------------------------------------------------------------


def test_a_stream_is_an_answer(server: FaultServer, make: Callable[[Endpoint], Wire]) -> None:
    answer = play(server, make, HEAD, *map(chunked, (WHOLE[:99], WHOLE[99:])), END)
    assert answer.first_token_ms is not None
    assert answer == Answer(ANSWER.text, "stop", (), None, ANSWER.usage, answer.first_token_ms)


class _NoTransport(asyncio.Transport):
    """Stands where the socket would be, for bytes that the test feeds in by hand."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send nothing."""

    def abort(self) -> None:
        """Close nothing."""


class _Fed:
    """A wire whose server sends given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def send(
        self, method: str, path: str, body: bytes = b"", sink: Sink | None = None
    ) -> Reply:
        """Feed a connection."""
        connection = Connection("here", lambda _: None)
        connection.connection_made(_NoTransport())
        waiter = connection.send(b"", 0.0, sink)
        for each in self._pieces:
            connection.data_received(each)
        assert waiter.done()
        return await waiter

    async def close(self) -> None:
        """Close nothing."""


def test_it_is_the_same_answer_wherever_the_bytes_are_cut() -> None:
    half = len(STREAM) // 2
    reply = HEAD + chunked(WHOLE[:half]) + chunked(WHOLE[half:]) + END

    async def main() -> None:
        cuts = [[reply[:cut], reply[cut:]] for cut in range(1, len(reply))]
        for pieces in [*cuts, [bytes([byte]) for byte in reply]]:
            assert await ask(_Fed(pieces), clock=lambda: 0.0) == Answer(
                ANSWER.text, "stop", usage=ANSWER.usage, first_token_ms=0.0
            )

    asyncio.run(main())


def test_the_first_token_is_timed_from_sending_to_the_first_piece_with_content() -> None:
    times = itertools.count(10.0)
    pieces = [HEAD, *(chunked(each + b"\n\n") for each in WHOLE.split(b"\n\n") if each), END]
    answer = asyncio.run(_timed(pieces, times))
    assert answer.first_token_ms == 1000.0  # the clock was looked at twice


async def _timed(pieces: list[bytes], times: Iterator[float]) -> Answer:
    return await ask(_Fed(pieces), clock=lambda: next(times))


def test_an_answer_without_content_has_no_first_token(server: FaultServer) -> None:
    answer = play(server, make_wire, HEAD, chunked(piece("", "stop") + b"data: [DONE]\n\n"), END)
    assert (answer.text, answer.first_token_ms) == ("", None)


def test_streams_in_turn_share_a_connection(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    play(server, make, HEAD, chunked(WHOLE), 0.01, END, times=3)
    assert [seen.connection for seen in server.seen] == [1, 1, 1]


@pytest.mark.parametrize("ending", ["hang", "close", "reset"])
def test_what_comes_after_the_last_event_does_not_matter(
    server: FaultServer,
    make: Callable[[Endpoint], Wire],
    ending: Step,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "TRAILER_WITHIN", 0.05)
    monkeypatch.setattr(secure, "TRAILER_WITHIN", 0.05)
    assert play(server, make, HEAD, chunked(WHOLE), ending, times=2).text == "Zürich 🎈"
    assert [seen.connection for seen in server.seen] == [1, 2]


def test_a_stream_without_a_length_ends_with_the_connection(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n"
    assert play(server, make, head, WHOLE, "close").text == "Zürich 🎈"


# Failures -----------------------------------------------------------------------------------------


def test_a_refusal_is_read_whole(server: FaultServer, make: Callable[[Endpoint], Wire]) -> None:
    with pytest.raises(EndpointBusy, match="HTTP 503: Loading model"):
        play(server, make, server.reply({"error": "Loading model"}, "503 Service Unavailable"))


def test_a_refusal_is_no_stream_whatever_its_type_says(server: FaultServer) -> None:
    reply = server.reply({"error": "no"}, "429 Slow", ["Content-Type: text/event-stream"])
    with pytest.raises(EndpointBusy, match="HTTP 429: no"):
        play(server, make_wire, reply)


@pytest.mark.parametrize(
    ("headers", "kind"), [(["Content-Type: application/json"], "application/json"), ([], "untyped")]
)
def test_a_reply_that_is_no_stream_is_a_bad_answer(
    server: FaultServer, make: Callable[[Endpoint], Wire], headers: list[str], kind: str
) -> None:
    with pytest.raises(BadAnswer, match=rf"what came is {kind}\. It begins: {{"):
        play(server, make, server.reply(headers=headers))


def test_a_stall_between_pieces_counts(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    with pytest.raises(EndpointTimeout, match=r"no complete answer within 0\.1 s"):
        play(server, make, HEAD, chunked(piece("4")), "hang", timeout=0.1)


def test_a_stall_says_how_much_has_come(server: FaultServer) -> None:
    with pytest.raises(EndpointTimeout, match=r"within 0\.1 s \(\d\d\d bytes of it came\)"):
        play(server, make_wire, HEAD, chunked(piece("4")), "hang", timeout=0.1)


def test_pings_do_not_stretch_the_timeout(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    pings: list[Step] = [step for _ in range(99) for step in (chunked(b": ping\n\n"), 0.02)]
    with pytest.raises(EndpointTimeout):
        play(server, make, HEAD, *pings, timeout=0.2)


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_stream_that_breaks_off_is_unreachable(
    server: FaultServer, make: Callable[[Endpoint], Wire], ending: Step
) -> None:
    with pytest.raises(EndpointUnreachable):
        play(server, make, HEAD, chunked(STREAM[:200]), 0.01, ending)


def test_a_stream_that_ends_in_order_but_too_early_is_unreachable(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    with pytest.raises(EndpointUnreachable, match="The stream ended in the middle of an answer"):
        play(server, make, HEAD, chunked(piece("4")), END)


def test_a_stream_without_done_is_a_bad_answer(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    with pytest.raises(BadAnswer, match=r"its stream ended without data: \[DONE\]\. It begins: {"):
        play(server, make, HEAD, chunked(STREAM), END)


def test_an_event_that_is_no_chunk_ends_the_request_at_once(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    """The server hangs afterwards: nobody waits for what can be no answer any more."""
    with pytest.raises(BadAnswer, match=r"it is not JSON\. It begins: {not json"):
        play(server, make, HEAD, chunked(piece("4") + b"data: {not json\n\n"), "hang")


def test_an_error_in_the_stream_ends_the_request_at_once(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    error = frame({"error": {"code": 503, "message": "out of slots"}})
    with pytest.raises(EndpointBusy, match="an error in the stream: out of slots"):
        play(server, make, HEAD, chunked(error), "hang")


def test_an_endless_stream_is_a_bad_answer(
    server: FaultServer, make: Callable[[Endpoint], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_LIMIT", 100_000)
    monkeypatch.setattr(secure, "BODY_LIMIT", 100_000)
    with pytest.raises(BadAnswer, match=r"an answer of more than 100,000 bytes"):
        play(server, make, HEAD, *[chunked(piece("x" * 1000))] * 300, "hang")


def test_a_stale_connection_is_replaced_before_anything_was_read(server: FaultServer) -> None:
    server.scripts = [[HEAD, chunked(WHOLE), END, 0.1, "close"]]

    async def main() -> list[str]:
        wire = make_wire(Endpoint(server.url))
        texts = [(await ask(wire)).text]
        await asyncio.sleep(0.05)
        texts.append((await ask(wire)).text)  # its connection closes under it
        await wire.close()
        return texts

    assert asyncio.run(main()) == ["Zürich 🎈"] * 2
    assert [seen.connection for seen in server.seen] == [1, 2]


def test_giving_up_closes_the_connection(
    server: FaultServer, make: Callable[[Endpoint], Wire]
) -> None:
    server.scripts = [[HEAD, chunked(piece("4")), "hang"]]

    async def main() -> None:
        wire = make(Endpoint(server.url))
        asking = asyncio.ensure_future(ask(wire))
        await until(lambda: server.seen)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.gone)
        await wire.close()

    asyncio.run(main())


# A real server ------------------------------------------------------------------------------------


def with_engines(
    server: RealServer, use: Callable[[Engine, Engine], Awaitable[T]], kind: str, key: str
) -> T:
    """Run a test's use of two engines: without streaming and with it."""

    async def main() -> T:
        engines = [
            make_engine(kind, Endpoint(server.url, "x", key, settings={"stream": stream}))
            for stream in (False, True)
        ]
        try:
            return await use(*engines)
        finally:
            for engine in engines:
                await engine.close()

    return asyncio.run(main())


def without_times(answer: Answer) -> dict[str, Any]:
    """What must be equal."""
    fields = ("text", "finish_reason", "tool_calls", "reasoning", "usage", "logprobs")
    return {name: getattr(answer, name) for name in fields}


@pytest.mark.parametrize("kind", ["embedded", "openai", "anthropic"])
def test_a_streamed_answer_is_the_unstreamed_one(llama_server: RealServer, kind: str) -> None:
    async def use(plain: Engine, streaming: Engine) -> list[tuple[Answer, Answer]]:
        pairs = []
        for text in ("hello", "Zürich 🎈", "the same question again"):
            request = Request((Message("user", text),), Sampling(40, temperature=0.0))
            await plain.complete(request)  # from here on the prompt is in the cache
            pairs.append((await plain.complete(request), await streaming.complete(request)))
        return pairs

    for plain, streamed in with_engines(llama_server, use, kind, "sk-right"):
        assert plain.text
        counted = streamed.usage.prompt is not None
        # llama.cpp sends no message_start where the first token is not a whole character.
        assert counted or (kind == "anthropic" and plain.text.startswith("\ufffd"))
        usage = plain.usage if counted else replace(plain.usage, prompt=None, cached=None)
        assert without_times(streamed) == without_times(replace(plain, usage=usage))
        assert streamed.first_token_ms is not None
        assert (streamed.service_ms is None) == (kind == "anthropic")


@pytest.mark.parametrize("kind", ["embedded", "openai"])
@pytest.mark.parametrize("form", ["chat", "completion"])
def test_log_probabilities_and_raw_completions_are_streamed_too(
    llama_server: RealServer, kind: str, form: Literal["chat", "completion"]
) -> None:
    async def use(plain: Engine, streaming: Engine) -> tuple[Answer, Answer]:
        sampling = Sampling(12, temperature=0.0)
        request = Request((Message("user", "hello"),), sampling, form=form, top_logprobs=2)
        await plain.complete(request)
        return await plain.complete(request), await streaming.complete(request)

    plain, streamed = with_engines(llama_server, use, kind, "sk-right")
    assert len(plain.logprobs) > 1
    assert without_times(streamed) == without_times(plain)
    assert streamed.first_token_ms is not None
    assert streamed.service_ms is not None


@pytest.mark.parametrize("kind", ["embedded", "anthropic"])
def test_refusals_are_the_same(llama_server: RealServer, kind: str) -> None:
    async def use(plain: Engine, streaming: Engine) -> list[str]:
        words = []
        for engine in (plain, streaming):
            with pytest.raises(ContextOverflow, match=r"the available context size \(256 tokens\)"):
                await engine.complete(Request((Message("user", "x" * 2000),), Sampling(4)))
            with pytest.raises(ContextOverflow) as told:
                await engine.complete(Request((Message("user", "x" * 2000),), Sampling(4)))
            words.append(str(told.value))
        return words

    assert len(set(with_engines(llama_server, use, kind, "sk-right"))) == 1


@pytest.mark.parametrize("kind", ["embedded", "anthropic"])
def test_a_wrong_key_is_refused_and_not_shown(llama_server: RealServer, kind: str) -> None:
    async def use(plain: Engine, streaming: Engine) -> None:
        for engine in (plain, streaming):
            with pytest.raises(WrongKey, match="HTTP 401: Invalid API Key") as told:
                await engine.complete(ASKED)
            assert "sk-wrong" not in str(told.value)

    with_engines(llama_server, use, kind, "sk-wrong")


@pytest.fixture
def long_winded(random_model: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server whose answers have 4,000 tokens, and the file that it logs to."""
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    port, log = free_port("127.0.0.1"), tmp_path / "server.log"
    flags = ["-m", str(random_model), "--port", str(port), "-np", "1", "-c", "4096", "-t", "1"]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "pytest_llmeval.servers.embedded", *flags],
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    while fetch(f"{url}/health", 5).status != 200:
        assert child.poll() is None
    yield url, log
    child.terminate()
    child.wait()


@pytest.mark.parametrize("kind", ["embedded", "anthropic"])
def test_giving_up_frees_the_slot(long_winded: tuple[str, Path], kind: str) -> None:
    url, log = long_winded

    def said(words: str) -> bool:
        return words in log.read_text(encoding="utf-8", errors="replace")

    async def main() -> None:
        engine = make_engine(kind, Endpoint(url, "x", settings={"stream": True}))
        request = Request((Message("user", "hello"),), Sampling(100_000, temperature=0.0))
        asking = asyncio.ensure_future(engine.complete(request))
        await until(lambda: said("processing task"))
        asking.cancel()
        await until(lambda: said("stop processing"))
        await engine.close()

    asyncio.run(main())
    assert said("cancel task")
