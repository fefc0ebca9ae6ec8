"""Bodies of completions, read back into requests."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.engines.chat import chat_body
from pytest_llmeval.engines.completion import completion_body
from pytest_llmeval.engines.fireworks_format import request_body
from pytest_llmeval.engines.request_bodies import request_from_body, template_kwargs_of
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import Message, Request, Sampling

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
shares = st.none() | st.floats(0, 1)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts),
    min_size=1,
    max_size=3,
).map(tuple)
samplings = st.builds(
    Sampling,
    max_tokens=st.integers(1, 10**6),
    temperature=shares,
    top_p=shares,
    top_k=st.none() | st.integers(0, 100),
    min_p=shares,
    repeat_penalty=shares,
    presence_penalty=shares,
    frequency_penalty=shares,
    seed=st.none() | st.integers(0, 2**31),
    stop=st.lists(texts, max_size=2).map(tuple),
)
tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
schemas = st.none() | st.just({"type": "object"})
requests = st.builds(
    Request,
    messages,
    samplings,
    st.sampled_from([(), (tool,)]),
    cache_prompt=st.booleans(),
    json_schema=schemas,
    top_logprobs=st.none() | st.integers(1, 20),
    continuations=st.lists(texts, max_size=2).map(tuple),
)


def test_the_strategies_know_every_field_of_a_request() -> None:
    """Whoever adds one has to carry it through the files of requests."""
    assert [field.name for field in dataclasses.fields(Request)] == [
        *("messages", "sampling", "tools", "cache_prompt", "form", "json_schema", "grammar"),
        *("top_logprobs", "continuations"),
    ]


def written(request: Request, body: dict[str, Any]) -> Any:
    """The body as a file has it, with what no API has a word for."""
    return json.loads(json.dumps(body | {"continuations": list(request.continuations)}))


@given(requests)
def test_what_is_written_for_llama_cpp_is_read_back_equal(request: Request) -> None:
    asked = dataclasses.replace(request, grammar=None if request.json_schema else "root ::= [0-9]")
    body = written(asked, chat_body(asked, "m", llama_cpp=True, template_kwargs={"a": 1}))
    assert request_from_body(body, max_tokens=7) == asked
    assert template_kwargs_of(body) == {"a": 1}


@given(requests, texts, st.booleans())
def test_raw_completions_are_read_back_equal(request: Request, text: str, llama_cpp: bool) -> None:
    asked = dataclasses.replace(
        request, messages=(Message("user", text),), tools=(), form="completion"
    )
    if not llama_cpp:  # OpenAI's API has no words for these
        sampling = dataclasses.replace(asked.sampling, top_k=None, min_p=None, repeat_penalty=None)
        asked = dataclasses.replace(asked, sampling=sampling, json_schema=None, cache_prompt=True)
    body = written(asked, completion_body(asked, "m", llama_cpp=llama_cpp))
    assert request_from_body(body, max_tokens=7) == asked


@given(requests.filter(lambda r: r.cache_prompt))
def test_what_is_written_for_fireworks_is_read_back_equal(request: Request) -> None:
    body = written(request, request_body(request))
    assert request_from_body(body, max_tokens=7) == request


def body(**keys: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [{"role": "user", "content": "hi"}], **keys}


def test_a_body_that_says_little_leaves_the_rest_to_the_server() -> None:
    assert request_from_body(body(), max_tokens=7) == Request(
        (Message("user", "hi"),), Sampling(max_tokens=7)
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"n": 1, "stream": False, "logprobs": False, "logit_bias": None},
        {"user": "me", "metadata": {"a": 1}, "store": True},
        {"response_format": {"type": "text"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    ],
)
def test_keys_that_change_nothing_are_let_through(keys: dict[str, Any]) -> None:
    assert request_from_body(body(**keys), max_tokens=7) == request_from_body(body(), max_tokens=7)


def test_the_newer_name_of_the_longest_answer_is_known() -> None:
    request = request_from_body(body(max_completion_tokens=9), max_tokens=7)
    assert request.sampling.max_tokens == 9


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"n": 2}, "The key 'n' (here 2) cannot be asked"),
        ({"n": True}, "The key 'n' (here True)"),
        ({"logit_bias": {"7": 1}}, "The key 'logit_bias'"),
        ({"tool_choice": "required"}, "The key 'tool_choice'"),
        ({"stream": True}, "The key 'stream'"),
        ({"response_format": {"type": "json_object"}}, "The response_format"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "a message by 'tool'"),
        ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "a message with 'name'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "content that is no text",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name_and_never_left_out(
    keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(Unsupported) as refused:
        request_from_body(body(**keys), max_tokens=7)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("text", "its body is no object"),
        ({}, "messages is no list"),
        (body(messages=[]), "messages is no list"),
        (body(messages=["hi"]), "a message is no object"),
        (body(messages=[{"role": "user"}]), "a message has no content"),
        (body(temperature="warm"), "temperature is no number"),
        (body(temperature=float("nan")), "temperature is no number"),
        (body(max_tokens=True), "max_completion_tokens and max_tokens are not one whole number"),
        (body(max_tokens=0), "are not one whole number from 1"),
        (body(max_tokens=8.5), "are not one whole number from 1"),
        (body(max_tokens=8, max_completion_tokens=9), "are not one whole number from 1"),
        (body(grammar="root ::= x", response_format={"type": "text"}), "stands beside"),
        (body(stop=[7]), "stop is no list of texts"),
        (body(logprobs="all"), "logprobs is neither a number nor"),
        (body(prompt="a"), "prompt is no text, or stands beside messages"),
        (body(grammar=7), "json_schema is no object, or grammar no text"),
        (body(continuations=[1]), "continuations is no list of texts"),
        (body(tools="all"), "tools is no list of objects"),
    ],
)
def test_what_is_no_chat_completion_says_what_is_wrong(broken: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        request_from_body(broken, max_tokens=7)
