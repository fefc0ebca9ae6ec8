"""The table of failure kinds: what a server can do wrong, and under which word a run counts it.

`tests/standins/faulty.py` plays each of them. None is ever an answer that somebody could take for
the model's; what is worth asking again is asked again, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_llmeval.records import Answer, Usage

PROPER = Answer("42", "stop", usage=Usage(21, 2, source="server"))


@dataclass(frozen=True)
class Kind:
    """A failure: its reason, whether it is worth asking again, and words of its message."""

    reason: str
    again: bool
    words: str


def refused(words: str) -> Kind:
    return Kind("refused", again=False, words=words)


def bad(words: str) -> Kind:
    return Kind("bad_answer", again=False, words=words)


def busy(words: str) -> Kind:
    return Kind("busy", again=True, words=words)


def unreachable(words: str) -> Kind:
    return Kind("unreachable", again=True, words=words)


TIMEOUT = Kind("timeout", again=True, words="gave no complete answer within")
WRONG_KEY = Kind("wrong_key", again=False, words="(check the API key that the config names)")
OVERFLOW = Kind(
    "context_overflow", again=False, words="(give the model a larger context, `context`"
)
CUT = "closed the connection in the middle of an answer, after"

FAILURES: Mapping[str, Kind] = {
    "html_200": bad("it is not JSON. It begins: <!doctype html><title>Sign in"),
    "html_404": refused("HTTP 404: <!doctype html><title>Sign in</title> (check the url, and the"),
    "html_500": refused("HTTP 500: <!doctype html>"),
    "html_502": busy("HTTP 502: <!doctype html>"),
    "no_content_204": bad("HTTP 204: (nothing)"),
    "redirect_307": refused("(it redirects to https://host/v1: put the final address into the"),
    "invalid_400": refused("HTTP 400: temperature must be a number"),
    "wrong_key_401": WRONG_KEY,
    "forbidden_403": WRONG_KEY,
    "unknown_model_404": Kind("unknown_model", again=False, words="(check the model's `name` in"),
    "too_large_413": refused("HTTP 413: payload of 9 MB"),
    "unprocessable_422": refused('HTTP 422: {"detail": [{"loc": ["body"]}]}'),
    "limit_429": busy("HTTP 429: slow down"),
    "retry_after_429": busy("HTTP 429: slow down"),
    "error_500": refused("HTTP 500: Compute error"),
    "not_supported_501": refused("HTTP 501: not supported"),
    "loading_503": busy("HTTP 503: Loading model"),
    "gateway_504": busy("HTTP 504: upstream timed out"),
    "overloaded_529": busy("HTTP 529: Overloaded"),
    "overflow_llama_cpp": replace(OVERFLOW, words="request (908 tokens) exceeds the available"),
    "overflow_vllm": OVERFLOW,
    "closed_at_once": unreachable("closed the connection before it answered"),
    "reset_at_once": unreachable("the connection before it answered"),
    "cut_head": unreachable(CUT),
    "cut_body": unreachable(CUT),
    "reset_body": unreachable("the connection in the middle of an answer"),
    "cut_chunks": unreachable(CUT),
    "hang": TIMEOUT,
    "hang_after_headers": TIMEOUT,
    "hang_in_body": TIMEOUT,
    "drip": TIMEOUT,
    "not_http": bad("answered with something that is not HTTP"),
    "garbage_chunks": bad("answered with something that is not HTTP"),
    "garbage_length": bad("answered with something that is not HTTP"),
    "endless_headers": bad("sent headers of more than 65,536 bytes"),
    "endless_body": bad("sent an answer of more than 67,108,864 bytes"),
    "empty_body": bad("it is not JSON. It begins: (nothing)"),
    "half_json": bad('it is not JSON. It begins: {"choices": [{'),
    "invalid_utf8": bad("it is not UTF-8"),
    "unasked_gzip": bad("it is compressed (gzip), which nobody asked for"),
    "json_list": bad("it is a list, not an object"),
    "nan": bad("it holds NaN, which is not JSON"),
    "error_with_200": bad("it has no choices but an error: out of memory"),
    "no_choices": bad("it has no choices"),
    "empty_choices": bad("choices is not a list that begins with an object"),
    "null_message": bad("choices[0].message is null or missing, not an object"),
    "content_is_list": bad("content is a list, not a string"),
    "no_finish_reason": bad("finish_reason is null, not one of stop, length, tool_calls, content"),
    "unknown_finish_reason": bad('finish_reason is "eos", not one of stop'),
    "usage_negative": bad("prompt_tokens is -1, which cannot be"),
    "usage_text": bad("prompt_tokens is a string, not a whole number"),
    "nameless_call": bad("an entry of tool_calls has no function with a name"),
}

STREAM_FAILURES: Mapping[str, Kind] = {
    "stream_401": WRONG_KEY,
    "stream_503": busy("HTTP 503: Loading model"),
    "stream_overflow": OVERFLOW,
    "stream_json_instead": bad("a stream of events was asked for, and what came is application/js"),
    "stream_html": bad("what came is text/html. It begins: <!doctype html>"),
    "stream_untyped": bad("a stream of events was asked for, and what came is untyped"),
    "stream_closed": unreachable(CUT),
    "stream_reset": unreachable("the connection in the middle of an answer"),
    "stream_ends_in_mid_answer": unreachable("The stream ended in the middle of an answer"),
    "stream_without_finish_reason": unreachable("The stream ended in the middle of an answer"),
    "stream_without_done": bad("its stream ended without data: [DONE]"),
    "stream_of_nothing": unreachable("The stream ended in the middle of an answer"),
    "stream_hangs": TIMEOUT,
    "stream_of_pings": TIMEOUT,
    "endless_stream": bad("sent an answer of more than 67,108,864 bytes"),
    "stream_bad_frame": bad("it is not JSON. It begins: {not json"),
    "stream_invalid_utf8": bad("it is not UTF-8"),
    "stream_nan": bad("it holds NaN, which is not JSON"),
    "stream_garbage_chunks": bad("answered with something that is not HTTP"),
    "stream_error": refused("HTTP 200, and then an error in the stream: Compute error"),
    "stream_overloaded": busy("HTTP 200, and then an error in the stream"),
    "stream_second_choice": bad("it has a second choice, and one was asked for"),
    "stream_choice_twice": bad("it has a second choice, and one was asked for"),
    "stream_goes_on": bad("it goes on behind its finish_reason"),
    "stream_usage_text": bad("prompt_tokens is a string, not a whole number"),
    "stream_call_twice": bad("tool call 0 begins a second time"),
    "stream_call_without_index": bad("a piece of a tool call has no index"),
}

#: What is odd and yet an answer, with what is to be seen of it.
ANSWERS: Mapping[str, Answer] = {
    "none": PROPER,
    "closed_while_idle": PROPER,
    "wrong_content_type": PROPER,
    "usage_missing": replace(PROPER, usage=Usage()),
    "empty_answer": replace(PROPER, text=""),
    "content_filter": replace(PROPER, text="", finish_reason="content_filter"),
    "cut_by_limit": replace(PROPER, text="So far", finish_reason="length"),
}
STREAM_ANSWERS: Mapping[str, Answer] = {
    "none": PROPER,
    "stream_hangs_behind_done": PROPER,
    "stream_empty_answer": Answer("", "stop"),
}
CALLS_WITHOUT_JSON = ("call_without_json", "stream_call_without_json")
