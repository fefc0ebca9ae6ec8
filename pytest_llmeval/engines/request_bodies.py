"""From a body back to a request: what `chat.py` and `completion.py` write, and what others do.

A key that changes what is answered and that no request of ours can carry is refused by its name,
never left out. Pure.
"""

from __future__ import annotations

import math
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
_LONGEST = ("max_completion_tokens", "max_tokens")
"""How long an answer may be, by OpenAI's newer word and by everybody's."""

_WITHOUT_EFFECT = frozenset(
    {"model", "user", "metadata", "store", "service_tier", "stream_options"}
)
"""Keys that do not change what is answered."""

_ONLY: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stream": (False,),
    "tool_choice": ("auto",),
    "context_length_exceeded_behavior": ("error",),
}
"""Keys that may be there with a value that every request of ours has."""

_READ = frozenset(
    {
        *("messages", "max_tokens", "max_completion_tokens", "stop", "tools", "cache_prompt"),
        *("response_format", "repeat_penalty", "repetition_penalty", *_NUMBERS),
        *("prompt", "json_schema", "grammar", "logprobs", "top_logprobs", "n_probs"),
        *("continuations", "chat_template_kwargs"),
    }
)


def request_from_body(body: object, *, max_tokens: int) -> Request:
    """Read a body, of a raw completion where it has a `prompt`; `max_tokens` is for one without.

    What it gives the chat template belongs to the model, and is read by `template_kwargs_of`.
    Raises ValueError for what is no completion, `Unsupported` for what we cannot ask.
    """
    if not isinstance(body, dict):
        raise ValueError("its body is no object")  # noqa: TRY004 - of the file, not of the call
    _refuse_others(body)
    is_raw = "prompt" in body
    schema, grammar = _form_of_answers(body)
    return Request(
        messages=_prompt(body) if is_raw else _messages(body.get("messages")),
        sampling=_sampling(body, max_tokens),
        tools=tuple(_objects(body, "tools")),
        cache_prompt=body.get("cache_prompt") is not False,
        form="completion" if is_raw else "chat",
        json_schema=schema,
        grammar=grammar,
        top_logprobs=_top_logprobs(body),
        continuations=_texts(body, "continuations"),
    )


def template_kwargs_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a body gives the model's chat template beside the messages; raises ValueError."""
    given = body.get("chat_template_kwargs") or {}
    if not isinstance(given, dict):
        raise ValueError("chat_template_kwargs is no object")  # noqa: TRY004 - of the file
    return given


def _refuse_others(body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        if key in _READ or key in _WITHOUT_EFFECT or value is None:
            continue
        allowed = _ONLY.get(key, ())
        if value not in allowed or isinstance(value, bool) is not isinstance(allowed[0], bool):
            raise Unsupported(f"The key {key!r} (here {value!r:.60}) cannot be asked by this tool")


def _prompt(body: Mapping[str, Any]) -> tuple[Message, ...]:
    prompt = body["prompt"]
    if not isinstance(prompt, str) or "messages" in body:
        raise ValueError("prompt is no text, or stands beside messages")
    return (Message("user", prompt),)


def _objects(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"{key} is no list of objects")
    return value


def _texts(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{key} is no list of texts")
    return tuple(value)


def _top_logprobs(body: Mapping[str, Any]) -> int | None:
    """How many alternatives are asked for: `logprobs` is a number for raw completions, and says for
    chats whether there are to be any; llama.cpp's own word for them is `n_probs`.
    """
    asked = body.get("logprobs")
    if asked is True:
        asked = body.get("top_logprobs", 0)
    number = body.get("n_probs", asked)
    if number is None or number is False:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError("logprobs is neither a number nor true or false")
    return number


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
    given = [body[key] for key in _LONGEST if body.get(key) is not None]
    longest = given[0] if given else max_tokens
    if type(longest) is not int or longest < 1 or any(other != longest for other in given):
        raise ValueError(f"{' and '.join(_LONGEST)} are not one whole number from 1")
    numbers = {key: body.get(key) for key in _NUMBERS}
    numbers["repeat_penalty"] = body.get("repeat_penalty", body.get("repetition_penalty"))
    for key, value in numbers.items():
        if value is not None and not (type(value) in (int, float) and abs(value) < math.inf):
            raise ValueError(f"{key} is no number")
    stop = body.get("stop")
    stops = (stop,) if isinstance(stop, str) else _texts(body, "stop")
    return Sampling(max_tokens=longest, stop=stops, **numbers)


def _form_of_answers(body: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """The JSON schema or the grammar that an answer has to obey, if there is one."""
    schema, grammar = body.get("json_schema"), body.get("grammar")
    if schema is None and grammar is None:
        return _response_format(body.get("response_format"))
    if body.get("response_format") is not None:
        raise ValueError("response_format stands beside a json_schema or a grammar")
    if not isinstance(schema, dict | type(None)) or not isinstance(grammar, str | type(None)):
        raise ValueError("json_schema is no object, or grammar no text")  # noqa: TRY004 - of the file
    return schema, grammar


def _response_format(value: object) -> tuple[Mapping[str, Any] | None, str | None]:
    """The same where a chat says it."""
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
