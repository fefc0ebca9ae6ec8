"""What llama.cpp's server replies where likelihoods are asked, read and checked. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.errors import BadAnswer, BadLogprobs

#: What the server writes for the logarithm of 0, which JSON lacks, is about -3.4e38. No float is
#: so small that its logarithm is below this.
LOWEST = -110.0

Pair = tuple[int, object]
"""A token's id, and what is told as its log probability."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `is_text` says that it is whole characters of text by itself."""

    id: int
    is_text: bool


@dataclass(frozen=True, slots=True)
class Timings:
    """What a reply tells of itself: tokens read, those of them from the cache, tokens written."""

    read: int
    cached: int
    written: int
    ms: float


def prompt_in(reply: Mapping[str, Any]) -> str:
    """The prompt that /apply-template has made of messages."""
    prompt = reply.get("prompt")
    if not isinstance(prompt, str):
        raise BadAnswer("The server gave no prompt for the messages (/apply-template).")
    return prompt


def tokens_in(reply: Mapping[str, Any]) -> tuple[Token, ...]:
    """The tokens of /tokenize, which was asked for their pieces."""
    entries = reply.get("tokens")
    if not isinstance(entries, list) or not all(map(_is_token, entries)):
        raise BadAnswer("The server gave no list of tokens with their pieces (/tokenize).")
    # A piece that is not whole characters is a list of bytes.
    return tuple(Token(entry["id"], isinstance(entry["piece"], str)) for entry in entries)


def _is_token(entry: object) -> bool:
    return isinstance(entry, dict) and type(entry.get("id")) is int and "piece" in entry


def written_in(reply: Mapping[str, Any]) -> list[Pair]:
    """The tokens that were written; one that ends in half a character is missing."""
    return list(_pairs(_places(reply)))


def alternatives_in(reply: Mapping[str, Any]) -> list[Pair]:
    """The likeliest tokens of the first place, by the model alone."""
    return [pair for place in _places(reply)[:1] for pair in _pairs(place.get("top_logprobs"))]


def _places(reply: Mapping[str, Any]) -> list[Any]:
    places = reply.get("completion_probabilities", [])
    if not isinstance(places, list) or not all(isinstance(place, dict) for place in places):
        raise BadAnswer("The server gave no list of probabilities (completion_probabilities).")
    return places


def _pairs(entries: Any) -> Iterator[Pair]:
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            raise BadAnswer("The server gave a probability of no token.")
        yield entry["id"], entry.get("logprob")


def checked(logprob: object, token: int) -> float:
    """A log probability that can be one; refused is what would be a likelihood made up."""
    if type(logprob) in (int, float) and LOWEST < logprob <= 0:  # type: ignore[operator]
        return float(logprob)  # type: ignore[arg-type]
    raise BadLogprobs(
        f"The server says that the log probability of the token {token} is {json.dumps(logprob)}, "
        f"which is no likelihood that could be used."
    )


def timings_in(reply: Mapping[str, Any]) -> Timings | None:
    """What the reply tells of itself, None where that is not all of it."""
    told = reply.get("timings")
    if not isinstance(told, dict):
        return None
    keys = ("prompt_n", "cache_n", "predicted_n", "prompt_ms", "predicted_ms")
    numbers = [value for key in keys if isinstance(value := told.get(key), int | float)]
    if len(numbers) < len(keys) or min(numbers) < 0:
        return None
    read, cached, written, reading_ms, writing_ms = numbers
    return Timings(int(read + cached), int(cached), int(written), reading_ms + writing_ms)
