"""Replies with another status than 200, into errors that say what the server said."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from pytest_llmeval.engines.refusals import error_from_reply
from pytest_llmeval.errors import (
    BadAnswer,
    ContextOverflow,
    EndpointBusy,
    EngineError,
    RequestRefused,
    UnknownModel,
    WrongKey,
)
from pytest_llmeval.redaction import Redactor

NOW = 1_795_000_000.0


def error_of(status: int, body: object = None, **headers: str) -> EngineError:
    """Read a refusal at a fixed time; the body is sent as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_reply(status, named, content, now=lambda: NOW, secret="sk-secret")


WAY_OUT = "give the model a larger context, `context` in the config or an option of its server, or"


def test_too_long_a_prompt_is_told_in_the_servers_own_sentence_with_the_way_out() -> None:
    sentence = "request (2019 tokens) exceeds the available context size (256 tokens)"
    kind, sizes = "exceed_context_size_error", {"n_prompt_tokens": 2019, "n_ctx": 256}
    error = error_of(400, {"error": {"code": 400, "message": sentence, "type": kind, **sizes}})
    assert isinstance(error, ContextOverflow)
    assert str(error).startswith(f"HTTP 400: {sentence} ({WAY_OUT} ask less: a shorter prompt")
    assert (error.status, error.retryable, error.reason) == (400, False, "context_overflow")


def test_sizes_that_the_sentence_lacks_are_added() -> None:
    kind, sizes = "exceed_context_size_error", {"n_prompt_tokens": 2019, "n_ctx": 256}
    error = error_of(400, {"error": {"message": "too long", "type": kind, **sizes}})
    assert f"(the prompt has 2,019 tokens, the context 256: {WAY_OUT}" in str(error)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "This model's maximum context length is 4096 tokens. However, you"}),
        (400, {"message": "no", "code": "context_length_exceeded"}),
        (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}),
        (400, {"message": "input length and `max_tokens` exceed context limit: 199 + 82 > 200"}),
        (400, "the input length exceeds the context length"),
        (400, {"message": "Trying to keep the first 5 tokens when context the overflows."}),
        (413, {"message": "request is too large for the context window"}),
        (500, {"message": "the request exceeds the available context size"}),
    ],
)
def test_every_servers_words_for_too_long_a_prompt_are_known(status: int, error: object) -> None:
    assert type(error_of(status, {"error": error})) is ContextOverflow


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, {"message": "The model `x` does not exist.", "code": "model_not_found"}),
        (404, {"message": "The model `x` does not exist."}),
        (404, 'model "x" not found, try pulling it first'),
        (404, {"type": "not_found_error", "message": "model: x"}),
        (400, {"message": "Invalid model identifier"}),
        (400, {"message": "no such model: x"}),
    ],
)
def test_every_servers_words_for_an_unknown_model_are_known(status: int, error: object) -> None:
    told = error_of(status, {"error": error})
    assert type(told) is UnknownModel
    assert (told.reason, told.retryable) == ("unknown_model", False)
    assert "(check the model's `name` in the config: it must be one that the endpoint" in str(told)


@pytest.mark.parametrize(
    "words",
    [
        "the context must be a positive number",
        "temperature is too large",
        "Failed to parse grammar",
        "File Not Found",
        "the model crashed",
    ],
)
def test_other_words_are_a_refusal_and_no_more(words: str) -> None:
    for status in (400, 404, 500):
        assert type(error_of(status, {"error": words})) is RequestRefused


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_does_not_open_is_a_wrong_key(status: int) -> None:
    error = error_of(status, {"error": "no"})
    assert type(error) is WrongKey
    assert str(error) == f"HTTP {status}: no (check the API key that the config names)"
    assert (error.reason, error.retryable) == ("wrong_key", False)


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
def test_a_busy_endpoint_is_worth_asking_again(status: int) -> None:
    error = error_of(status, {"error": "busy"})
    assert isinstance(error, EndpointBusy)
    assert (error.status, error.retryable, error.retry_after) == (status, True, None)


def test_a_server_that_loads_its_model_is_busy() -> None:
    body = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    error = error_of(503, body)
    assert isinstance(error, EndpointBusy)
    assert str(error) == "HTTP 503: Loading model"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("-3", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert error_of(429, {}, retry_after=value).retry_after == seconds
    assert error_of(503, {}, retry_after=value).retry_after == seconds


def test_how_long_a_server_wants_to_be_left_alone_is_told() -> None:
    told = str(error_of(429, {"error": "the quota of the day"}, retry_after="86400"))
    assert told == "HTTP 429: the quota of the day (it asks to be left alone for 86,400 s)"
    assert str(error_of(429, {"error": "later"}, retry_after="0")) == "HTTP 429: later"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 500, 501])
def test_any_other_refusal_is_final(status: int) -> None:
    error = error_of(status, {"error": "no"})
    assert isinstance(error, RequestRefused)
    assert not error.retryable
    assert error.status == status


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ({"error": "no such model"}, "no such model"),
        ({"object": "error", "message": "no such model", "code": 500}, "no such model"),
        ({"detail": "no such model"}, "no such model"),
        ({"error": {"code": 7}}, '{"error": {"code": 7}}'),
        ({"detail": [{"loc": ["body"]}]}, '{"detail": [{"loc": ["body"]}]}'),
        ({"error": None}, '{"error": null}'),
        ([1], "[1]"),
        (b"<html><h1>Bad\n Gateway</h1>", "<html><h1>Bad Gateway</h1>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 200 + "..."),
        (b"", "(nothing)"),
    ],
    ids=range(12),
)
def test_the_servers_words_are_found_in_every_shape(body: object, words: str) -> None:
    assert str(error_of(500, body)) == f"HTTP 500: {words}"


KEY = "KEYabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ"


@pytest.mark.parametrize("before", [160, 190, 950, 990])
@pytest.mark.parametrize("shape", ["sentence", "bare"])
def test_a_key_that_is_cut_in_two_is_taken_out_by_whoever_knows_it(shape: str, before: int) -> None:
    text = "y" * before + KEY
    error = error_of(400, {"error": {"message": text}} if shape == "sentence" else text.encode())
    assert KEY[:8] not in Redactor([KEY]).text(str(error))


def test_a_refused_key_points_to_the_config_and_is_not_shown() -> None:
    error = error_of(401, {"error": {"message": "Incorrect API key provided: sk-secret."}})
    assert str(error) == (
        "HTTP 401: Incorrect API key provided: [redacted]. "
        "(check the API key that the config names)"
    )


@pytest.mark.parametrize("body", [b"key sk-secret", {"error": "key sk-secret"}])
def test_the_key_is_never_shown(body: object) -> None:
    assert str(error_of(500, body)) == "HTTP 500: key [redacted]"


def test_a_missing_page_points_to_the_url() -> None:
    error = error_of(404, {"error": {"message": "File Not Found"}})
    assert str(error) == (
        "HTTP 404: File Not Found (check the url, and the model's name if one is given)"
    )


def test_a_redirection_says_where_to() -> None:
    error = error_of(307, b"", location="https://host/v1")
    assert isinstance(error, RequestRefused)
    assert "it redirects to https://host/v1: put the final address into the config" in str(error)


def test_success_without_an_answer_is_a_bad_answer() -> None:
    assert isinstance(error_of(204, b""), BadAnswer)


def test_a_server_that_repeats_the_prompt_is_cut_short() -> None:
    assert len(str(error_of(400, {"error": "x" * 50_000}))) < 1100
