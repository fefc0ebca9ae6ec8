"""What Ollama answers: replies of /api/chat, /api/generate and /api/embed into answers. Pure.

Field names are those of Ollama's `api/types.go`; durations are nanoseconds. What is 0 it leaves
out, so that a missing count may be one, and is not known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.engines.logprobs import logprobs_of_entries
from pytest_llmeval.engines.ollama_requests import MOST_ALTERNATIVES, NO_LIKELIHOODS
from pytest_llmeval.engines.reading import (
    Unexpected,
    call_of,
    count,
    finite,
    objects,
    optional,
    read_reply,
)
from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import (
    Answer,
    FinishReason,
    Likelihood,
    ToolCall,
    Usage,
)

_NANOSECONDS = 1e6  # in a millisecond
_REPEATS = 30
"""Ollama gives an answer up, without its end, when more tokens than this are the same in a row."""

_LONGEST_UNIT = 32
"""Characters that a token has at most."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer was asked to be: with log probabilities, and possibly from elsewhere."""

    logprobs: bool = False
    remote: bool = False


def answer_from(body: bytes, expected: Expected, *, secret: str | None = None) -> Answer:
    """Read the body of a reply with status 200, of /api/chat or of /api/generate.

    Raises `BadAnswer` for anything that is no whole answer, quoting how the body begins (`secret`
    is taken out of that), and `Unsupported` for what no answer of this endpoint will have.
    """

    def read(data: dict[str, Any]) -> Answer:
        refuse_remote(data, allowed=expected.remote)
        return _answer(data, expected)

    return read_reply(body, read, secret)


def refuse_remote(data: dict[str, Any], *, allowed: bool) -> None:
    """Raise `Unsupported` when a model or an answer is of another machine and may not be."""
    host = data.get("remote_host") or data.get("remote_model")
    if host and not allowed:
        raise Unsupported(
            f"This model runs on another machine ({host}), to which Ollama passes everything on. "
            f"Nothing leaves this machine unless you say so: write `remote: true`."
        )


def vectors_from(
    body: bytes, texts: int, *, secret: str | None = None
) -> tuple[tuple[float, ...], ...]:
    """Read the embeddings of so many texts, all of one length; raises `BadAnswer`."""
    return read_reply(body, lambda data: _vectors(data, texts), secret)


def likelihoods_from(answer: Answer, continuations: Sequence[str]) -> tuple[Likelihood, ...]:
    """The likelihood of each text that is one token among those told of the first place.

    Raises `Unsupported` when one is not among them: what it is then, nobody can say.
    """
    if not answer.logprobs:
        raise Unsupported(f"{NO_LIKELIHOODS} The model wrote nothing: its likeliest is to end.")
    first = answer.logprobs[0]
    known = {**dict(reversed(first.top)), first.token: first.logprob}
    for text in continuations:
        if text not in known:
            raise Unsupported(f"{NO_LIKELIHOODS} {text!r} is not among them.")
    return tuple(Likelihood(text, (known[text],)) for text in continuations)


# An answer ----------------------------------------------------------------------------------------


def _answer(data: dict[str, Any], expected: Expected) -> Answer:
    if set(data) <= {"error", "status"}:
        raise Unexpected(f"it is an error: {data.get('error')}")
    message = optional(data, "message", dict)
    # /api/generate has the message's fields at its top, and calls its text otherwise.
    text = optional(data, "response", str) if message is None else optional(message, "content", str)
    inner = data if message is None else message
    calls = tuple(_tool_call(call) for call in objects(inner, "tool_calls"))
    reasoning = optional(inner, "thinking", str) or None
    logprobs = logprobs_of_entries(objects(data, "logprobs"), MOST_ALTERNATIVES)
    if expected.logprobs and not logprobs and (text or reasoning or calls):
        raise Unsupported(
            "The answer came without the log probabilities that were asked for: Ollama has them "
            "from version 0.12.11 on. Update it, or use engine: llama-server."
        )
    reading = _milliseconds(data, "prompt_eval_duration")
    writing = _milliseconds(data, "eval_duration")
    return Answer(
        text=text or "",
        finish_reason=_finish_reason(data, (reasoning or "") + (text or ""), calls),
        tool_calls=calls,
        reasoning=reasoning,
        usage=_usage(data),
        first_token_ms=reading,
        service_ms=None if reading is None or writing is None else reading + writing,
        logprobs=logprobs,
    )


def _finish_reason(data: dict[str, Any], text: str, calls: tuple[ToolCall, ...]) -> FinishReason:
    reason = optional(data, "done_reason", str)
    if not optional(data, "done", bool):
        if ends_in_a_loop(text):
            return "length"
        raise Unexpected("it is not done: it was cut off before its end")
    if reason in {"load", "unload"}:
        raise Unexpected(
            f"done_reason is {reason}: Ollama took the request for one to {reason} the model, "
            f"as it does when there is nothing to answer"
        )
    if reason not in {"stop", "length"}:
        raise Unexpected(f"done_reason is {json.dumps(reason)}, not one of stop, length")
    return "length" if reason == "length" else "tool_calls" if calls else "stop"


def ends_in_a_loop(text: str) -> bool:
    """Whether a text ends in one token over and over, where Ollama has given it up.

    It compares tokens without the spaces around them, so that spaces alone are a loop as well.
    """
    if len(text) - len(text.rstrip()) >= _REPEATS:
        return True
    dense = "".join(text.split())
    units = range(1, min(_LONGEST_UNIT, len(dense) // _REPEATS) + 1)
    return any(dense.endswith(dense[-unit:] * _REPEATS) for unit in units)


def _tool_call(call: dict[str, Any]) -> ToolCall:
    function = optional(call, "function", dict) or {}
    name = optional(function, "name", str)
    if not name:
        raise Unexpected("an entry of tool_calls has no function with a name")
    return call_of(name, function.get("arguments"))


def _usage(data: dict[str, Any]) -> Usage:
    prompt, completion = count(data, "prompt_eval_count"), count(data, "eval_count")
    if prompt is None and completion is None:
        return Usage()
    return Usage(prompt=prompt, completion=completion, source="server")


def _milliseconds(data: dict[str, Any], key: str) -> float | None:
    nanoseconds = count(data, key)
    return None if nanoseconds is None else nanoseconds / _NANOSECONDS


def _vectors(data: dict[str, Any], texts: int) -> tuple[tuple[float, ...], ...]:
    vectors = tuple(_vector(each) for each in optional(data, "embeddings", list) or ())
    if len(vectors) != texts:
        raise Unexpected(f"it has {len(vectors)} embeddings for {texts} texts")
    if len({len(vector) for vector in vectors}) > 1:
        raise Unexpected("its embeddings are not of one length")
    return vectors


def _vector(values: object) -> tuple[float, ...]:
    if not isinstance(values, list) or not values:
        raise Unexpected("an embedding is not a list of numbers")
    return tuple(finite(each, "a number of an embedding") for each in values)
