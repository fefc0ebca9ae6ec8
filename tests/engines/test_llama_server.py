"""llama.cpp's own server, with a small model of random weights."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import pytest

from pytest_llmeval.engines.engine import Endpoint, Engine, make_engine
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.errors import RequestRefused
from pytest_llmeval.records import Answer, Message, Request, Sampling

if TYPE_CHECKING:
    from tests.engines.conftest import RealServer

T = TypeVar("T")


def with_engine(
    server: RealServer,
    use: Callable[[Engine], Awaitable[T]],
    api_key: str = "sk-right",
    kind: str = "llama-server",
) -> T:
    """Run a test's use of an engine in a loop of its own."""

    async def main() -> T:
        engine = make_engine(kind, Endpoint(server.url, api_key=api_key))
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def ask(text: str, max_tokens: int = 4, *, cache_prompt: bool = True) -> Request:
    """Make a greedy request of one message."""
    sampling = Sampling(max_tokens, temperature=0.0, seed=7)
    return Request((Message("user", text),), sampling, cache_prompt=cache_prompt)


@pytest.mark.parametrize("kind", ["llama-server", "openai"])
def test_it_tells_what_it_was_started_with(llama_server: RealServer, kind: str) -> None:
    facts = with_engine(llama_server, lambda engine: engine.describe(), kind=kind)
    assert facts.slots == llama_server.slots
    assert facts.context == llama_server.context
    assert facts.model_path == llama_server.model_path
    assert facts.model_name
    assert facts.build
    template = llama_server.template.encode()
    assert facts.template_sha256 == hashlib.sha256(template).hexdigest()


@pytest.mark.parametrize("kind", ["embedded", "openai"])
def test_it_answers_with_tokens_and_times_of_its_own(llama_server: RealServer, kind: str) -> None:
    answer = with_engine(llama_server, lambda engine: engine.complete(ask("hello")), kind=kind)
    assert answer.finish_reason == "length"
    assert answer.usage.completion == 4
    assert answer.usage.prompt is not None
    assert answer.usage.prompt > 5
    assert answer.usage.source == "server"
    assert answer.first_token_ms is not None
    assert answer.service_ms is not None
    assert answer.service_ms > answer.first_token_ms > 0


def test_its_prompt_cache_is_used_or_not_as_asked(llama_server: RealServer) -> None:
    async def use(engine: Engine) -> list[int | None]:
        cached = []
        for cache_prompt in (False, True, True, False):
            request = ask("the same long question again", cache_prompt=cache_prompt)
            cached.append((await engine.complete(request)).usage.cached)
        return cached

    first, _, again, last = with_engine(llama_server, use)
    assert (first, last) == (0, 0)
    assert again is not None
    assert again > 0


def test_too_long_a_prompt_is_refused_in_its_own_words(llama_server: RealServer) -> None:
    with pytest.raises(RequestRefused, match=r"exceeds the available context size \(256 tokens\)"):
        with_engine(llama_server, lambda engine: engine.complete(ask("x" * 2000)))


def test_a_wrong_key_is_refused_and_not_shown(llama_server: RealServer) -> None:
    for use in (lambda engine: engine.describe(), lambda engine: engine.complete(ask("hello"))):
        with pytest.raises(RequestRefused, match="HTTP 401: Invalid API Key") as told:
            with_engine(llama_server, use, api_key="sk-wrong")
        assert "sk-wrong" not in str(told.value)


def test_more_requests_than_slots_all_get_their_own_answer(llama_server: RealServer) -> None:
    texts = [f"question {number}" for number in range(3)]

    async def one_by_one(engine: Engine) -> list[Answer]:
        return [await engine.complete(ask(text, cache_prompt=False)) for text in texts]

    async def at_once(engine: Engine) -> list[Answer]:
        asked = [engine.complete(ask(text, cache_prompt=False)) for text in texts]
        return list(await asyncio.gather(*asked))

    async def rounds(engine: Engine) -> list[Answer]:
        return [answer for _ in range(4) for answer in await at_once(engine)]

    expected = [answer.text for answer in with_engine(llama_server, one_by_one)]
    assert len(set(expected)) > 1
    assert [answer.text for answer in with_engine(llama_server, rounds)] == expected * 4


def test_it_outlives_the_hundred_requests_after_which_it_closes_a_connection(
    llama_server: RealServer,
) -> None:
    async def use(engine: Engine) -> int:
        answers = [await engine.complete(ask("hello", 1)) for _ in range(250)]
        return len(answers)

    assert with_engine(llama_server, use) == 250


def test_its_health_can_be_fetched_without_a_key_and_its_props_with_one(
    llama_server: RealServer,
) -> None:
    assert fetch(f"{llama_server.url}/health", 5).body == b'{"status":"ok"}'
    assert fetch(f"{llama_server.url}/props", 5).status == 401
    assert fetch(f"{llama_server.url}/props", 5, llama_server.api_key).status == 200
