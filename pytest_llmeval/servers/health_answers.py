"""What the body of an answer says of the server that sent it, whatever its format (pure)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.servers.logs import clean_line

FAILURES = frozenset({"error", "unhealthy", "fail", "down"})
"""What a `status` says that is not well, whatever the status of HTTP."""

MOST_WORDS = 200
"""Letters of an answer that are worth telling."""

_PAGE = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!doctype html|<html)", re.IGNORECASE)
_TITLE, _TITLE_END = (re.compile(tag, re.IGNORECASE) for tag in ("<title>", "</title>"))
_CODE, _CODE_END = (
    re.compile(tag, re.IGNORECASE)
    for tag in (r"<(script|style)\b", r"</(script|style)\b[^>]{0,99}>")
)
_TAGS = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says in words, fit for a terminal, and whether that is a failure.

    A `page` is one for people. `unloaded` is said by a list of models that is not loaded yet.
    """

    words: str = ""
    failure: bool = False
    page: bool = False
    unloaded: bool = False


def read_answer(body: bytes) -> Said:
    """Read a JSON object, a page, or plain text."""
    if _PAGE.match(body):
        return Said(_words(_page_text(body)), page=True)
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Said(_words(body.decode("utf-8", "replace")))
    return _read_object(answer) if isinstance(answer, dict) else Said()


def _read_object(answer: dict[str, Any]) -> Said:
    """`status` of llama.cpp and others, `error` of OpenAI's format, `detail` of FastAPI's."""
    status = answer.get("status")
    if isinstance(status, str):
        return Said(_words(status), failure=status.lower() in FAILURES)
    error = answer.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    if isinstance(message, str):
        return Said(_words(message), failure=True)
    if _is_unloaded_list(answer.get("data")):
        return Said("the model is listed and not loaded yet", unloaded=True)
    plain = (answer.get(key) for key in ("detail", "message"))
    return Said(next((_words(text) for text in plain if isinstance(text, str)), ""))


def _is_unloaded_list(models: Any) -> bool:
    """Whether it is llama-server's list of a model that has no facts yet."""
    return (
        isinstance(models, list)
        and len(models) == 1
        and isinstance(models[0], dict)
        and models[0].get("owned_by") == "llamacpp"
        and models[0].get("meta", {}) is None
    )


def _page_text(body: bytes) -> str:
    """The title of a page, or what stands on it."""
    text = body[: 2**16].decode("utf-8", "replace")
    title = _TITLE.search(text)
    end = _TITLE_END.search(text, title.end()) if title else None
    if title and end:
        return text[title.end() : end.start()]
    return _TAGS.sub(" ", _without_code(text))


def _without_code(text: str) -> str:
    """A page without its scripts and styles; one without an end goes on until that of the page."""
    parts, at = [], 0
    while begin := _CODE.search(text, at):
        parts.append(text[at : begin.start()])
        end = _CODE_END.search(text, begin.end())
        at = end.end() if end else len(text)
    return " ".join((*parts, text[at:]))


def _words(text: str) -> str:
    """A text in one line that is not too long."""
    line = clean_line(" ".join(text.split()))
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}..."
