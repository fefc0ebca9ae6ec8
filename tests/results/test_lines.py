"""A prediction as a line of the journal, and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import (
    Answer,
    Attempt,
    Failure,
    FinishReason,
    Likelihood,
    Origin,
    Prediction,
    TokenLogprob,
    ToolCall,
    Usage,
)
from pytest_llmeval.results.lines import (
    prediction_from_line,
    prediction_to_line,
    request_to_line,
)


def joined(text: str) -> str:
    """The text with surrogate pairs in two halves joined, as the docstring of the line says."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


texts = st.text(st.characters()).map(joined)
numbers = st.floats(0, 1e9) | st.integers(0, 10**9)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(texts, json_values, max_size=3)
tool_calls = (
    st.builds(lambda name, a: ToolCall(name, a, json.dumps(a)), texts, arguments)
    | st.builds(ToolCall, texts, st.none(), texts)
    | st.builds(ToolCall, texts, arguments, texts)
)
usages = st.builds(
    Usage,
    st.none() | st.integers(0),
    st.none() | st.integers(0),
    st.none() | st.integers(0),
    st.sampled_from(["server", "none"]),
)
logprobs = st.floats(-1e9, 0)
token_logprobs = st.builds(
    TokenLogprob, texts, logprobs, st.lists(st.tuples(texts, logprobs), max_size=2).map(tuple)
)
likelihoods = st.builds(
    *(Likelihood, texts, st.lists(logprobs, max_size=3).map(tuple)),
    *(usages, st.none() | numbers),
)
answers = st.builds(
    Answer,
    text=texts,
    finish_reason=st.sampled_from(get_args(FinishReason)),
    tool_calls=st.lists(tool_calls, max_size=3).map(tuple),
    reasoning=st.none() | texts,
    usage=usages,
    first_token_ms=st.none() | numbers,
    service_ms=st.none() | numbers,
    logprobs=st.lists(token_logprobs, max_size=2).map(tuple),
    likelihoods=st.lists(likelihoods, max_size=2).map(tuple),
    origin=st.sampled_from(get_args(Origin)),
)
attempts = st.builds(Attempt, numbers, st.none() | texts, st.none() | st.integers(100, 599))


def predictions() -> st.SearchStrategy[Prediction]:
    outcome = st.tuples(answers, st.none()) | st.tuples(st.none(), st.builds(Failure, texts, texts))
    return st.builds(
        lambda trial_id, outcome, attempts, started, queued, total, asked: Prediction(
            trial_id, outcome[0], outcome[1], tuple(attempts), started, queued, total, asked
        ),
        texts,
        outcome,
        st.lists(attempts, max_size=3),
        numbers,
        numbers,
        numbers,
        texts,
    )


@given(predictions())
def test_a_prediction_comes_back_equal_whatever_text_it_holds(prediction: Prediction) -> None:
    line = prediction_to_line(prediction)
    assert prediction_from_line(line) == prediction
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert len(line.decode("ascii").splitlines()) == 1


def test_the_strategy_above_knows_every_field_of_the_records() -> None:
    """Whoever adds a field to these records must carry it through the journal."""
    names = {
        record.__name__: [field.name for field in dataclasses.fields(record)]
        for record in (
            *(Prediction, Answer, Usage, Attempt, Failure, ToolCall),
            *(TokenLogprob, Likelihood),
        )
    }
    assert names == {
        "Prediction": [
            *("trial_id", "answer", "failure", "attempts", "started", "queued_ms", "total_ms"),
            "asked",
        ],
        "Answer": [
            *("text", "finish_reason", "tool_calls", "reasoning", "usage"),
            *("first_token_ms", "service_ms", "logprobs", "likelihoods", "origin"),
        ],
        "Usage": ["prompt", "completion", "cached", "source"],
        "Attempt": ["ms", "error", "status"],
        "Failure": ["reason", "message"],
        "ToolCall": ["name", "arguments", "raw"],
        "TokenLogprob": ["token", "logprob", "top"],
        "Likelihood": ["continuation", "token_logprobs", "usage", "service_ms"],
    }


