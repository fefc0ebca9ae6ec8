"""What a server says when it refuses: its own words, and the error they stand for. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pytest_llmeval.errors import (
    BadAnswer,
    ContextOverflow,
    EndpointBusy,
    EngineError,
    RequestRefused,
    UnknownModel,
    WrongKey,
)
from pytest_llmeval.redaction import REDACTED

LONGEST_VALUE = 200
"""So much of what an endpoint wrote is shown in a message."""

_LOOKED_AT = 64 * 1024
LONGEST_SENTENCE = 1000
_SECONDS = re.compile(r"\d{1,9}(\.\d+)?")

_BUSY = frozenset({429, 502, 503, 504, 529})
"""Statuses that say "later"; 529 is Anthropic's "overloaded"."""

_STATUS_OF_TYPE = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "unavailable_error": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error inside a stream, whose own status is 200, would have had as a status."""

_TOO_MUCH = (
    r"exceed\w*|too (?:long|large|many)|longer than|larger than|greater than|maximum|overflow"
)
_OVERFLOW = re.compile(
    rf"exceed_context_size|context_length_exceeded|prompt is too long"
    rf"|(?:{_TOO_MUCH})\b.*\bcontext\b|\bcontext\b.*\b(?:{_TOO_MUCH})",
    re.IGNORECASE | re.DOTALL,
)
_UNKNOWN_MODEL = re.compile(
    r"model_not_found|(?:unknown|no such|invalid) model\b|^model: "
    r"|\bmodel\b.{0,200}\b(?:not found|does not exist|not exist|unknown|not available)\b",
    re.IGNORECASE | re.DOTALL,
)


def error_from_reply(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: Callable[[], float],
    secret: str | None = None,
) -> EngineError:
    """Return the error that a reply with a status other than 200 stands for.

    `headers` have lower-case names; `now` gives seconds since the epoch, for a Retry-After that
    is a date; `secret` is taken out of the server's words.
    """
    data = _object_in(body)
    words = shortened(without(words_of(data), secret), LONGEST_SENTENCE)
    words = words or quote(body, secret=secret)
    if status in _BUSY:
        wait = retry_after(headers.get("retry-after"), now)
        later = f" (it asks to be left alone for {wait:,.0f} s)" if wait else ""
        return EndpointBusy(f"HTTP {status}: {words}{later}", status=status, retry_after=wait)
    if status < 300:
        return BadAnswer(f"HTTP {status}: {words}", status=status)
    kind = _kind_of_refusal(status, data, words)
    advice = without(_advice(kind, status, headers, _sizes(data, words)), secret)
    return kind(f"HTTP {status}: {words}{advice}", status=status)


def error_from_frame(data: Mapping[str, Any], *, secret: str | None = None) -> EngineError:
    """Return the error that an error object inside a stream stands for; its status is still 200."""
    words = shortened(without(words_of(data), secret), LONGEST_SENTENCE)
    words = words or quote(json.dumps(data).encode(), secret=secret)
    message = f"HTTP 200, and then an error in the stream: {words}"
    error = data.get("error")
    told = error.get("code") if isinstance(error, dict) else None
    by_type = (_STATUS_OF_TYPE.get(name) for name in _names_in(data))
    status = told if isinstance(told, int) else next((s for s in by_type if s), 500)
    if status in _BUSY:
        return EndpointBusy(message, status=200)
    kind = _kind_of_refusal(status, data, words)
    return kind(f"{message}{_advice(kind, status, {}, _sizes(data, words))}", status=200)


def retry_after(value: str | None, now: Callable[[], float]) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), None if unclear."""
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def quote(body: bytes, *, secret: str | None = None) -> str:
    """Return how a body begins, on one line, for a message."""
    text = " ".join(without(body[:_LOOKED_AT].decode("utf-8", "replace"), secret).split())
    return shortened(text) if text else "(nothing)"


def shortened(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return a text's beginning. Dots say where it is cut: by them redaction knows the beginning of
    a secret, whose rest is not there any more.
    """
    return text if len(text) <= longest else f"{text[:longest]}..."


def words_of(data: Mapping[str, Any]) -> str:
    """Return the sentence in `{"error": {"message": ...}}`, `{"error": "..."}` and their kin."""
    error = data.get("error", data)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    return error if isinstance(error, str) else ""


def without(text: str, secret: str | None) -> str:
    """Return a text with the secret taken out."""
    return text.replace(secret, REDACTED) if secret else text


def _kind_of_refusal(status: int, data: Mapping[str, Any], words: str) -> type[RequestRefused]:
    said = " ".join([words, *_names_in(data)])
    if status >= 400 and _OVERFLOW.search(said):
        return ContextOverflow
    if status in (401, 403):
        return WrongKey
    if status in (400, 404, 422) and _UNKNOWN_MODEL.search(said):
        return UnknownModel
    return RequestRefused


def _names_in(data: Mapping[str, Any]) -> list[str]:
    """The type and code of an error object, as far as they are names."""
    error = data.get("error")
    places = [error, data] if isinstance(error, dict) else [data]
    found = [place.get(key) for place in places for key in ("type", "code")]
    return [name for name in found if isinstance(name, str)]


def _advice(kind: type[RequestRefused], status: int, headers: Mapping[str, str], sizes: str) -> str:
    """The way out, in brackets. `sizes` are those of a prompt that is too long."""
    if kind is ContextOverflow:
        return (
            f" ({sizes}give the model a larger context, `context` in the config or an option"
            f" of its server, or ask less: a shorter prompt, fewer examples, fewer max_tokens)"
        )
    if kind is WrongKey:
        return " (check the API key that the config names)"
    if kind is UnknownModel:
        return " (check the model's `name` in the config: it must be one that the endpoint has)"
    if status == 404:
        return " (check the url, and the model's name if one is given)"
    if 300 <= status < 400 and "location" in headers:
        return f" (it redirects to {headers['location']}: put the final address into the config)"
    return ""


def _sizes(data: Mapping[str, Any], words: str) -> str:
    """The numbers that llama.cpp gives beside its sentence, where they are not in it."""
    error = data.get("error")
    fields = error if isinstance(error, dict) else data
    asked, there = fields.get("n_prompt_tokens"), fields.get("n_ctx")
    if not isinstance(asked, int) or not isinstance(there, int) or str(there) in words:
        return ""
    return f"the prompt has {asked:,} tokens, the context {there:,}: "


def _object_in(body: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
