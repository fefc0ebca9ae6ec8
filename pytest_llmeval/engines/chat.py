"""OpenAI's chat format, both ways: requests into bodies, bodies into answers. Pure.

Field names are those of the OpenAI chat completions API and of llama.cpp's server, which adds
`timings`, `reasoning_content` and sampling keys of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast, get_args

from pytest_llmeval.engines.refusals import quote, without, words_of
from pytest_llmeval.errors import BadAnswer, Unsupported
from pytest_llmeval.records import Answer, FinishReason, Request, ToolCall, Usage

_FINISH_REASONS = get_args(FinishReason)
_OPENAI_SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
_LLAMA_CPP_SAMPLING = ("top_k", "min_p", "repeat_penalty")
_LONGEST_VALUE = 200
_LONGEST_MS = 1e12

_encode = json.JSONEncoder(separators=(",", ":")).encode


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
    return _encode(body).encode("ascii")


# Answers ------------------------------------------------------------------------------------------


def answer_from_chat(body: bytes, *, secret: str | None = None) -> Answer:
    """Read the body of a reply with status 200.

    Raises `BadAnswer` for anything that is not what the API promises, quoting how the body begins;
    `secret` is taken out of the quotation.
    """
    try:
        return _answer(_json_object(body))
    except _Unexpected as error:
        problem, beginning = without(str(error), secret), quote(body, secret=secret)
        raise BadAnswer(f"The answer cannot be used: {problem}. It begins: {beginning}") from None


class _Unexpected(Exception):
    """Says what is wrong with a body, for `answer_from_chat` to complete."""


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _Unexpected("it is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _Unexpected("it is not JSON") from error
    if not isinstance(data, dict):
        raise _Unexpected(f"it is {_kind(data)}, not an object")
    return data


def _answer(data: dict[str, Any]) -> Answer:
    choice = _first_choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _Unexpected(f"choices[0].message is {_kind(message)}, not an object")
    timings = _optional(data, "timings", dict) or {}
    first_token_ms = _milliseconds(timings, "prompt_ms")
    writing_ms = _milliseconds(timings, "predicted_ms")
    return Answer(
        text=_optional(message, "content", str) or "",
        finish_reason=_finish_reason(choice.get("finish_reason")),
        tool_calls=_tool_calls(message),
        reasoning=_optional(message, "reasoning_content", str),
        usage=_usage(_optional(data, "usage", dict), timings),
        first_token_ms=first_token_ms,
        service_ms=_sum(first_token_ms, writing_ms),
    )


def _first_choice(data: dict[str, Any]) -> dict[str, Any]:
    if "choices" not in data:
        error = f" but an error: {words_of(data)}" if "error" in data else ""
        raise _Unexpected(f"it has no choices{error}")
    choices = data["choices"]
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _Unexpected("choices is not a list that begins with an object")
    return cast(dict[str, Any], choices[0])


def _finish_reason(value: object) -> FinishReason:
    if value not in _FINISH_REASONS:
        known = ", ".join(_FINISH_REASONS)
        raise _Unexpected(
            f"finish_reason is {json.dumps(value)[:_LONGEST_VALUE]}, not one of {known}"
        )
    return cast(FinishReason, value)


def _tool_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = _optional(message, "tool_calls", list)
    return tuple(_tool_call(call) for call in calls) if calls else ()


def _tool_call(call: object) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise _Unexpected("an entry of tool_calls has no function with a name")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return ToolCall(name, _recordable(arguments), _encode(arguments))
    if isinstance(arguments, str):
        return ToolCall(name, _parsed_arguments(arguments), arguments)
    return ToolCall(name, None, "" if arguments is None else _encode(arguments))


def _parsed_arguments(raw: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError, _Unexpected):
        return None
    return _recordable(value) if isinstance(value, dict) else None


def _recordable(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return None instead of arguments with a number such as 1e999: JSON that reads as infinity,
    which no JSON can hold again.
    """
    try:
        json.dumps(arguments, allow_nan=False)
    except ValueError:
        return None
    return arguments


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read."""
    raise _Unexpected(f"it holds {name}, which is not JSON")


def _usage(usage: dict[str, Any] | None, timings: dict[str, Any]) -> Usage:
    if usage is None:
        return Usage()
    details = _optional(usage, "prompt_tokens_details", dict) or {}
    cached = _count(timings, "cache_n")
    return Usage(
        prompt=_count(usage, "prompt_tokens"),
        completion=_count(usage, "completion_tokens"),
        cached=cached if cached is not None else _count(details, "cached_tokens"),
        source="server",
    )


def _count(data: dict[str, Any], key: str) -> int | None:
    value = _optional(data, key, int)
    if value is not None and (isinstance(value, bool) or value < 0):
        raise _Unexpected(f"{key} is {json.dumps(value)}, not a number of tokens")
    return cast("int | None", value)


def _milliseconds(timings: dict[str, Any], key: str) -> float | None:
    value = timings.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unexpected(f"timings.{key} is {_kind(value)}, not a number")
    if not 0 <= value < _LONGEST_MS:
        raise _Unexpected(f"timings.{key} is {value}, not a time")
    return float(value)


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null or missing",
}


def _kind(value: object) -> str:
    return _KINDS[type(value)]


def _optional(data: dict[str, Any], key: str, expected: type) -> Any:
    """Return a field of the expected type, None when it is null or missing."""
    value = data.get(key)
    if value is not None and not isinstance(value, expected):
        raise _Unexpected(f"{key} is {_kind(value)}, not {_KINDS[expected]}")
    return value
