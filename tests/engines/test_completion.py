"""Raw completions: what is sent, and what comes back from OpenAI's path and llama.cpp's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmeval.engines.completion import (
    completion_answer,
    completion_body,
    llama_cpp_answer,
    prompt_of,
)
from pytest_llmeval.engines.reading import read_reply
from pytest_llmeval.errors import BadAnswer, Unsupported
from pytest_llmeval.records import (
    Answer,
    Message,
    Request,
    Sampling,
    TokenLogprob,
    Usage,
)

ASKED = Request((Message("user", "17 + 25 ="),), Sampling(8, temperature=0.0), form="completion")
TIMINGS = {"cache_n": 6, "prompt_n": 1, "prompt_ms": 0.5, "predicted_n": 2, "predicted_ms": 1.5}


def changed(**fields: Any) -> Request:
    """Make the request with other fields."""
    return Request(**{"messages": ASKED.messages, "sampling": ASKED.sampling, **fields})


def native(**fields: Any) -> bytes:
    """Write a reply of llama.cpp's /completion out; fields replace its own."""
    body = {
        "index": 0,
        "content": " 42",
        "tokens_predicted": 2,
        "tokens_evaluated": 7,
        "truncated": False,
        "stop_type": "eos",
        "stopping_word": "",
        "timings": TIMINGS,
    }
    return json.dumps({**body, **fields}).encode()


def answer_from_completion(body: bytes, top_logprobs: int | None = None) -> Answer:
    """Read a reply of /v1/completions as the engine does."""
    return read_reply(body, lambda data: completion_answer(data, top_logprobs))


def answer_from_llama_cpp(
    body: bytes, *, max_tokens: int, top_logprobs: int | None = None
) -> Answer:
    """Read a reply of llama.cpp's /completion as the engine does."""
    return read_reply(body, lambda data: llama_cpp_answer(data, max_tokens, top_logprobs))


def problem_of(**fields: Any) -> str:
    """Read a reply of llama.cpp that is no answer; gives the message."""
    with pytest.raises(BadAnswer) as told:
        answer_from_llama_cpp(native(**fields), max_tokens=8)
    return str(told.value)


# Requests -----------------------------------------------------------------------------------------


def test_the_texts_of_a_prompt_stand_one_behind_the_other_with_nothing_between() -> None:
    examples = (Message("user", "1 + 1 = 2\n\n"), Message("user", "17 + 25 ="))
    assert prompt_of(changed(messages=examples)) == "1 + 1 = 2\n\n17 + 25 ="


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_a_prompt_with_roles_is_refused(role: Any) -> None:
    messages = (Message(role, "Be brief."), *ASKED.messages)
    with pytest.raises(
        Unsupported, match=f"has no roles, and this prompt has a message of the {role}"
    ):
        prompt_of(changed(messages=messages))


def test_tools_are_refused() -> None:
    with pytest.raises(Unsupported, match="cannot offer tools: use form: chat"):
        prompt_of(changed(tools=({"type": "function"},)))


def test_a_body_holds_only_what_was_asked_for() -> None:
    assert completion_body(ASKED, None, llama_cpp=False) == {
        "prompt": "17 + 25 =",
        "max_tokens": 8,
        "temperature": 0.0,
    }


def test_llama_cpp_gets_its_own_keys() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    request = changed(
        sampling=Sampling(8, top_k=3, stop=("\n",)),
        json_schema=schema,
        top_logprobs=0,
        cache_prompt=False,
    )
    body = completion_body(request, "tiny", llama_cpp=True)
    assert body == {
        "model": "tiny",
        "prompt": "17 + 25 =",
        "max_tokens": 8,
        "top_k": 3,
        "stop": ["\n"],
        "cache_prompt": False,
        "json_schema": schema,
        "n_probs": 1,
    }
    assert list(body["json_schema"]["properties"]) == ["b", "a"]


