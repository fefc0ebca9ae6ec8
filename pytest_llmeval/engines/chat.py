"""OpenAI's chat format, both ways: requests into bodies, bodies into answers. Pure.

Field names are those of the OpenAI chat completions API and of llama.cpp's server, which adds
`timings`, `reasoning_content` and sampling keys of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pytest_llmeval.engines.reading import (
    Unexpected,
    bad_answer,
    call_of,
    count,
    encode,
    finish_reason,
    json_object,
    kind_of,
    optional,
)
from pytest_llmeval.engines.refusals import words_of
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import Answer, Request, ToolCall, Usage

_OPENAI_SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
_LLAMA_CPP_SAMPLING = ("top_k", "min_p", "repeat_penalty")
_LONGEST_MS = 1e12


# Requests -----------------------------------------------------------------------------------------


def chat_body(request: Request, model: str | None, *, llama_cpp: bool) -> dict[str, Any]:
    """Return the body of a chat completion: only what was asked for, so that the rest is default.

    `llama_cpp` says that the server understands llama.cpp's own keys; without it they are left
    out, and `refuse_llama_cpp_keys` says whether that is honest.
    """
    sampling = request.sampling
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    for key in _OPENAI_SAMPLING:
        value = getattr(sampling, key)
        if value is not None:
            body[key] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if request.tools:
        body["tools"] = list(request.tools)
        body["tool_choice"] = "auto"
    if llama_cpp:
        body["cache_prompt"] = request.cache_prompt
        for key in _LLAMA_CPP_SAMPLING:
            value = getattr(sampling, key)
            if value is not None:
                body[key] = value
    return body


def refuse_llama_cpp_keys(request: Request) -> None:
    """Raise `Unsupported` for a request that OpenAI's API cannot express.

    Leaving sampling keys out in silence would measure something else than the config says.
    """
    keys = [key for key in _LLAMA_CPP_SAMPLING if getattr(request.sampling, key) is not None]
    asked = [f"sampling by {', '.join(keys)}"] if keys else []
    asked += [] if request.cache_prompt else ["turning the prompt cache off (exact: true)"]
    if asked:
        raise Unsupported(
            f"The engine openai has no way of {' or of '.join(asked)}: OpenAI's API has no such "
            f"key. Leave it out, or use engine: llama-server."
        )


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return the body as JSON; ASCII, so that no text of a dataset can fail to encode."""
    return encode(body).encode("ascii")


# Answers ------------------------------------------------------------------------------------------


def answer_from_chat(body: bytes, *, secret: str | None = None) -> Answer:
    """Read the body of a reply with status 200.

    Raises `BadAnswer` for anything that is not what the API promises, quoting how the body begins;
    `secret` is taken out of the quotation.
    """
    try:
        return answer_from_object(json_object(body))
    except Unexpected as problem:
        raise bad_answer(problem, body, secret) from None


def answer_from_object(data: dict[str, Any]) -> Answer:
    """Read a chat completion that is JSON already; raises `Unexpected`."""
    choice = _first_choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Unexpected(f"choices[0].message is {kind_of(message)}, not an object")
    timings = optional(data, "timings", dict) or {}
    first_token_ms = _milliseconds(timings, "prompt_ms")
    writing_ms = _milliseconds(timings, "predicted_ms")
    return Answer(
        text=optional(message, "content", str) or "",
        finish_reason=finish_reason(choice.get("finish_reason")),
        tool_calls=_tool_calls(message),
        reasoning=optional(message, "reasoning_content", str),
        usage=_usage(optional(data, "usage", dict), timings),
        first_token_ms=first_token_ms,
        service_ms=_sum(first_token_ms, writing_ms),
    )


def _first_choice(data: dict[str, Any]) -> dict[str, Any]:
    if "choices" not in data:
        error = f" but an error: {words_of(data)}" if "error" in data else ""
        raise Unexpected(f"it has no choices{error}")
    choices = data["choices"]
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unexpected("choices is not a list that begins with an object")
    return cast(dict[str, Any], choices[0])


def _tool_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = optional(message, "tool_calls", list)
    return tuple(_tool_call(call) for call in calls) if calls else ()


def _tool_call(call: object) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise Unexpected("an entry of tool_calls has no function with a name")
    return call_of(name, function.get("arguments"))


def _usage(usage: dict[str, Any] | None, timings: dict[str, Any]) -> Usage:
    if usage is None:
        return Usage()
    details = optional(usage, "prompt_tokens_details", dict) or {}
    cached = count(timings, "cache_n")
    return Usage(
        prompt=count(usage, "prompt_tokens"),
        completion=count(usage, "completion_tokens"),
        cached=cached if cached is not None else count(details, "cached_tokens"),
        source="server",
    )


def _milliseconds(timings: dict[str, Any], key: str) -> float | None:
    value = timings.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unexpected(f"timings.{key} is {kind_of(value)}, not a number")
    if not 0 <= value < _LONGEST_MS:
        raise Unexpected(f"timings.{key} is {value}, not a time")
    return float(value)


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
