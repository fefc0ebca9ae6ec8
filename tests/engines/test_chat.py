"""Requests into bodies, and every shape of a body into an answer or into words about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.engines.chat import (
    answer_from_chat,
    chat_body,
    encode_body,
    refuse_llama_cpp_keys,
)
from pytest_llmeval.errors import BadAnswer, BadLogprobs, Unsupported
from pytest_llmeval.records import Answer, Message, Request, Sampling, TokenLogprob, ToolCall, Usage
from pytest_llmeval.redaction import Redactor

ASKED = Request((Message("system", "Be brief."), Message("user", "1 + 1 =")), Sampling(8))
EVERYTHING = Sampling(
    max_tokens=8,
    temperature=0.0,
    top_p=0.9,
    top_k=40,
    min_p=0.05,
    repeat_penalty=1.1,
    presence_penalty=0.2,
    frequency_penalty=0.3,
    seed=7,
    stop=("\n", "Q:"),
)


def reply(message: object = None, **fields: Any) -> bytes:
    """Write a chat completion out; fields replace those of the body."""
    choice = {"index": 0, "finish_reason": "stop", "message": message or {"content": "2"}}
    return json.dumps({"choices": [choice], **fields}).encode()


def problem_of(body: bytes) -> str:
    """Read a body that is no answer; gives the message."""
    with pytest.raises(BadAnswer) as told:
        answer_from_chat(body)
    return str(told.value)


# Requests -----------------------------------------------------------------------------------------


def test_a_body_holds_only_what_was_asked_for() -> None:
    assert chat_body(ASKED, None, llama_cpp=False) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1 + 1 ="},
        ],
        "max_tokens": 8,
    }


def test_every_sampling_key_is_sent_to_llama_cpp_and_zero_is_a_value() -> None:
    body = chat_body(Request(ASKED.messages, EVERYTHING), "tiny", llama_cpp=True)
    del body["messages"]
    assert body == {
        "model": "tiny",
        "max_tokens": 8,
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 7,
        "stop": ["\n", "Q:"],
        "cache_prompt": True,
    }


def test_llama_cpps_own_keys_are_not_sent_elsewhere() -> None:
    body = chat_body(Request(ASKED.messages, EVERYTHING), "tiny", llama_cpp=False)
    assert not {"top_k", "min_p", "repeat_penalty", "cache_prompt"} & set(body)


def test_the_prompt_cache_can_be_turned_off() -> None:
    request = Request(ASKED.messages, ASKED.sampling, cache_prompt=False)
    assert chat_body(request, None, llama_cpp=True)["cache_prompt"] is False


def test_tools_are_sent_with_the_choice_left_to_the_model() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    body = chat_body(Request(ASKED.messages, ASKED.sampling, (tool,)), None, llama_cpp=False)
    assert body["tools"] == [tool]
    assert body["tool_choice"] == "auto"


def test_a_schema_is_sent_in_openais_shape_with_its_keys_in_their_order() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    request = Request(ASKED.messages, ASKED.sampling, json_schema=schema)
    sent = chat_body(request, None, llama_cpp=False)["response_format"]
    assert sent == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
    assert list(sent["json_schema"]["schema"]["properties"]) == ["b", "a"]


def test_a_grammar_is_sent_to_llama_cpp_only() -> None:
    request = Request(ASKED.messages, ASKED.sampling, grammar='root ::= "a"')
    assert chat_body(request, None, llama_cpp=True)["grammar"] == 'root ::= "a"'
    assert "grammar" not in chat_body(request, None, llama_cpp=False)
    with pytest.raises(Unsupported, match="no way of holding an answer to a grammar"):
        refuse_llama_cpp_keys(request)


def test_a_raw_completion_cannot_be_held_to_a_schema_by_openais_api() -> None:
    request = Request(ASKED.messages, ASKED.sampling, form="completion", json_schema={})
    with pytest.raises(Unsupported, match="no way of holding a raw completion to a json_schema"):
        refuse_llama_cpp_keys(request)


@pytest.mark.parametrize(("asked", "sent"), [(0, 1), (5, 5)])
@pytest.mark.parametrize("llama_cpp", [True, False])
def test_log_probabilities_are_asked_for_so_that_there_are_some(
    asked: int, llama_cpp: bool, sent: int
) -> None:
    """Also where it is not known that llama.cpp answers: engine openai speaks to it as well."""
    request = Request(ASKED.messages, ASKED.sampling, top_logprobs=asked)
    body = chat_body(request, None, llama_cpp=llama_cpp)
    assert (body["logprobs"], body["top_logprobs"]) == (True, sent)


def test_the_chat_template_gets_what_the_config_gives_it() -> None:
    body = chat_body(ASKED, None, llama_cpp=True, template_kwargs={"enable_thinking": False})
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_what_openais_api_cannot_say_is_refused_by_name() -> None:
    request = Request(ASKED.messages, Sampling(8, top_k=1, min_p=0.1), cache_prompt=False)
    with pytest.raises(Unsupported) as told:
        refuse_llama_cpp_keys(request)
    assert "no way of sampling by top_k, min_p or of turning the prompt cache off" in str(
        told.value
    )
    assert "use engine: llama-server" in str(told.value)
    refuse_llama_cpp_keys(ASKED)


@given(st.text())
def test_any_text_can_be_sent(text: str) -> None:
    request = Request((Message("user", text),), ASKED.sampling)
    sent = json.loads(encode_body(chat_body(request, None, llama_cpp=True)))
    assert sent["messages"][0]["content"] == text


def test_half_a_surrogate_pair_can_be_sent() -> None:
    assert encode_body({"content": "\ud83c"}) == b'{"content":"\\ud83c"}'


# Answers ------------------------------------------------------------------------------------------


def test_an_answer_of_llama_cpp_is_read_with_tokens_and_times() -> None:
    body = reply(
        {"role": "assistant", "content": " 42", "reasoning_content": "17 + 25"},
        usage={
            "prompt_tokens": 21,
            "completion_tokens": 2,
            "total_tokens": 23,
            "prompt_tokens_details": {"cached_tokens": 16},
        },
        timings={"cache_n": 16, "prompt_n": 5, "prompt_ms": 1.25, "predicted_ms": 2.5},
    )
    assert answer_from_chat(body) == Answer(
        text=" 42",
        finish_reason="stop",
        reasoning="17 + 25",
        usage=Usage(prompt=21, completion=2, cached=16, source="server"),
        first_token_ms=1.25,
        service_ms=3.75,
    )


def test_log_probabilities_are_read_where_they_were_asked_for() -> None:
    entry = {"token": "2", "logprob": -0.25, "top_logprobs": [{"token": "2", "logprob": -0.25}]}
    choice = {
        "finish_reason": "stop",
        "message": {"content": "2"},
        "logprobs": {"content": [entry]},
    }
    body = reply(choices=[choice])
    assert answer_from_chat(body).logprobs == ()
    assert answer_from_chat(body, top_logprobs=1).logprobs == (
        TokenLogprob("2", -0.25, (("2", -0.25),)),
    )


@pytest.mark.parametrize("logprobs", [None, {"content": None}, {"content": []}])
def test_log_probabilities_that_are_missing_make_it_no_answer(logprobs: object) -> None:
    choice = {"finish_reason": "stop", "message": {"content": "2"}, "logprobs": logprobs}
    with pytest.raises(BadAnswer, match="log probabilities were asked for and it has none"):
        answer_from_chat(reply(choices=[choice]), top_logprobs=0)


@pytest.mark.parametrize("logprob", [None, 0.5, "-1"])
def test_a_log_probability_that_can_be_none_is_a_failure_of_its_own(logprob: object) -> None:
    entries = [{"token": "2", "logprob": logprob}]
    told = {"logprobs": {"content": entries}}
    body = reply(choices=[{"finish_reason": "stop", "message": {"content": "2"}, **told}])
    with pytest.raises(BadLogprobs, match="The answer cannot be used: logprob is"):
        answer_from_chat(body, top_logprobs=0)


@pytest.mark.parametrize(
    "thoughts",
    [
        {"reasoning_content": "17 + 25"},
        {"reasoning": "17 + 25"},
        {"reasoning_content": "17 + 25", "reasoning": "17 + 25"},
        {"reasoning_content": "", "reasoning": "17 + 25"},
    ],
)
def test_thoughts_are_read_by_either_name(thoughts: dict[str, str]) -> None:
    choice = {"finish_reason": "length", "message": {"content": None, **thoughts}}
    answer = answer_from_chat(reply(choices=[choice]))
    assert (answer.text, answer.reasoning) == ("", "17 + 25")


def test_an_answer_without_usage_says_that_nobody_counted() -> None:
    answer = answer_from_chat(reply())
    assert answer == Answer("2", "stop", usage=Usage(source="none"))


def test_cached_tokens_of_openai_are_read_where_there_are_no_timings() -> None:
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}
    expected = Usage(prompt=9, completion=None, cached=4, source="server")
    assert answer_from_chat(reply(usage=usage)).usage == expected


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_the_finish_reasons_of_openai_are_kept(reason: str) -> None:
    choice = {"finish_reason": reason, "message": {"content": "x"}}
    assert answer_from_chat(reply(choices=[choice])).finish_reason == reason


@pytest.mark.parametrize("message", [{"content": None}, {"role": "assistant"}, {"content": ""}])
def test_an_answer_may_have_no_text(message: dict[str, Any]) -> None:
    assert answer_from_chat(reply({"tool_calls": None, **message})).text == ""


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ('{"city": "Rome"}', ToolCall("f", {"city": "Rome"}, '{"city": "Rome"}')),
        ({"city": "Rome"}, ToolCall("f", {"city": "Rome"}, '{"city":"Rome"}')),
        ("{}", ToolCall("f", {}, "{}")),
        ("", ToolCall("f", None, "")),
        (None, ToolCall("f", None, "")),
        ('{"city": "Ro', ToolCall("f", None, '{"city": "Ro')),
        ('["Rome"]', ToolCall("f", None, '["Rome"]')),
        ('{"n": NaN}', ToolCall("f", None, '{"n": NaN}')),
        ('{"n": [1e999]}', ToolCall("f", None, '{"n": [1e999]}')),
        (["Rome"], ToolCall("f", None, '["Rome"]')),
        ("[" * 100_000, ToolCall("f", None, "[" * 100_000)),
    ],
    ids=range(11),
)
def test_arguments_are_an_object_or_none_and_what_was_written_is_kept(
    arguments: object, call: ToolCall
) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    assert answer_from_chat(reply({"content": None, "tool_calls": calls})).tool_calls == (call,)


def test_arguments_with_a_number_too_large_for_a_record_are_none_and_kept_as_written() -> None:
    call = b'{"function": {"name": "f", "arguments": {"n": [1, -1e999]}}}'
    body = reply({"content": None, "tool_calls": [0]}).replace(b"[0]", b"[" + call + b"]")
    (found,) = answer_from_chat(body).tool_calls
    assert found == ToolCall("f", None, '{"n":[1,-Infinity]}')


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_arguments_as_an_object_that_is_no_json_make_it_no_answer(number: float) -> None:
    calls = [{"function": {"name": "f", "arguments": {"n": number}}}]
    assert f"it holds {json.dumps(number)}, which is not JSON" in problem_of(
        reply({"tool_calls": calls})
    )


def test_a_time_without_end_is_none() -> None:
    body = reply(timings={"prompt_ms": 0}).replace(b'"prompt_ms": 0', b'"prompt_ms": 1e999')
    assert "timings.prompt_ms is inf, not a time" in problem_of(body)


def test_several_calls_keep_their_order() -> None:
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in ("b", "a", "b")]
    answer = answer_from_chat(reply({"content": "text too", "tool_calls": calls}))
    assert [call.name for call in answer.tool_calls] == ["b", "a", "b"]
    assert answer.text == "text too"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"choices": None}, "choices is not a list that begins with an object"),
        ({"choices": []}, "choices is not a list that begins with an object"),
        ({"choices": {}}, "choices is not a list"),
        ({"choices": ["hello"]}, "choices is not a list that begins"),
        ({"choices": [{}]}, "choices[0].message is null or missing, not an object"),
        ({"choices": [{"message": "2"}]}, "choices[0].message is a string, not an object"),
        ({"choices": [{"message": {"content": "2"}}]}, "finish_reason is null, not one of stop"),
        (
            {"choices": [{"message": {}, "finish_reason": "eos"}]},
            'finish_reason is "eos", not one of stop, length, tool_calls, content_filter',
        ),
        ({"choices": [{"message": {}, "finish_reason": ["stop"]}]}, 'finish_reason is ["stop"]'),
        ({"usage": 21}, "usage is a whole number, not an object"),
        ({"usage": {"prompt_tokens": "21"}}, "prompt_tokens is a string, not a whole number"),
        ({"usage": {"prompt_tokens": 2.5}}, "prompt_tokens is a number, not a whole number"),
        ({"usage": {"completion_tokens": True}}, "completion_tokens is true or false, not a whole"),
        ({"usage": {"completion_tokens": -1}}, "completion_tokens is -1, which cannot be"),
        ({"usage": {"completion_tokens": 10**400}}, "completion_tokens is 10000000"),
        ({"usage": {"prompt_tokens_details": 3}}, "prompt_tokens_details is a whole number"),
        ({"timings": [1]}, "timings is a list, not an object"),
        ({"timings": {"prompt_ms": "1"}}, "timings.prompt_ms is a string, not a number"),
        ({"timings": {"predicted_ms": -1}}, "timings.predicted_ms is -1, not a time"),
        ({"timings": {"prompt_ms": float("nan")}}, "it holds NaN, which is not JSON"),
        ({"timings": {"prompt_ms": 10**15}}, "timings.prompt_ms is 1000000000000000, not a time"),
    ],
)
def test_a_field_that_breaks_its_promise_is_named(fields: dict[str, Any], problem: str) -> None:
    message = problem_of(reply(**fields))
    assert message.startswith(f"The answer cannot be used: {problem}")
    assert 'It begins: {"choices": ' in message


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"content": 42}, "content is a whole number, not a string"),
        ({"content": [{"type": "text"}]}, "content is a list, not a string"),
        ({"reasoning_content": {}}, "reasoning_content is an object, not a string"),
        ({"tool_calls": {}}, "tool_calls is an object, not a list"),
        ({"tool_calls": [7]}, "an entry of tool_calls has no function with a name"),
        ({"tool_calls": [{"name": "f"}]}, "an entry of tool_calls has no function with a name"),
        ({"tool_calls": [{"function": {"name": ""}}]}, "an entry of tool_calls has no function"),
        ({"tool_calls": [{"function": {"name": 7}}]}, "an entry of tool_calls has no function"),
    ],
)
def test_a_message_that_breaks_its_promise_is_named(message: object, problem: str) -> None:
    assert problem in problem_of(reply(message))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>\n  <b>Welcome</b></html>", "not JSON. It begins: <html> <b>Welcome</b></html>"),
        (b"", "not JSON. It begins: (nothing)"),
        (b'{"choices": [', 'not JSON. It begins: {"choices": ['),
        (b"[" * 100_000, "not JSON. It begins: [[["),
        (b'{"choices": "\xff"}', 'not UTF-8. It begins: {"choices": "\ufffd"}'),
        (b"[1, 2]", "it is a list, not an object"),
        (b"null", "it is null or missing, not an object"),
        (b"{}", "it has no choices. It begins: {}"),
        (b'{"error": {"message": "out of memory"}}', "no choices but an error: out of memory"),
        (b'{"error": "overloaded"}', "it has no choices but an error: overloaded"),
    ],
    ids=range(10),
)
def test_a_body_that_is_no_answer_is_quoted(body: bytes, problem: str) -> None:
    assert problem in problem_of(body)


def test_a_quotation_is_200_characters_long_at_most() -> None:
    assert problem_of(b"x" * 5000).endswith("It begins: " + "x" * 200 + "...")


def test_a_key_in_a_field_that_is_too_long_is_taken_out_by_whoever_knows_it() -> None:
    key = "KEYabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ"
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "y" * 180 + key}
    problem = problem_of(json.dumps({"choices": [choice]}).encode())
    assert key[:8] in problem
    assert key[:8] not in Redactor([key]).text(problem)


def test_no_quotation_shows_the_api_key() -> None:
    body = json.dumps({"error": {"message": "bad key sk-secret"}}).encode()
    with pytest.raises(BadAnswer) as told:
        answer_from_chat(body, secret="sk-secret")
    assert "sk-secret" not in str(told.value)
    assert str(told.value).count("bad key [redacted]") == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELD = st.sampled_from(
    [
        *("choices", "message", "content", "finish_reason", "reasoning_content"),
        *("tool_calls", "function", "name", "arguments"),
        *("usage", "prompt_tokens", "prompt_tokens_details", "timings", "cache_n", "prompt_ms"),
    ]
)


@given(st.recursive(JSON, lambda inner: st.lists(inner) | st.dictionaries(FIELD, inner)))
def test_any_json_is_an_answer_or_a_bad_answer(data: object) -> None:
    try:
        answer = answer_from_chat(json.dumps(data).encode())
    except BadAnswer:
        return
    assert isinstance(answer, Answer)


@given(
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries(
                    {
                        "message": st.dictionaries(FIELD, JSON),
                        "finish_reason": st.sampled_from(["stop", "length", "eos", None]),
                    }
                ),
                min_size=1,
                max_size=2,
            )
        },
        optional={"usage": st.dictionaries(FIELD, JSON), "timings": st.dictionaries(FIELD, JSON)},
    )
)
def test_anything_close_to_an_answer_is_one_or_a_bad_one(data: object) -> None:
    try:
        answer = answer_from_chat(json.dumps(data).encode())
    except BadAnswer:
        return
    assert isinstance(answer.text, str)
