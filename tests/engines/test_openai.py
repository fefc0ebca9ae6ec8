"""Adopted endpoints, with and without llama.cpp behind them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, make_engine
from pytest_llmeval.engines.openai import OpenAIEngine
from pytest_llmeval.errors import (
    BadAnswer,
    EndpointBusy,
    EndpointTimeout,
    EndpointUnreachable,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Message, Request, Sampling, Usage

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer

ASKED = Request((Message("user", "1 + 1 ="),), Sampling(8, temperature=0.0))


def complete(endpoint: Endpoint, request: Request = ASKED, kind: str = "openai") -> Answer:
    """Make one attempt in a loop of its own."""

    async def main() -> Answer:
        engine = make_engine(kind, endpoint)
        try:
            return await engine.complete(request)
        finally:
            await engine.close()

    return asyncio.run(main())


def describe(endpoint: Endpoint, kind: str = "openai") -> EndpointFacts:
    """Ask an endpoint about itself in a loop of its own."""

    async def main() -> EndpointFacts:
        engine = make_engine(kind, endpoint)
        try:
            return await engine.describe()
        finally:
            await engine.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/openai/v3", "/api/openai/v3/chat/completions"),
        ("/llama", "/llama/v1/chat/completions"),
    ],
)
def test_the_url_may_end_in_its_version_or_not(server: FaultServer, base: str, path: str) -> None:
    complete(Endpoint(server.url + base))
    assert server.seen[0].path == path


def test_a_raw_completion_goes_to_its_own_path(server: FaultServer) -> None:
    choice = {"text": " 42", "finish_reason": "length"}
    server.scripts = [[server.reply({"choices": [choice]})]]
    request = dataclasses.replace(ASKED, form="completion", top_logprobs=None)
    assert complete(Endpoint(server.url, model="mistral"), request) == Answer(" 42", "length")
    assert server.seen[0].path == "/v1/completions"
    assert json.loads(server.seen[0].body) == {
        "model": "mistral",
        "prompt": "1 + 1 =",
        "max_tokens": 8,
        "temperature": 0.0,
    }


def test_embeddings_are_asked_for_at_their_path(server: FaultServer) -> None:
    entry = {"index": 0, "embedding": [0.5, 1]}
    server.scripts = [[server.reply({"data": [entry]})]]

    async def main() -> object:
        engine = make_engine("openai", Endpoint(server.url, model="nomic"))
        try:
            return await engine.embed(["a"])
        finally:
            await engine.close()

    assert asyncio.run(main()) == ((0.5, 1.0),)
    assert server.seen[0].path == "/v1/embeddings"


def test_arguments_for_the_chat_template_are_sent_with_each_chat(server: FaultServer) -> None:
    settings = {"chat_template_kwargs": {"enable_thinking": False}}
    complete(Endpoint(server.url, settings=settings))
    assert json.loads(server.seen[0].body)["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (dataclasses.replace(ASKED, grammar='root ::= "a"'), "holding an answer to a grammar"),
        (dataclasses.replace(ASKED, form="completion", tools=({},)), "cannot offer tools"),
    ],
    ids=["grammar", "tools"],
)
def test_what_it_cannot_do_is_refused_before_anything_is_sent(
    server: FaultServer, request_: Request, words: str
) -> None:
    with pytest.raises(Unsupported, match=words):
        complete(Endpoint(server.url), request_)
    assert server.seen == []


def test_an_attempt_sends_the_model_and_brings_the_answer(server: FaultServer) -> None:
    answer = complete(Endpoint(server.url, model="mistral"))
    assert answer == Answer("Zürich 🎈", "stop", usage=Usage(21, 5, source="server"))
    assert json.loads(server.seen[0].body) == {
        "model": "mistral",
        "messages": [{"role": "user", "content": "1 + 1 ="}],
        "max_tokens": 8,
        "temperature": 0.0,
    }


def test_what_the_api_cannot_say_is_not_sent(server: FaultServer) -> None:
    request = Request(ASKED.messages, Sampling(8, top_k=1))
    with pytest.raises(Unsupported, match="top_k"):
        complete(Endpoint(server.url), request)
    assert server.seen == []


def test_llama_server_takes_the_same_request(server: FaultServer) -> None:
    complete(Endpoint(server.url), Request(ASKED.messages, Sampling(8, top_k=1)), "llama-server")
    assert json.loads(server.seen[0].body)["top_k"] == 1


def test_one_attempt_is_one_request(server: FaultServer) -> None:
    server.scripts = [[server.reply({"error": "later"}, "503 Service Unavailable")]]
    with pytest.raises(EndpointBusy):
        complete(Endpoint(server.url))
    assert len(server.seen) == 1


def test_a_page_with_status_200_is_a_bad_answer(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"<!doctype html><title>Sign in</title>")]]
    with pytest.raises(BadAnswer, match=r"not JSON\. It begins: <!doctype html><title>Sign in"):
        complete(Endpoint(server.url))


def test_retry_after_comes_from_the_header_by_either_spelling(server: FaultServer) -> None:
    limit = "429 Too Many Requests"
    date = formatdate(1_000_060, usegmt=True)
    server.scripts = [
        [server.reply({"error": "slow down"}, limit, ["Retry-After: 7"])],
        [server.reply({"error": "slow down"}, limit, [f"retry-after: {date}"])],
    ]

    async def main() -> list[float | None]:
        engine = OpenAIEngine(Endpoint(server.url), clock=lambda: 1_000_000.0)
        waits = []
        for _ in range(2):
            with pytest.raises(EndpointBusy, match="HTTP 429: slow down") as told:
                await engine.complete(ASKED)
            waits.append(told.value.retry_after)
        await engine.close()
        return waits

    assert asyncio.run(main()) == [7.0, 60.0]


def test_the_api_key_is_in_no_message_and_no_repr(server: FaultServer) -> None:
    server.scripts = [[server.reply({"error": "wrong: Bearer sk-1234"}, "401 Unauthorized")]]
    endpoint = Endpoint(server.url, api_key="sk-1234")
    with pytest.raises(RequestRefused) as told:
        complete(endpoint)
    assert "sk-1234" not in str(told.value)
    assert "sk-1234" not in repr(endpoint)


def test_a_timeout_is_that_of_the_endpoint(server: FaultServer) -> None:
    server.scripts = [["hang"]]
    with pytest.raises(EndpointTimeout, match=r"within 0\.05 s"):
        complete(Endpoint(server.url, timeout=0.05))


def test_a_connection_cut_in_mid_answer_is_unreachable(server: FaultServer) -> None:
    server.scripts = [[server.reply()[:-5], "reset"]]
    with pytest.raises(EndpointUnreachable):
        complete(Endpoint(server.url))


# Facts --------------------------------------------------------------------------------------------

PROPS = {
    "default_generation_settings": {"n_ctx": 1024},
    "total_slots": 4,
    "model_path": "/models/tiny.gguf",
    "chat_template": "{{ messages }}",
    "build_info": "b7000-abc",
}
FACTS = EndpointFacts(
    slots=4,
    context=1024,
    model_path="/models/tiny.gguf",
    model_name="tiny",
    build="b7000-abc",
    template_sha256="f24189f08c85a1eb19a737306c3a13e85462ee33d964f28108d64a2485fa2171",
    served=("tiny",),
)
MODELS = {"object": "list", "data": [{"id": "tiny"}]}


@pytest.mark.parametrize("kind", ["openai", "llama-server", "embedded"])
def test_a_llama_cpp_server_tells_its_slots_context_build_and_template(
    server: FaultServer, kind: str
) -> None:
    server.scripts = [[server.reply(PROPS)], [server.reply(MODELS)]]
    assert describe(Endpoint(f"{server.url}/v1"), kind) == FACTS
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", "/props"),
        ("GET", "/v1/models"),
    ]


def test_other_servers_may_lack_both_pages(server: FaultServer) -> None:
    server.scripts = [[server.reply({"error": "no"}, "404 Not Found")]]
    assert describe(Endpoint(server.url, model="mine")) == EndpointFacts(model_name="mine")


def test_other_servers_may_have_pages_that_are_something_else(server: FaultServer) -> None:
    server.scripts = [[server.reply(b"<html>")], [server.reply([1])]]
    assert describe(Endpoint(server.url)) == EndpointFacts()


@pytest.mark.parametrize(
    ("props", "models"),
    [
        ({"total_slots": "4", "chat_template": "", "default_generation_settings": 1}, {}),
        ({"total_slots": True, "model_path": None}, {"data": [{"id": None}, {}]}),
        ({"total_slots": -1, "default_generation_settings": {"n_ctx": 0}}, {}),
        ({"default_generation_settings": {"n_ctx": None}}, {"data": [{"id": 7}]}),
        ({"build_info": ["b1"]}, {"data": ["tiny"]}),
        ({"chat_template": 5}, {"data": {"id": "tiny"}}),
    ],
    ids=range(6),
)
def test_facts_that_are_not_what_they_should_be_are_unknown(
    server: FaultServer, props: object, models: object
) -> None:
    server.scripts = [[server.reply(props)], [server.reply(models)]]
    assert describe(Endpoint(server.url)) == EndpointFacts()


def test_of_several_models_none_is_the_one_and_all_are_served(server: FaultServer) -> None:
    models = {"data": [{"id": "a"}, {"id": 7}, {"id": "b"}]}
    server.scripts = [[server.reply({})], [server.reply(models)]]
    assert describe(Endpoint(server.url)) == EndpointFacts(served=("a", "b"))


@pytest.mark.parametrize("aliases", [["Qwen/Qwen3", "a-first", 7, "qwen"], "qwen"])
def test_every_alias_of_a_model_is_served(server: FaultServer, aliases: object) -> None:
    """llama-server sorts them, and lists the model by the first."""
    models = {"data": [{"id": "Qwen/Qwen3", "aliases": aliases}]}
    server.scripts = [[server.reply({})], [server.reply(models)]]
    told = ("Qwen/Qwen3", "a-first", "qwen") if isinstance(aliases, list) else ("Qwen/Qwen3",)
    assert describe(Endpoint(server.url)) == EndpointFacts(model_name="Qwen/Qwen3", served=told)


@pytest.mark.parametrize(
    ("status", "error"),
    [("401 Unauthorized", RequestRefused), ("503 Service Unavailable", EndpointBusy)],
)
def test_an_endpoint_that_lets_nobody_in_says_so_at_once(
    server: FaultServer, status: str, error: type[Exception]
) -> None:
    server.scripts = [[server.reply({"error": "no entry"}, status)]]
    with pytest.raises(error, match="no entry"):
        describe(Endpoint(server.url))


def test_llama_server_must_have_its_own_page(server: FaultServer) -> None:
    server.scripts = [[server.reply({"error": "no key"}, "401 Unauthorized")]]
    with pytest.raises(RequestRefused, match="HTTP 401: no key"):
        describe(Endpoint(server.url), "llama-server")


def test_an_endpoint_that_is_not_there_is_unreachable(dead_port: int) -> None:
    with pytest.raises(EndpointUnreachable, match="Cannot connect"):
        describe(Endpoint(f"http://127.0.0.1:{dead_port}"))
