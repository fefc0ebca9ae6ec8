"""Bodies of Ollama's replies, read: the odd ones that no stand-in needs to give."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmeval.engines.ollama_answers import (
    Expected,
    answer_from,
    ends_in_a_loop,
    vectors_from,
)
from pytest_llmeval.engines.ollama_refusals import ollama_error
from pytest_llmeval.errors import (
    BadAnswer,
    BadLogprobs,
    ContextOverflow,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import ToolCall

WHOLE: dict[str, Any] = {"message": {"content": "4"}, "done": True, "done_reason": "stop"}


def body(**changes: Any) -> bytes:
    return json.dumps({**WHOLE, **changes}).encode()


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("Well, " + "no " * 31, True),
        ("1" * 31, True),
        ("ha ha" + "ha" * 30, True),
        ("\n" * 31, True),
        ("done" + " " * 30, True),
        ("the cat sat. " * 31, True),
        ("no " * 10, False),
        ("a" * 29, False),
        ("", False),
        ("An answer of some length that just was cut off in the mid", False),
    ],
)
def test_a_loop_is_known_by_its_end(text: str, loop: bool) -> None:
    assert ends_in_a_loop(text) is loop


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"message": "4"}, "message is a string, not an object"),
        ({"message": {"content": 4}}, "content is a whole number, not a string"),
        ({"done": "yes"}, "done is a string, not true or false"),
        ({"done_reason": None}, "done_reason is null, not one of stop, length"),
        ({"eval_count": -1}, "eval_count is -1, which cannot be"),
        ({"eval_count": True}, "eval_count is true or false, not a whole number"),
        ({"prompt_eval_duration": 1.5}, "prompt_eval_duration is a number, not a whole number"),
        ({"logprobs": [1]}, "logprobs is not a list of objects"),
        (
            {"logprobs": [{"token": None, "logprob": -1}]},
            "a token of logprobs is null or missing, not a string",
        ),
        ({"logprobs": [{"token": "a"}]}, "logprob is null or missing, not a number"),
        ({"message": {"tool_calls": [{}]}}, "an entry of tool_calls has no function with a name"),
    ],
)
def test_what_is_not_as_promised_is_told_by_its_field(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises((BadAnswer, BadLogprobs)) as told:
        answer_from(body(**changes), Expected())
    assert str(told.value).startswith(f"The answer cannot be used: {problem}. It begins: {{")


def test_a_secret_is_taken_out_of_what_is_quoted() -> None:
    with pytest.raises(BadAnswer) as told:
        answer_from(b"your key s3cret is wrong", Expected(), secret="s3cret")
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ({"a": 1}, ToolCall("f", {"a": 1}, '{"a":1}')),
        ({}, ToolCall("f", {}, "{}")),
        ({"a": "Infinity"}, ToolCall("f", {"a": "Infinity"}, '{"a":"Infinity"}')),
        ("{}", ToolCall("f", {}, "{}")),
        (None, ToolCall("f", None, "")),
    ],
)
def test_arguments_are_an_object_or_none(arguments: Any, call: ToolCall) -> None:
    calls = [{"function": {"name": "f", "arguments": arguments}}]
    answer = answer_from(body(message={"content": "", "tool_calls": calls}), Expected())
    assert answer.tool_calls == (call,)


def test_arguments_that_no_json_can_hold_again_are_none() -> None:
    calls = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1e999}}}]},'
    answer = answer_from(calls + b'"done":true,"done_reason":"stop"}', Expected())
    assert answer.tool_calls[0].arguments is None


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        ([[1.0]], "it has 1 embeddings for 2 texts"),
        ([[1.0], [1.0, 2.0]], "its embeddings are not of one length"),
        ([[1.0], []], "an embedding is not a list of numbers"),
        ([[1.0], [None]], "a number of an embedding is null or missing, not a number"),
        (None, "it has 0 embeddings for 2 texts"),
    ],
)
def test_vectors_are_one_for_each_text_and_of_one_length(embeddings: Any, words: str) -> None:
    with pytest.raises(BadAnswer, match=words):
        vectors_from(json.dumps({"embeddings": embeddings}).encode(), 2)


def refusal(status: int, error: Any) -> Exception:
    return ollama_error(
        status,
        {},
        json.dumps({"error": error}).encode(),
        model="m:1b",
        now=lambda: 0.0,
    )


@pytest.mark.parametrize(
    "error",
    [
        "model 'm:1b' not found",
        'model "m:1b" not found, try pulling it first',
    ],
)
def test_a_missing_model_has_two_wordings_and_one_way_out(error: str) -> None:
    assert "`ollama pull m:1b`" in str(refusal(404, error))


@pytest.mark.parametrize(
    "error",
    [
        "the input length exceeds the context length",
        "the prompt is longer than the context length currently available to the model",
        json.dumps({"error": {"message": "request (9 tokens) exceeds the available context size"}}),
    ],
)
def test_too_long_a_prompt_has_three_wordings_and_one_way_out(error: str) -> None:
    told = refusal(400, error)
    assert type(told) is ContextOverflow
    assert "give the model a larger context, `context` in the config" in str(told)
    assert "{" not in str(told)


def test_several_missing_abilities_are_one_refusal() -> None:
    told = refusal(400, "registry.ollama.ai/library/m:1b does not support tools\nthinking")
    assert type(told) is Unsupported


@pytest.mark.parametrize("error", [None, 5, ["a"], "{}", "[1]", "{not json"])
def test_whatever_else_is_an_error_stays_one(error: Any) -> None:
    assert type(refusal(400, error)) is RequestRefused
