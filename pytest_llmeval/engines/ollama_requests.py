"""Requests in the words of Ollama's own API. Pure.

Field and option names are those of Ollama's `api/types.go`. It ignores names that it does not know,
so that a misspelt one would change an answer without a word: every name stands here, once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.errors import Unsupported
from pytest_llmeval.records import Request, Sampling

USUAL_CONTEXT = 4096
"""Tokens of context where nobody wrote a number; Ollama's own default depends on the GPU."""

MOST_ALTERNATIVES = 20
"""Of how many tokens Ollama tells the log probability at each place."""

NO_LIKELIHOODS = (
    f"The engine ollama can say how likely a given text is only where it is one of the "
    f"{MOST_ALTERNATIVES} likeliest first tokens of an answer; the engines embedded, llama-server "
    f"and llama-cpp-python can for any text."
)

_TAIL = re.compile(r"/(v1|api)/?$")

CHAT = "/api/chat"
GENERATE = "/api/generate"
EMBED = "/api/embed"

_OPTIONS = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is asked, the same in every request: another `context` would load it anew.

    `keep_alive` is how long it stays loaded (seconds, or text such as `10m`) and `think` whether it
    thinks first (or how hard); None leaves either to Ollama.
    """

    model: str
    context: int = USUAL_CONTEXT
    keep_alive: str | float | None = None
    think: bool | str | None = None


def base_of(url: str) -> str:
    """The url of an Ollama, without what only one of its two interfaces has behind it."""
    return _TAIL.sub("", url.strip()).rstrip("/")


def refuse(request: Request) -> None:
    """Raise `Unsupported` for what Ollama's API cannot say, instead of leaving it out."""
    asked = [
        *(["obeying a grammar"] if request.grammar is not None else []),
        *([] if request.cache_prompt else ["turning the prompt cache off (exact: true)"]),
        *(["offering tools for a raw completion"] if _has_raw_tools(request) else []),
    ]
    if asked:
        raise Unsupported(
            f"The engine ollama has no way of {' or of '.join(asked)}. "
            f"Leave it out, or use engine: llama-server."
        )
    if (request.top_logprobs or 0) > MOST_ALTERNATIVES:
        raise Unsupported(
            f"The engine ollama tells the log probability of at most {MOST_ALTERNATIVES} tokens "
            f"at each place, not of {request.top_logprobs}."
        )
    if len(request.continuations) > MOST_ALTERNATIVES:
        raise Unsupported(f"{NO_LIKELIHOODS} Asked were {len(request.continuations)} at once.")
    if "" in request.continuations:
        raise Unsupported(f"{NO_LIKELIHOODS} One of those asked is empty.")


def _has_raw_tools(request: Request) -> bool:
    return request.form == "completion" and bool(request.tools)


def path_and_body(
    request: Request, manner: Manner, own_stops: tuple[str, ...] = ()
) -> tuple[str, dict[str, Any]]:
    """Where a request goes, and its body. `own_stops` are the stop texts that the model brings."""
    body: dict[str, Any] = {**_frame(manner), "options": _options(request, manner, own_stops)}
    if request.form == "completion":
        # Without it, what a thinking model writes between its tags would be taken out of the text.
        body |= {"prompt": _text_of(request), "raw": True, "think": False}
    else:
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
        if manner.think is not None:
            body["think"] = manner.think
        if request.tools:
            body["tools"] = [_with_parameters(tool) for tool in request.tools]
    if request.json_schema is not None:
        body["format"] = request.json_schema
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return GENERATE if request.form == "completion" else CHAT, body


def first_token_of(request: Request) -> Request:
    """The request for one token with all that Ollama tells of it, in place of likelihoods."""
    sampling = dataclasses.replace(request.sampling, max_tokens=1, temperature=0.0, stop=())
    return dataclasses.replace(
        request, sampling=sampling, continuations=(), top_logprobs=MOST_ALTERNATIVES
    )


def loading_body(manner: Manner) -> dict[str, Any] | None:
    """A request to /api/generate that loads the model; None where it would not stay loaded."""
    # Together with a keep_alive of 0, a request without a prompt means: unload.
    return None if is_zero(manner.keep_alive) else {**_frame(manner), "options": _load(manner)}


def unloading_body(manner: Manner) -> dict[str, Any]:
    """A request to /api/generate that takes the model out of memory."""
    return {"model": manner.model, "stream": False, "keep_alive": 0}


def embedding_body(texts: tuple[str, ...], manner: Manner) -> dict[str, Any]:
    """A request to /api/embed; without texts it only loads the model."""
    return {
        "model": manner.model,
        "input": list(texts),
        "truncate": False,
        "options": _load(manner),
        **_keep_alive(manner),
    }


def is_zero(keep_alive: str | float | None) -> bool:
    """Whether a keep_alive means that the model is unloaded after each request."""
    if isinstance(keep_alive, str):
        return not any(digit in keep_alive for digit in "123456789")
    return keep_alive == 0


def _frame(manner: Manner) -> dict[str, Any]:
    """What every request for text has. A prompt that is too long is refused and never cut."""
    return {
        "model": manner.model,
        "stream": False,
        "truncate": False,
        "shift": False,
        **_keep_alive(manner),
    }


def _keep_alive(manner: Manner) -> dict[str, Any]:
    return {} if manner.keep_alive is None else {"keep_alive": manner.keep_alive}


def _load(manner: Manner) -> dict[str, Any]:
    """The options that decide how a model is loaded: a request with others would load it anew."""
    return {"num_ctx": manner.context}


def _options(request: Request, manner: Manner, own_stops: tuple[str, ...]) -> dict[str, Any]:
    options = {**_load(manner), **_sampling(request.sampling)}
    if request.sampling.stop:
        # A list of stop texts takes the place of the model's own, which end its answers properly.
        options["stop"] = list(dict.fromkeys((*request.sampling.stop, *own_stops)))
    return options


def _sampling(sampling: Sampling) -> dict[str, Any]:
    values = {name: getattr(sampling, key) for key, name in _OPTIONS.items()}
    return {name: value for name, value in values.items() if value is not None}


def _text_of(request: Request) -> str:
    return "".join(message.content for message in request.messages)


def _with_parameters(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool without parameters says so: Ollama would show the model `null` in their place."""
    function = tool.get("function", {})
    if function.get("parameters"):
        return tool
    empty = {"type": "object", "properties": {}}
    return {**tool, "function": {**function, "parameters": empty}}
