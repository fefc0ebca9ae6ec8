"""llama.cpp's own server, with a small model of random weights."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_llmeval.engines.engine import Endpoint, Engine, make_engine, refuse_request
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.errors import RequestRefused, Unsupported
from pytest_llmeval.records import Answer, Message, Request, Sampling

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer, RealServer

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


# More than a chat ---------------------------------------------------------------------------------

TEXT = dataclasses.replace(ask("17 + 25 ="), form="completion")


def complete(server: RealServer, request: Request) -> Answer:
    """Make one attempt."""
    return with_engine(server, lambda engine: engine.complete(request))


def test_a_raw_completion_continues_the_text_without_a_chat_template(
    llama_server: RealServer,
) -> None:
    raw, chat = complete(llama_server, TEXT), complete(llama_server, ask("17 + 25 ="))
    tokens = with_engine(llama_server, lambda engine: engine.tokenize("17 + 25 ="))
    assert raw.usage.prompt == len(tokens) == 9  # a byte is a token
    assert chat.usage.prompt is not None
    assert chat.usage.prompt > raw.usage.prompt
    assert raw.finish_reason == "length"
    assert raw.usage.completion == 4
    assert raw.usage.source == "server"
    assert raw.first_token_ms is not None
    assert raw.service_ms is not None
    assert raw.service_ms > raw.first_token_ms > 0


def test_the_texts_of_several_messages_are_one_text(llama_server: RealServer) -> None:
    parts = tuple(Message("user", text) for text in ("17 +", " 25", " ="))
    in_parts = dataclasses.replace(TEXT, messages=parts, cache_prompt=False)
    whole = dataclasses.replace(TEXT, cache_prompt=False)
    assert complete(llama_server, in_parts).text == complete(llama_server, whole).text


def test_a_stop_string_ends_a_raw_completion_and_is_not_part_of_it(
    tiny_server: RealServer,
) -> None:
    text = complete(tiny_server, TEXT).text
    sampling = dataclasses.replace(TEXT.sampling, stop=(text[1:2],))
    stopped = complete(tiny_server, dataclasses.replace(TEXT, sampling=sampling))
    assert (stopped.text, stopped.finish_reason) == (text[:1], "stop")


def test_a_context_that_is_full_ends_an_answer_as_its_limit_does(llama_server: RealServer) -> None:
    sampling = dataclasses.replace(TEXT.sampling, max_tokens=1000)
    endless = dataclasses.replace(TEXT, sampling=sampling, grammar='root ::= "a" root')
    answer = complete(llama_server, endless)
    assert answer.finish_reason == "length"
    assert answer.usage.completion is not None
    assert 200 < answer.usage.completion < 256


@pytest.mark.parametrize("form", ["chat", "completion"])
def test_too_long_a_text_is_refused_and_not_cut(llama_server: RealServer, form: Any) -> None:
    request = dataclasses.replace(ask("x" * 2000), form=form)
    with pytest.raises(RequestRefused, match=r"exceeds the available context size \(256 tokens\)"):
        complete(llama_server, request)


@pytest.mark.parametrize("form", ["chat", "completion"])
def test_an_answer_obeys_its_schema(tiny_server: RealServer, form: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"b": {"enum": ["yes", "no"]}, "a": {"type": "boolean"}},
        "required": ["b", "a"],
        "additionalProperties": False,
    }
    request = dataclasses.replace(ask("Is it?", 120), form=form, json_schema=schema)
    found = json.loads(complete(tiny_server, request).text)
    assert list(found) == ["b", "a"]
    assert found["b"] in ("yes", "no")
    assert isinstance(found["a"], bool)


@pytest.mark.parametrize("form", ["chat", "completion"])
def test_an_answer_obeys_its_grammar(llama_server: RealServer, form: Any) -> None:
    request = dataclasses.replace(ask("Is it?", 8), form=form, grammar='root ::= "yes" | "no"')
    answer = complete(llama_server, request)
    assert answer.text in ("yes", "no")
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("form", ["chat", "completion"])
def test_a_grammar_that_is_none_is_refused_in_its_own_words(
    llama_server: RealServer, form: Any
) -> None:
    request = dataclasses.replace(ask("Is it?"), form=form, grammar="root ::= nobody")
    with pytest.raises(RequestRefused, match=r"HTTP 400: .*failed to parse grammar"):
        complete(llama_server, request)


@pytest.mark.parametrize("form", ["chat", "completion"])
@pytest.mark.parametrize("most", [0, 1, 20])
def test_every_token_comes_with_its_probability_and_the_likeliest_ones(
    tiny_server: RealServer, form: Any, most: int
) -> None:
    request = dataclasses.replace(ask("17 + 25 =", 8), form=form, top_logprobs=most)
    answer = complete(tiny_server, request)
    assert "".join(token.token for token in answer.logprobs) == answer.text
    assert len(answer.logprobs) == answer.usage.completion
    for token in answer.logprobs:
        assert len(token.top) == most
        assert token.logprob < 0
        likeliest = [logprob for _, logprob in token.top]
        assert likeliest == sorted(likeliest, reverse=True)
        assert sum(map(math.exp, likeliest)) <= 1.0001
        # Greedy: what is written is the likeliest.
        assert token.logprob == pytest.approx(likeliest[0] if most else token.logprob)


def test_log_probabilities_are_those_before_a_grammar(tiny_server: RealServer) -> None:
    free = dataclasses.replace(ask("17 + 25 =", 1), top_logprobs=20, cache_prompt=False)
    held = dataclasses.replace(free, grammar='root ::= "Vienna"')
    (likeliest,), (forced,) = (complete(tiny_server, r).logprobs for r in (free, held))
    assert forced.token.startswith("V")
    assert forced.logprob < likeliest.logprob
    assert forced.top == likeliest.top


def test_arguments_for_the_chat_template_reach_it(llama_server: RealServer) -> None:
    async def use(settings: dict[str, Any]) -> int | None:
        endpoint = Endpoint(llama_server.url, api_key="sk-right", settings=settings)
        engine = make_engine("llama-server", endpoint)
        try:
            return (await engine.complete(ask("hello"))).usage.prompt
        finally:
            await engine.close()

    plain = asyncio.run(use({}))
    about = asyncio.run(use({"chat_template_kwargs": {"topic": "Rome"}}))
    assert plain is not None
    assert about == plain + len("About Rome.\n")


def test_the_model_is_named_where_texts_are_tokenised(server: FaultServer) -> None:
    """A llama-server without a model of its own (router mode) has to know which one is meant."""
    server.scripts = [[server.reply({"tokens": [1, 2]})]]

    async def use() -> tuple[int, ...]:
        engine = make_engine("llama-server", Endpoint(server.url, "qwen"))
        try:
            return await engine.tokenize("ab")
        finally:
            await engine.close()

    assert asyncio.run(use()) == (1, 2)
    assert json.loads(server.seen[0].body)["model"] == "qwen"


def test_texts_are_tokenised_without_marks_and_special_tokens_are_one(
    llama_server: RealServer,
) -> None:
    async def use(engine: Engine) -> list[tuple[int, ...]]:
        return [await engine.tokenize(text) for text in ("", "ab", "a<|im_end|>", "é")]

    empty, letters, special, accent = with_engine(llama_server, use)
    assert empty == ()
    assert len(letters) == 2
    assert special == (letters[0], 257)
    assert len(accent) == 2


def test_without_being_told_to_it_gives_no_embeddings(llama_server: RealServer) -> None:
    with pytest.raises(RequestRefused, match="HTTP 501: This server does not support embeddings"):
        with_engine(llama_server, lambda engine: engine.embed(["hello"]))


@pytest.mark.parametrize("kind", ["embedded", "llama-server"])
def test_a_raw_completion_with_roles_or_tools_is_refused_before_it_is_sent(kind: str) -> None:
    system = dataclasses.replace(TEXT, messages=(Message("system", "Be brief."),))
    for request, words in (
        (system, "has no roles"),
        (dataclasses.replace(TEXT, tools=({},)), "cannot offer tools"),
    ):
        with pytest.raises(Unsupported, match=words):
            refuse_request(kind, request)
