"""From the body of a chat completion back to a request: what `chat.py` writes, and what others do.

A key that changes what is answered and that no request of ours can carry is refused by its name,
never left out. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import Message, Request, Sampling

_NUMBERS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
_WITHOUT_EFFECT = frozenset(
    {"model", "user", "metadata", "store", "service_tier", "stream_options"}
)
"""Keys that do not change what is answered."""

_ONLY: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stream": (False,),
    "logprobs": (False,),
    "tool_choice": ("auto",),
    "context_length_exceeded_behavior": ("error",),
}
"""Keys that may be there with a value that every request of ours has."""

_READ = frozenset(
    {
        *("messages", "max_tokens", "max_completion_tokens", "stop", "tools", "cache_prompt"),
        *("response_format", "repeat_penalty", "repetition_penalty", *_NUMBERS),
    }
)


def request_from_chat(body: object, *, max_tokens: int) -> Request:
    """Read a body; `max_tokens` is for one that has none.

    Raises ValueError for what is no chat completion, `Unsupported` for what we cannot ask.
    """
    if not isinstance(body, dict):
        raise ValueError("its body is no object")  # noqa: TRY004 - of the file, not of the call
    _refuse_others(body)
    schema, grammar = _response_format(body.get("response_format"))
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("tools is no list of objects")
    return Request(
        messages=_messages(body.get("messages")),
        sampling=_sampling(body, max_tokens),
        tools=tuple(tools),
        cache_prompt=body.get("cache_prompt") is not False,
        json_schema=schema,
        grammar=grammar,
    )


def _refuse_others(body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        if key in _READ or key in _WITHOUT_EFFECT or value is None:
            continue
        allowed = _ONLY.get(key, ())
        if value not in allowed or isinstance(value, bool) is not isinstance(allowed[0], bool):
            raise Unsupported(f"The key {key!r} (here {value!r:.60}) cannot be asked by this tool")


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("messages is no list with a message in it")
    return tuple(map(_message, value))


def _message(value: object) -> Message:
    if not isinstance(value, dict):
        raise ValueError("a message is no object")  # noqa: TRY004 - of the file, not of the call
    role, others = value.get("role"), set(value) - {"role", "content"}
    if role not in ("system", "user", "assistant") or others:
        told = f"a message by {role!r}" if not others else f"a message with {min(others)!r}"
        raise Unsupported(f"The conversation has {told}, which cannot be asked by this tool")
    return Message(cast(Literal["system", "user", "assistant"], role), _text(value.get("content")))


def _text(content: object) -> str:
    """A message's text, also where it comes as a list of parts that are all text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(cast(list[str], texts))
        raise Unsupported("The conversation has content that is no text (an image, a sound)")
    raise ValueError("a message has no content")


def _sampling(body: Mapping[str, Any], max_tokens: int) -> Sampling:
    longest = body.get("max_completion_tokens") or body.get("max_tokens") or max_tokens
    numbers = {key: body.get(key) for key in _NUMBERS}
    numbers["repeat_penalty"] = body.get("repeat_penalty", body.get("repetition_penalty"))
    for key, value in {"max_tokens": longest, **numbers}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{key} is no number")
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise ValueError("stop is neither a text nor a list of texts")
    return Sampling(max_tokens=longest, stop=tuple(stops), **numbers)


def _response_format(value: object) -> tuple[Mapping[str, Any] | None, str | None]:
    """The JSON schema or the grammar that an answer has to obey, if there is one."""
    if value is None or value == {"type": "text"}:
        return None, None
    if isinstance(value, dict):
        wrapped = value.get("json_schema")
        schema = wrapped.get("schema") if isinstance(wrapped, dict) else value.get("schema")
        if value.get("type") in ("json_schema", "json_object") and isinstance(schema, dict):
            return schema, None
        if value.get("type") == "grammar" and isinstance(value.get("grammar"), str):
            return None, value["grammar"]
    raise Unsupported(f"The response_format {value!r:.80} cannot be asked by this tool")