def test_a_grammar_is_sent_as_it_is() -> None:
    grammar = 'root ::= "yes" | "no"'
    assert completion_body(changed(grammar=grammar), None, llama_cpp=True)["grammar"] == grammar


def test_elsewhere_logprobs_are_asked_for_as_openai_has_them() -> None:
    for asked, sent in ((0, 1), (3, 3)):
        body = completion_body(changed(top_logprobs=asked), None, llama_cpp=False)
        assert body["logprobs"] == sent


# Answers ------------------------------------------------------------------------------------------


def test_an_answer_of_llama_cpp_is_read_with_tokens_and_times() -> None:
    assert answer_from_llama_cpp(native(), max_tokens=8) == Answer(
        text=" 42",
        finish_reason="stop",
        usage=Usage(prompt=7, completion=2, cached=6, source="server"),
        first_token_ms=0.5,
        service_ms=2.0,
    )


@pytest.mark.parametrize(
    ("stop_type", "reason"), [("eos", "stop"), ("word", "stop"), ("limit", "length")]
)
def test_how_it_ended_is_said_in_openais_words(stop_type: str, reason: str) -> None:
    assert answer_from_llama_cpp(native(stop_type=stop_type), max_tokens=2).finish_reason == reason


def test_a_context_that_is_full_before_the_limit_ends_an_answer_like_a_limit() -> None:
    answer = answer_from_llama_cpp(native(truncated=True, stop_type="limit"), max_tokens=8)
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("fields", [{"stop_type": "eos"}, {"stop_type": "limit", "max_tokens": 2}])
def test_an_answer_to_a_prompt_that_was_cut_is_none(fields: dict[str, Any]) -> None:
    body = native(truncated=True, stop_type=fields["stop_type"])
    with pytest.raises(BadAnswer, match="cut off a part of the prompt") as told:
        answer_from_llama_cpp(body, max_tokens=fields.get("max_tokens", 8))
    assert "give the model more context" in str(told.value)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"stop_type": "none"}, 'stop_type is "none", not one of eos, word, limit'),
        ({"stop_type": None}, "stop_type is null, not one of"),
        ({"stop_type": ["eos"]}, 'stop_type is ["eos"], not one of'),
        ({"content": None}, "content is null or missing, not a string"),
        ({"tokens_predicted": "2"}, "tokens_predicted is a string, not a whole number"),
        ({"error": {"message": "out of memory"}}, "no completion but an error: out of memory"),
    ],
    ids=range(6),
)
def test_a_field_that_breaks_its_promise_is_named(fields: dict[str, Any], problem: str) -> None:
    assert problem in problem_of(**fields)


def test_log_probabilities_are_read_where_they_were_asked_for() -> None:
    entries = [{"token": " 42", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -0.5}]}]
    body = native(completion_probabilities=entries)
    read = answer_from_llama_cpp(body, max_tokens=8, top_logprobs=0)
    assert read.logprobs == (TokenLogprob(" 42", -0.5),)
    assert answer_from_llama_cpp(body, max_tokens=8).logprobs == ()
    with pytest.raises(BadAnswer, match="log probabilities were asked for and it has none"):
        answer_from_llama_cpp(native(), max_tokens=8, top_logprobs=1)


def test_an_answer_of_openais_path_is_read() -> None:
    choice = {"text": " 42", "index": 0, "finish_reason": "length", "logprobs": None}
    body = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    assert answer_from_completion(json.dumps(body).encode()) == Answer(
        " 42", "length", usage=Usage(7, 2, source="server")
    )
    with pytest.raises(BadAnswer, match="log probabilities were asked for and it has none"):
        answer_from_completion(json.dumps(body).encode(), top_logprobs=2)


def test_a_chat_where_a_completion_was_asked_for_is_no_answer() -> None:
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "42"}}]}
    with pytest.raises(BadAnswer, match="text is null or missing, not a string"):
        answer_from_completion(json.dumps(body).encode())
