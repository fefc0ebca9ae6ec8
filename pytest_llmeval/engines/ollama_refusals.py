"""What Ollama says when it refuses, and the errors that its sentences stand for. Pure.

Its errors are `{"error": "a sentence"}`; where its runner refused, the sentence is that runner's
whole JSON. The sentences are those of Ollama's `server/routes.go` and `server/sched.go`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from pytest_llmeval.engines.refusals import error_from_reply, words_of
from pytest_llmeval.errors import EndpointBusy, EngineError, UnknownModel, Unsupported

_LACKS = re.compile(r"does not support (chat|generate|tools|thinking|insert|completion|embed\w*)")
_NOT_FOUND = re.compile(r"model ['\"].*['\"] not found")
_RUNNER_LOST = "model runner has unexpectedly stopped"


def ollama_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    model: str,
    now: Callable[[], float],
    secret: str | None = None,
) -> EngineError:
    """The error that a reply with a status other than 200 stands for, with the way out.

    `model` is the one asked for; the rest is as in `error_from_reply`.
    """
    general = error_from_reply(status, headers, _unwrapped(body), now=now, secret=secret)
    words = str(general)
    if _LACKS.search(words):
        return Unsupported(f"The model {model} cannot do that: {words}", status=status)
    if _NOT_FOUND.search(words):
        return missing_model(model, status)
    if _RUNNER_LOST in words:  # the next request starts another one
        return EndpointBusy(words, status=status)
    return general


def missing_model(model: str, status: int = 404) -> UnknownModel:
    """The error of a model that Ollama does not have, with the command that gets it."""
    return UnknownModel(
        f"Ollama has no model {model!r}. Get it with `ollama pull {model}`, "
        f"or write `pull: true` to have it pulled",
        status=status,
    )


def _unwrapped(body: bytes) -> bytes:
    """The body with its sentence in place of the JSON that the sentence may be."""
    try:
        data = json.loads(body.decode("utf-8"))
        inner = json.loads(data["error"])
        words = words_of(inner)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return body
    return json.dumps({"error": words}).encode("ascii") if words else body
