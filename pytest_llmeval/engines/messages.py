"""Anthropic's Messages format, both ways: requests into bodies, bodies into answers. Pure.

Field names and values are those of the Messages API, version 2023-06-01. llama.cpp's server speaks
it too, as do gateways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.reading import (
    Unexpected,
    call_of,
    count,
    kind_of,
    optional,
    read_reply,
)
from pytest_llmeval.engines.refusals import shortened, words_of
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import Answer, FinishReason, Message, Request, ToolCall, Usage

_SAMPLING = ("temperature", "top_p", "top_k")
_NOT_SAMPLING = ("min_p", "repeat_penalty", "presence_penalty", "frequency_penalty", "seed")
_HOTTEST = 1.0
_NO_ARGUMENTS = {"type": "object", "properties": {}}
_SILENT_BLOCKS = frozenset({"redacted_thinking"})
"""Blocks that hold nothing to read."""

_FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


# Requests -----------------------------------------------------------------------------------------


def messages_body(request: Request, model: str | None) -> dict[str, Any]:
    """Return the body of a request for a message; `refuse_for_messages` says whether there is one.

    System messages at the beginning become `system`; functions become tools with an input schema.
    """
    sampling = request.sampling
    system, turns = _system_and_turns(request.messages)
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["max_tokens"] = sampling.max_tokens
    if len(system) == 1:
        body["system"] = system[0].content
    elif system:
        body["system"] = [{"type": "text", "text": message.content} for message in system]
    body["messages"] = [{"role": turn.role, "content": turn.content} for turn in turns]
    for key in _SAMPLING:
        value = getattr(sampling, key)
        if value is not None:
            body[key] = value
    if sampling.stop:
        body["stop_sequences"] = list(sampling.stop)
    if request.tools:
        body["tools"] = [_tool(tool["function"]) for tool in request.tools]
        body["tool_choice"] = {"type": "auto"}
    return body


def refuse_for_messages(request: Request) -> None:
    """Raise `Unsupported` for a request that the Messages API cannot express, naming all of it."""
    asked = list(_inexpressible(request))
    if asked:
        raise Unsupported(
            f"The engine anthropic has no way of {' or of '.join(asked)}: the Messages API cannot "
            f"say it. Leave it out, or use another engine."
        )


def _inexpressible(request: Request) -> list[str]:
    sampling = request.sampling
    keys = [key for key in _NOT_SAMPLING if getattr(sampling, key) is not None]
    seed = " (write seed: null, for 0 is the default)" if "seed" in keys else ""
    _, turns = _system_and_turns(request.messages)
    hot = sampling.temperature is not None and sampling.temperature > _HOTTEST
    each: Sequence[tuple[object, str]] = (
        (keys, f"sampling by {', '.join(keys)}{seed}"),
        (hot, f"a temperature of {sampling.temperature}, above {_HOTTEST:g}"),
        (request.form == "completion", "continuing a text without a chat template"),
        (request.json_schema is not None, "holding an answer to a JSON schema"),
        (request.grammar is not None, "holding an answer to a grammar"),
        (request.top_logprobs is not None, "giving log probabilities"),
        (request.continuations, "saying how likely a given text is"),
        (not request.cache_prompt, "turning the prompt cache off (exact: true)"),
        (any(turn.role == "system" for turn in turns), "a system message behind other messages"),
    )
    return [words for found, words in each if found]


def _system_and_turns(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The system messages at the beginning, and all the rest."""
    first = next((n for n, m in enumerate(messages) if m.role != "system"), len(messages))
    return messages[:first], messages[first:]


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: function[key] for key in ("name", "description", "strict") if key in function}
    return {**kept, "input_schema": function.get("parameters") or _NO_ARGUMENTS}


# Answers ------------------------------------------------------------------------------------------


def answer_from_messages(body: bytes, *, secret: str | None = None) -> Answer:
    """Read the body of a reply with status 200.

    Raises `BadAnswer` for anything that is not what the API promises, quoting how the body begins;
    `secret` is taken out of the quotation.
    """
    return read_reply(body, answer_from_message, secret)


def answer_from_message(data: dict[str, Any]) -> Answer:
    """Read a message that is JSON already; raises `Unexpected`."""
    blocks = _blocks(data)
    texts = [_text_in(block, "text") for block in blocks if block["type"] == "text"]
    thoughts = [_text_in(block, "thinking") for block in blocks if block["type"] == "thinking"]
    return Answer(
        text="".join(texts),
        finish_reason=_finish_reason(data.get("stop_reason")),
        tool_calls=tuple(_call(block) for block in blocks if block["type"] == "tool_use"),
        reasoning="".join(thoughts) if thoughts else None,
        usage=_usage(optional(data, "usage", dict)),
    )


def _blocks(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "content" not in data:
        error = f" but an error: {words_of(data)}" if "error" in data else ""
        raise Unexpected(f"it has no content{error}")
    content = data["content"]
    if not isinstance(content, list):
        raise Unexpected(f"content is {kind_of(content)}, not a list")
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in ("text", "thinking", "tool_use", *_SILENT_BLOCKS):
            raise Unexpected(f"a block of its content is of the type {kind!r}, unasked")
    return content


def _text_in(block: Mapping[str, Any], key: str) -> str:
    text: str | None = optional(block, key, str)
    return text or ""


def _call(block: Mapping[str, Any]) -> ToolCall:
    name = optional(block, "name", str)
    if not name:
        raise Unexpected("a tool_use has no name")
    return call_of(name, block.get("input"))


def _finish_reason(value: object) -> FinishReason:
    if value == "pause_turn":
        raise Unexpected("the server paused in mid-answer (stop_reason pause_turn)")
    if not isinstance(value, str) or value not in _FINISH_REASONS:
        shown = shortened(repr(value))
        raise Unexpected(f"stop_reason is {shown}, not one of {', '.join(_FINISH_REASONS)}")
    return _FINISH_REASONS[value]


def _usage(usage: dict[str, Any] | None) -> Usage:
    """All tokens of the prompt: the API counts those read from and written to a cache apart."""
    if usage is None:
        return Usage()
    fresh, cached = count(usage, "input_tokens"), count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    return Usage(
        prompt=None if fresh is None else fresh + (cached or 0) + (written or 0),
        completion=count(usage, "output_tokens"),
        cached=cached,
        source="server",
    )
