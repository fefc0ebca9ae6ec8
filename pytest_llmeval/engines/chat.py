"""OpenAI's chat format, both ways: requests into bodies, bodies into answers. Pure.

Field names are those of the OpenAI chat completions API and of llama.cpp's server, which adds
`timings`, `reasoning_content` and sampling keys of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from pytest_llmeval.engines.logprobs import (
    alternatives_to_ask,
    check_logprobs,
    logprobs_of_choice,
)
from pytest_llmeval.engines.reading import (
    Unexpected,
    call_of,
    count,
    encode,
    kind_of,
    milliseconds,
    optional,
    read_reply,
)
from pytest_llmeval.engines.refusals import shortened, words_of
from pytest_llmeval.errors import Unsupported
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

REASONING = ("reasoning_content", "reasoning")
"""What servers call a model's thoughts; some send both, and then the same."""


# Requests -----------------------------------------------------------------------------------------


def chat_body(
    request: Request,
    model: str | None,
    *,
    llama_cpp: bool,
    template_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of a chat completion: only what was asked for, so that the rest is default.

    `llama_cpp` says that the server understands llama.cpp's own keys; without it they are left
    out, and `refuse_llama_cpp_keys` says whether that is honest. `template_kwargs` are what the
    model's chat template is given beside the messages.
    """
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    body |= sampling_body(request, llama_cpp=llama_cpp)
    if request.tools:
        body["tools"] = list(request.tools)
        body["tool_choice"] = "auto"
    if request.json_schema is not None:
        body["response_format"] = _response_format(request.json_schema)
    if request.grammar is not None and llama_cpp:
        body["grammar"] = request.grammar
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": alternatives_to_ask(request.top_logprobs)}
    if template_kwargs:
        body["chat_template_kwargs"] = dict(template_kwargs)
    return body


def sampling_body(request: Request, *, llama_cpp: bool) -> dict[str, Any]:
    """Return the keys that say how to write, the same for chats and raw completions."""
    sampling = request.sampling
    keys = _OPENAI_SAMPLING + (_LLAMA_CPP_SAMPLING if llama_cpp else ())
    body: dict[str, Any] = {
        key: value for key in keys if (value := getattr(sampling, key)) is not None
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if llama_cpp:
        body["cache_prompt"] = request.cache_prompt
    return body


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"type": "json_schema", "json_schema": named}


def refuse_llama_cpp_keys(request: Request) -> None:
    """Raise `Unsupported` for a request that OpenAI's API cannot express.

    Leaving sampling keys out in silence would measure something else than the config says.
    """
    keys = [key for key in _LLAMA_CPP_SAMPLING if getattr(request.sampling, key) is not None]
    asked = [f"sampling by {', '.join(keys)}"] if keys else []
    asked += [] if request.cache_prompt else ["turning the prompt cache off (exact: true)"]
    asked += [] if request.grammar is None else ["holding an answer to a grammar"]
    if request.form == "completion" and request.json_schema is not None:
        asked.append("holding a raw completion to a json_schema")
    if asked:
        raise Unsupported(
            f"The engine openai has no way of {' or of '.join(asked)}: OpenAI's API has no such "
            f"key. Leave it out, or use engine: llama-server."
        )


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return the body as JSON; ASCII, so that no text of a dataset can fail to encode."""
    return encode(body).encode("ascii")


# Answers ------------------------------------------------------------------------------------------


def answer_from_chat(
    body: bytes, *, secret: str | None = None, top_logprobs: int | None = None
) -> Answer:
    """Read the body of a reply with status 200.

    With `top_logprobs` the answer must hold log probabilities. Raises `BadAnswer` for anything that
    is not what the API promises, quoting how the body begins; `secret` is taken out of the
    quotation.
    """
    return read_reply(body, lambda data: chat_answer(data, top_logprobs), secret)


def chat_answer(data: dict[str, Any], top_logprobs: int | None = None) -> Answer:
    """Read a chat completion that is JSON already; raises `Unexpected`."""
    choice = first_choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Unexpected(f"choices[0].message is {kind_of(message)}, not an object")
    timings = optional(data, "timings", dict) or {}
    first_token_ms, service_ms = times_of(timings)
    answer = Answer(
        text=optional(message, "content", str) or "",
        finish_reason=finish_reason(choice.get("finish_reason")),
        tool_calls=_tool_calls(message),
        reasoning=_reasoning(message),
        usage=usage_of(optional(data, "usage", dict), timings),
        first_token_ms=first_token_ms,
        service_ms=service_ms,
    )
    return with_logprobs(answer, choice, top_logprobs)


def with_logprobs(answer: Answer, choice: dict[str, Any], most: int | None) -> Answer:
    """Return the answer with the log probabilities of its choice, which must be there unless
    `most`, the number of alternatives asked for, is None.
    """
    if most is None:
        return answer
    return check_logprobs(replace(answer, logprobs=logprobs_of_choice(choice, most)))


def first_choice(data: dict[str, Any]) -> dict[str, Any]:
    """Return the one choice of a reply."""
    if "choices" not in data:
        error = f" but an error: {words_of(data)}" if "error" in data else ""
        raise Unexpected(f"it has no choices{error}")
    choices = data["choices"]
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unexpected("choices is not a list that begins with an object")
    return cast(dict[str, Any], choices[0])


def finish_reason(value: object) -> FinishReason:
    """Return how an answer ended, which must be told."""
    if value not in _FINISH_REASONS:
        known = ", ".join(_FINISH_REASONS)
        raise Unexpected(f"finish_reason is {shortened(json.dumps(value))}, not one of {known}")
    return cast(FinishReason, value)


def _reasoning(message: dict[str, Any]) -> str | None:
    """What was thought before the answer, by llama.cpp's name for it or by vLLM's later one."""
    texts = [optional(message, key, str) for key in REASONING]
    return next((text for text in texts if text), None)


def _tool_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = optional(message, "tool_calls", list)
    return tuple(_tool_call(call) for call in calls) if calls else ()


def _tool_call(call: object) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise Unexpected("an entry of tool_calls has no function with a name")
    return call_of(name, function.get("arguments"))


def usage_of(usage: dict[str, Any] | None, timings: dict[str, Any]) -> Usage:
    """Return the tokens that the server has counted, if it has."""
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


def times_of(timings: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return llama.cpp's own milliseconds until the first token, and for the whole answer."""
    first = milliseconds(timings, "prompt_ms")
    writing = milliseconds(timings, "predicted_ms")
    return first, None if first is None or writing is None else first + writing
