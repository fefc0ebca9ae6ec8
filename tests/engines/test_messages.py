"""Anthropic's Messages: requests into bodies, bodies into answers or into words about them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.engines.messages import (
    answer_from_messages,
    messages_body,
    refuse_for_messages,
)
from pytest_llmeval.errors import BadAnswer, Unsupported
from pytest_llmeval.records import Answer, Message, Request, Sampling, ToolCall, Usage

ASKED = Request((Message("system", "Be brief."), Message("user", "1 + 1 =")), Sampling(8))


def reply(*blocks: Any, **fields: Any) -> bytes:
    """Write a message out; fields replace its own."""
    message = {"type": "message", "role": "assistant", "content": list(blocks)}
    return json.dumps({**message, "stop_reason": "end_turn", **fields}).encode()


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def problem_of(body: bytes) -> str:
    """Read a body that is no answer; gives the message."""
    with pytest.raises(BadAnswer) as told:
        answer_from_messages(body, secret="sk-secret")
    return str(told.value)


# Requests -----------------------------------------------------------------------------------------


def test_a_system_message_is_lifted_out_of_the_turns() -> None:
    assert messages_body(ASKED, "m") == {
        "model": "m",
        "max_tokens": 8,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "1 + 1 ="}],
    }


def test_several_system_messages_stay_apart() -> None:
    request = Request((Message("system", "A"), *ASKED.messages), Sampling(8))
    assert messages_body(request, None)["system"] == [text("A"), text("Be brief.")]


def test_a_conversation_keeps_its_turns_and_an_answer_that_has_begun() -> None:
    turns = (Message("user", "2"), Message("assistant", "Two, and"))
    assert messages_body(Request(turns, Sampling(8)), None) == {
        "max_tokens": 8,
        "messages": [
            {"role": "user", "content": "2"},
            {"role": "assistant", "content": "Two, and"},
        ],
    }


def test_sampling_has_the_names_of_the_api_and_zero_is_a_value() -> None:
    sampling = Sampling(8, temperature=0.0, top_p=0.9, top_k=40, stop=("\n", "Q:"))
    body = messages_body(Request(ASKED.messages, sampling), None)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.0, 0.9, 40)
    assert body["stop_sequences"] == ["\n", "Q:"]


def test_a_function_becomes_a_tool_with_an_input_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    weather = {"name": "weather", "description": "…", "parameters": schema, "strict": True}
    tools = ({"type": "function", "function": each} for each in (weather, {"name": "now"}))
    body = messages_body(Request(ASKED.messages, ASKED.sampling, tuple(tools)), None)
    assert body["tools"] == [
        {"name": "weather", "description": "…", "strict": True, "input_schema": schema},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body["tool_choice"] == {"type": "auto"}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"sampling": Sampling(8, min_p=0.1, seed=0)}, "sampling by min_p, seed (write seed: null"),
        ({"sampling": Sampling(8, repeat_penalty=1.1)}, "sampling by repeat_penalty"),
        ({"sampling": Sampling(8, presence_penalty=0.0)}, "sampling by presence_penalty"),
        ({"sampling": Sampling(8, frequency_penalty=0.0)}, "sampling by frequency_penalty"),
        ({"sampling": Sampling(8, temperature=1.5)}, "a temperature of 1.5, above 1"),
        ({"form": "completion"}, "continuing a text without a chat template"),
        ({"json_schema": {}}, "holding an answer to a JSON schema"),
        ({"grammar": ""}, "holding an answer to a grammar"),
        ({"top_logprobs": 0}, "giving log probabilities"),
        ({"continuations": ("a",)}, "saying how likely a given text is"),
        ({"cache_prompt": False}, "turning the prompt cache off (exact: true)"),
        ({"messages": ASKED.messages[::-1]}, "a system message behind other messages"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_api_cannot_say_is_refused_by_name(request_: dict[str, Any], words: str) -> None:
    with pytest.raises(Unsupported) as told:
        refuse_for_messages(dataclasses.replace(ASKED, **request_))
    assert str(told.value).startswith(f"The engine anthropic has no way of {words}")
    assert "Leave it out, or use another engine." in str(told.value)


def test_all_that_cannot_be_said_is_refused_at_once_and_the_rest_is_not() -> None:
    request = dataclasses.replace(ASKED, grammar="x", sampling=Sampling(8, seed=1))
    with pytest.raises(Unsupported, match=r"seed \(.*\) or of holding an answer to a grammar: the"):
        refuse_for_messages(request)
    sampling = Sampling(8, temperature=1.0, top_p=1.0, top_k=1, stop=("x",))
    refuse_for_messages(dataclasses.replace(ASKED, sampling=sampling, tools=({},)))


# Answers ------------------------------------------------------------------------------------------


def test_an_answer_has_the_text_of_all_blocks_the_thoughts_and_the_tokens() -> None:
    body = reply(
        {"type": "thinking", "thinking": "17 + 25", "signature": "abc"},
        {"type": "redacted_thinking", "data": "abc"},
        text("The answer "),
        text("is 42."),
        usage={
            "input_tokens": 5,
            "cache_read_input_tokens": 16,
            "cache_creation_input_tokens": 100,
            "output_tokens": 9,
        },
    )
    assert answer_from_messages(body) == Answer(
        "The answer is 42.", "stop", reasoning="17 + 25", usage=Usage(121, 9, 16, "server")
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({"output_tokens": 3}, Usage(None, 3, None, "server")),
        ({"input_tokens": 4, "cache_creation_input_tokens": None}, Usage(4, None, None, "server")),
        ({"input_tokens": 0, "cache_read_input_tokens": 7}, Usage(7, None, 7, "server")),
    ],
)
def test_tokens_that_nobody_counted_are_unknown(usage: object, expected: Usage) -> None:
    assert answer_from_messages(reply(text("2"), usage=usage)).usage == expected


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_every_stop_reason_has_one_of_ours(reason: str, ours: str) -> None:
    assert answer_from_messages(reply(text("x"), stop_reason=reason)).finish_reason == ours


def test_tool_uses_become_calls_in_their_order() -> None:
    uses = [
        {"type": "tool_use", "id": str(n), "name": name, "input": {"city": name}}
        for n, name in enumerate("ba")
    ]
    answer = answer_from_messages(reply(text("Let me see."), *uses, stop_reason="tool_use"))
    assert answer.text == "Let me see."
    assert answer.tool_calls == (
        ToolCall("b", {"city": "b"}, '{"city":"b"}'),
        ToolCall("a", {"city": "a"}, '{"city":"a"}'),
    )


def test_an_empty_answer_is_an_answer() -> None:
    assert answer_from_messages(reply()) == Answer("", "stop")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>Sign in</html>", "it is not JSON. It begins: <html>Sign in"),
        (b"\xff", "it is not UTF-8"),
        (b"\x1f\x8b\x08", "it is compressed (gzip), which nobody asked for"),
        (b"[]", "it is a list, not an object"),
        (b"{}", "it has no content"),
        (b'{"type":"error","error":{"message":"bad"}}', "it has no content but an error: bad"),
        (reply(content="2"), "content is a string, not a list"),
        (reply("2"), "a block of its content is of the type None, unasked"),
        (reply({"type": "server_tool_use"}), "of the type 'server_tool_use', unasked"),
        (reply({"type": ["text"]}), "a block of its content is of the type ['text'], unasked"),
        (reply({"type": "text", "text": 2}), "text is a whole number, not a string"),
        (reply({"type": "thinking", "thinking": {}}), "thinking is an object, not a string"),
        (reply({"type": "tool_use", "input": {}}), "a tool_use has no name"),
        (reply(stop_reason="pause_turn"), "the server paused in mid-answer (stop_reason pause_tu"),
        (reply(stop_reason=None), "stop_reason is None, not one of end_turn, stop_sequence, max"),
        (reply(stop_reason="eos"), "stop_reason is 'eos', not one of end_turn"),
        (reply(usage=[1]), "usage is a list, not an object"),
        (reply(usage={"input_tokens": -1}), "input_tokens is -1, which cannot be"),
        (reply(usage={"input_tokens": "9"}), "input_tokens is a string, not a whole number"),
        (
            reply(usage={"cache_read_input_tokens": True}),
            "cache_read_input_tokens is true or false, not",
        ),
    ],
    ids=range(20),
)
def test_what_breaks_its_promise_is_named_and_quoted(body: bytes, problem: str) -> None:
    message = problem_of(body)
    assert problem in message
    assert "It begins: " in message


def test_no_quotation_shows_the_api_key() -> None:
    assert "sk-secret" not in problem_of(b'{"error": {"message": "bad key sk-secret"}}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
BLOCK = st.dictionaries(
    st.sampled_from(["type", "text", "thinking", "name", "input"]),
    JSON | st.sampled_from(["text", "thinking", "tool_use"]),
)


@given(
    st.fixed_dictionaries(
        {"content": st.lists(BLOCK), "stop_reason": st.sampled_from(["end_turn", "refusal", None])},
        optional={"usage": JSON},
    )
)
def test_anything_close_to_a_message_is_an_answer_or_a_bad_one(data: object) -> None:
    try:
        answer = answer_from_messages(json.dumps(data).encode())
    except BadAnswer:
        return
    assert isinstance(answer.text, str)
