"""Raw completions, both ways: a text that is continued as it stands, without a chat template. Pure.

Two shapes of answers: OpenAI's /v1/completions, and llama.cpp's own /completion, which alone tells
whether the server has cut the prompt. llama.cpp takes the same body at both.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pytest_llmeval.engines.chat import (
    finish_reason,
    first_choice,
    sampling_body,
    times_of,
    usage_of,
    with_logprobs,
)
from pytest_llmeval.engines.logprobs import (
    alternatives_to_ask,
    check_logprobs,
    logprobs_of_entries,
)
from pytest_llmeval.engines.reading import (
    Unexpected,
    count,
    kind_of,
    optional,
)
from pytest_llmeval.engines.refusals import shortened, words_of
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import Answer, FinishReason, Request, Usage

_STOP_TYPES: dict[str, FinishReason] = {"eos": "stop", "word": "stop", "limit": "length"}


# Requests -----------------------------------------------------------------------------------------


def prompt_of(request: Request) -> str:
    """Return the text to be continued: the user messages, one behind the other, nothing between.

    Raises `Unsupported` for what a text without a chat template has no place for: other roles, and
    tools.
    """
    roles = sorted({message.role for message in request.messages} - {"user"})
    if roles:
        raise Unsupported(
            f"A raw completion has no roles, and this prompt has a message of the {roles[0]}: put "
            f"its text into the prompt, or use form: chat."
        )
    if request.tools:
        raise Unsupported("A raw completion cannot offer tools: use form: chat.")
    return "".join(message.content for message in request.messages)


def completion_body(request: Request, model: str | None, *, llama_cpp: bool) -> dict[str, Any]:
    """Return the body of a raw completion: only what was asked for, so that the rest is default.

    `llama_cpp` says that the server understands llama.cpp's own keys. Raises as `prompt_of`.
    """
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["prompt"] = prompt_of(request)
    body |= sampling_body(request, llama_cpp=llama_cpp)
    if llama_cpp:
        return body | _llama_cpp_keys(request)
    if request.top_logprobs is not None:
        body["logprobs"] = alternatives_to_ask(request.top_logprobs)
    return body


def _llama_cpp_keys(request: Request) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if request.json_schema is not None:
        keys["json_schema"] = dict(request.json_schema)
    if request.grammar is not None:
        keys["grammar"] = request.grammar
    if request.top_logprobs is not None:
        keys["n_probs"] = alternatives_to_ask(request.top_logprobs)
    return keys


# Answers ------------------------------------------------------------------------------------------


def completion_answer(data: dict[str, Any], top_logprobs: int | None = None) -> Answer:
    """Read a completion that is JSON already; raises `Unexpected`."""
    choice = first_choice(data)
    timings = optional(data, "timings", dict) or {}
    first_token_ms, service_ms = times_of(timings)
    answer = Answer(
        text=_text(choice, "text"),
        finish_reason=finish_reason(choice.get("finish_reason")),
        usage=usage_of(optional(data, "usage", dict), timings),
        first_token_ms=first_token_ms,
        service_ms=service_ms,
    )
    return with_logprobs(answer, choice, top_logprobs)


def llama_cpp_answer(
    data: dict[str, Any], max_tokens: int, top_logprobs: int | None = None
) -> Answer:
    """Read a completion of llama.cpp's that is JSON already; raises `Unexpected`.

    An answer to a prompt of which the server has cut something off is none.
    """
    if data.get("error") is not None:
        raise Unexpected(f"it is no completion but an error: {words_of(data)}")
    timings = optional(data, "timings", dict) or {}
    first_token_ms, service_ms = times_of(timings)
    usage = _usage(data, timings)
    answer = Answer(
        text=_text(data, "content"),
        finish_reason=_finish_reason(data, usage, max_tokens),
        usage=usage,
        first_token_ms=first_token_ms,
        service_ms=service_ms,
    )
    if top_logprobs is None:
        return answer
    entries = optional(data, "completion_probabilities", list) or ()
    return check_logprobs(replace(answer, logprobs=logprobs_of_entries(entries, top_logprobs)))


def _finish_reason(data: dict[str, Any], usage: Usage, max_tokens: int) -> FinishReason:
    """How it ended. `truncated` is true where the context was full, which is an end like that by
    max_tokens as long as it came first, and where something was cut off the prompt.
    """
    stop_type = data.get("stop_type")
    if not isinstance(stop_type, str) or stop_type not in _STOP_TYPES:
        known = ", ".join(_STOP_TYPES)
        raise Unexpected(f"stop_type is {shortened(json.dumps(stop_type))}, not one of {known}")
    ran_full = stop_type == "limit" and (usage.completion or 0) < max_tokens
    if data.get("truncated") is True and not ran_full:
        raise Unexpected(
            "the server has cut off a part of the prompt (truncated: true), so that this is the "
            "answer to another question; give the model more context, and no --context-shift"
        )
    return _STOP_TYPES[stop_type]


def _usage(data: dict[str, Any], timings: dict[str, Any]) -> Usage:
    prompt, completion = count(data, "tokens_evaluated"), count(data, "tokens_predicted")
    if prompt is None and completion is None:
        return Usage()
    return Usage(prompt, completion, count(timings, "cache_n"), source="server")


def _text(data: dict[str, Any], key: str) -> str:
    text = data.get(key)
    if not isinstance(text, str):
        raise Unexpected(f"{key} is {kind_of(text)}, not a string")
    return text