def test_a_surrogate_pair_in_two_halves_comes_back_as_its_character() -> None:
    prediction = Prediction("s::c::i", Answer("\ud83d\ude00", "stop"), None)
    answer = prediction_from_line(prediction_to_line(prediction)).answer
    assert answer is not None
    assert answer.text == "\U0001f600"


def test_an_answer_has_the_shape_of_a_batch_result(samples: Any) -> None:
    line = json.loads(prediction_to_line(samples.answered("s::c::i")))
    assert line["custom_id"] == "s::c::i"
    assert line["error"] is None
    assert line["response"]["status_code"] == 200
    body = line["response"]["body"]
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "42"}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {
        "prompt_tokens": 31,
        "completion_tokens": 9,
        "total_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 12},
    }


def test_a_failure_has_an_error_and_no_response(samples: Any) -> None:
    line = json.loads(prediction_to_line(samples.failed("s::c::i")))
    assert line["response"] is None
    assert line["error"] == {"code": "timeout", "message": "no answer in 60 s"}


def test_a_request_is_a_line_of_a_batch_file() -> None:
    line = json.loads(request_to_line("s::c::i", {"messages": []}))
    assert line == {
        "custom_id": "s::c::i",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": []},
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "Expecting value"),
        (b"[]", "no batch result"),
        (b"{}", "it has no 'llmeval'"),
        (b'{"\xff": 1}', "codec"),
        (b'{"custom_id": "x", "llmeval": {}, "response": null, "error": null}', "never both"),
        (
            b'{"custom_id": 7, "llmeval": {"attempts": []}, "response": null, "error": {}}',
            "7 is no text",
        ),
    ],
)
def test_a_line_that_is_no_result_is_refused_with_the_reason(line: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prediction_from_line(line)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("llmeval started", None, "None is no number"),
        ("llmeval total_ms", "12", "'12' is no number"),
        ("llmeval queued_ms", True, "True is no number"),
        ("llmeval usage_source", 3, "3 is no text"),
        ("llmeval origin", "dream", "'dream' is none of asked, cache, recording"),
        ("llmeval service_ms", [], r"\[\] is no number"),
        ("llmeval attempts 0 status", "200", "'200' is no whole number"),
        ("response body usage completion_tokens", "x", "'x' is no whole number"),
        ("response body usage prompt_tokens", -2, "-2 is no whole number of 0 or more"),
        ("llmeval total_ms", float("nan"), "nan is no number"),
        ("llmeval attempts 0 ms", float("inf"), "inf is no number"),
        ("response body usage prompt_tokens", 1.5, "1.5 is no whole number"),
        ("response body choices 0 finish_reason", [], r"\[\] is no text"),
        ("response body choices 0 message reasoning_content", 1, "1 is no text"),
    ],
)
def test_a_value_of_another_kind_is_refused(
    path: str, value: object, words: str, samples: Any
) -> None:
    line = json.loads(prediction_to_line(samples.answered("s::m::1")))
    *inner, last = [int(key) if key.isdecimal() else key for key in path.split()]
    place = line
    for key in inner:
        place = place[key]
    place[last] = value
    with pytest.raises(ValueError, match=words):
        prediction_from_line(json.dumps(line).encode())


@pytest.mark.parametrize(
    ("body", "url"),
    [({"messages": []}, "/v1/chat/completions"), ({"prompt": "a"}, "/v1/completions")],
    ids=["chat", "completion"],
)
def test_a_request_says_where_it_belongs(body: dict[str, Any], url: str) -> None:
    assert json.loads(request_to_line("a", body)) == {
        "custom_id": "a",
        "method": "POST",
        "url": url,
        "body": body,
    }
