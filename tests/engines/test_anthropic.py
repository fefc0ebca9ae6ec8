"""The Messages engine, against a strict stand-in and against llama.cpp's own server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import pytest

from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Engine, make_engine
from pytest_llmeval.errors import (
    BadAnswer,
    ContextOverflow,
    EndpointBusy,
    UnknownModel,
    Unsupported,
    WrongKey,
)
from pytest_llmeval.records import Answer, Message, Request, Sampling, ToolCall
from tests.standins.anthropic import KEY, MODEL, AnthropicStandIn, serve

if TYPE_CHECKING:
    from tests.engines.conftest import RealServer

T = TypeVar("T")

WEATHER = {"type": "function", "function": {"name": "weather", "description": "How it is."}}


@pytest.fixture
def stand_in() -> Iterator[AnthropicStandIn]:
    yield from serve()


def with_engine(
    url: str,
    use: Callable[[Engine], Awaitable[T]],
    *,
    key: str | None = KEY,
    model: str = MODEL,
    stream: bool = False,
) -> T:
    """Run a test's use of an engine in a loop of its own."""

    async def main() -> T:
        endpoint = Endpoint(url, model, key, settings={"stream": stream})
        engine = make_engine("anthropic", endpoint)
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def ask(
    stand_in: AnthropicStandIn, text: str, *, stream: bool = False, sampling: Sampling | None = None
) -> Answer:
    """Ask one question with everything that a request may have."""
    full = sampling or Sampling(64, temperature=0.5, top_p=0.9, top_k=40, stop=("\n\n",))
    turns = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", text))
    request = Request((Message("system", "Be brief."), *turns), full, tools=(WEATHER,))
    return with_engine(stand_in.url, lambda engine: engine.complete(request), stream=stream)


def test_a_request_is_what_the_api_takes(stand_in: AnthropicStandIn) -> None:
    answer = ask(stand_in, "Zürich 🎈")
    assert (answer.text, answer.finish_reason) == ("Zürich 🎈", "stop")
    assert answer.usage.prompt is not None
    assert answer.usage.cached == 5
    (seen,) = stand_in.seen
    assert seen["system"] == "Be brief."
    assert seen["tools"][0]["input_schema"] == {"type": "object", "properties": {}}
    assert "stream" not in seen
    assert stand_in.complaints == []


@pytest.mark.parametrize("url", ["", "/", "/v1", "/v1/"])
def test_the_url_may_end_in_its_version_or_not(stand_in: AnthropicStandIn, url: str) -> None:
    request = Request((Message("user", "2"),), Sampling(8))
    answer = with_engine(stand_in.url + url, lambda engine: engine.complete(request))
    assert answer.text == "2"


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("Zürich 🎈", "stop"),
        ("think: 42", "stop"),
        ("cut: forty-", "length"),
        ("stop: 42", "stop"),
        ("call weather", "tool_calls"),
        ("refuse", "content_filter"),
    ],
)
def test_a_streamed_answer_is_the_unstreamed_one(
    stand_in: AnthropicStandIn, text: str, finish: str
) -> None:
    whole, streamed = ask(stand_in, text), ask(stand_in, text, stream=True)
    assert whole.finish_reason == finish
    assert streamed.first_token_ms is not None
    for name in ("text", "finish_reason", "tool_calls", "reasoning", "usage"):
        assert getattr(streamed, name) == getattr(whole, name)
    assert [seen.get("stream") for seen in stand_in.seen] == [None, True]
    assert stand_in.complaints == []


def test_thoughts_and_calls_are_read(stand_in: AnthropicStandIn) -> None:
    thought = ask(stand_in, "think: 42", stream=True)
    assert (thought.text, thought.reasoning) == ("42", "They want 42.")
    called = ask(stand_in, "call weather", stream=True)
    assert called.text == "Let me look."
    (call,) = called.tool_calls
    assert (call.name, call.arguments) == ("weather", {"city": "Zürich", "days": [1, 2]})
    assert isinstance(call, ToolCall)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_faults_are_told_apart(stand_in: AnthropicStandIn, *, stream: bool) -> None:
    with pytest.raises(EndpointBusy, match="HTTP 529: Overloaded") as told:
        ask(stand_in, "overloaded", stream=stream)
    assert told.value.status == 529
    with pytest.raises(EndpointBusy, match="HTTP 429") as told:
        ask(stand_in, "slow down", stream=stream)
    assert told.value.retry_after == 3
    with pytest.raises(ContextOverflow, match=r"210000 tokens > 200000 maximum \(give the model a"):
        ask(stand_in, "too long", stream=stream)
    with pytest.raises(BadAnswer, match=r"the server paused in mid-answer \(stop_reason pause_tur"):
        ask(stand_in, "pause", stream=stream)
    assert stand_in.complaints == []


def test_an_error_in_the_stream_is_what_it_stands_for(stand_in: AnthropicStandIn) -> None:
    with pytest.raises(EndpointBusy, match="an error in the stream: Overloaded"):
        ask(stand_in, "break off", stream=True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_unknown_model_and_a_wrong_key_say_what_to_do(
    stand_in: AnthropicStandIn, *, stream: bool
) -> None:
    async def use(engine: Engine) -> Answer:
        return await engine.complete(Request((Message("user", "2"),), Sampling(8)))

    with pytest.raises(UnknownModel, match=r"model: claude \(check the model's `name` in the conf"):
        with_engine(stand_in.url, use, model="claude", stream=stream)
    with pytest.raises(WrongKey, match=r"invalid x-api-key \(check the API key") as told:
        with_engine(stand_in.url, use, key="sk-ant-wrong", stream=stream)
    assert "sk-ant-wrong" not in str(told.value)
    with pytest.raises(WrongKey):
        with_engine(stand_in.url, use, key=None, stream=stream)


def test_what_the_api_cannot_say_is_not_sent(stand_in: AnthropicStandIn) -> None:
    with pytest.raises(Unsupported, match="seed"):
        ask(stand_in, "2", sampling=Sampling(8, seed=0))
    assert stand_in.seen == []


def test_it_tells_nothing_but_its_model(stand_in: AnthropicStandIn) -> None:
    facts = with_engine(stand_in.url, lambda engine: engine.describe())
    assert facts == EndpointFacts(model_name=MODEL, served=(MODEL,))
    assert stand_in.complaints == []


def test_a_wrong_key_shows_before_anything_is_asked(stand_in: AnthropicStandIn) -> None:
    with pytest.raises(WrongKey):
        with_engine(stand_in.url, lambda engine: engine.describe(), key="sk-ant-wrong")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_llama_cpp_speaks_it_too(llama_server: RealServer, *, stream: bool) -> None:
    async def use(engine: Engine) -> tuple[EndpointFacts, Answer]:
        sampling = Sampling(4, temperature=0.0, top_p=0.9, top_k=1, stop=("never",))
        turns = (Message("system", "Be brief."), Message("user", "hello"))
        return await engine.describe(), await engine.complete(Request(turns, sampling))

    facts, answer = with_engine(llama_server.url, use, key=llama_server.api_key, stream=stream)
    assert (facts.slots, facts.context) == (llama_server.slots, llama_server.context)
    assert (answer.finish_reason, answer.usage.completion) == ("length", 4)
