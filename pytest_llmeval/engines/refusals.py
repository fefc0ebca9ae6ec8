"""What a server says when it refuses: its own words, and the error they stand for. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pytest_llmeval.errors import BadAnswer, EndpointBusy, EngineError, RequestRefused

_QUOTED = 200
_LOOKED_AT = 64 * 1024
_LONGEST_SENTENCE = 1000
_SECONDS = re.compile(r"\d{1,9}(\.\d+)?")


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
    words = without(_server_words(body), secret)[:_LONGEST_SENTENCE]
    words = words or quote(body, secret=secret)
    message = f"HTTP {status}: {words}{without(_advice(status, headers), secret)}"
    if status in (429, 502, 503, 504):
        wait = retry_after(headers.get("retry-after"), now)
        return EndpointBusy(message, status=status, retry_after=wait)
    if status < 300:
        return BadAnswer(message, status=status)
    return RequestRefused(message, status=status)


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
    return text[:_QUOTED] if text else "(nothing)"


def words_of(data: Mapping[str, Any]) -> str:
    """Return the sentence in `{"error": {"message": ...}}`, `{"error": "..."}` and their kin."""
    error = data.get("error", data)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    return error if isinstance(error, str) else ""


def without(text: str, secret: str | None) -> str:
    """Return a text with the secret taken out."""
    return text.replace(secret, "[API key]") if secret else text


def _advice(status: int, headers: Mapping[str, str]) -> str:
    if status == 401:
        return " (check the API key that the config names)"
    if status == 404:
        return " (check the url, and the model's name if one is given)"
    if 300 <= status < 400 and "location" in headers:
        return f" (it redirects to {headers['location']}: put the final address into the config)"
    return ""


def _server_words(body: bytes) -> str:
    try:
        data = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return ""
    return words_of(data) if isinstance(data, dict) else ""
