"""What a loaded model is asked for: an answer, or how likely given texts are.

Requests are `records.Request` as plain data, replies the fields of an `Answer`: both cross a
process as JSON (`llama_cpp_worker.py`).
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_llmeval.servers.llama_cpp_model import Abandoned, LoadedModel, Refused

RANDOM_SEED = 0xFFFFFFFF
"""What llama.cpp takes as the wish for another seed every time."""

SAMPLING = {
    "temperature": "temp",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
"""Our keys of sampling, and the arguments of `Llama.generate`; its defaults are llama.cpp's own."""


SCORED_AT_ONCE = 64
"""Tokens whose logits are held at a time: with a large vocabulary each takes half a megabyte."""


@dataclass(slots=True)
class Written:
    """An answer while it is written. `cut` is where a stop text begins, in bytes."""

    stops: Sequence[bytes]
    text: bytearray = field(default_factory=bytearray)
    tokens: int = 0
    finish_reason: str = "length"
    first_at: float | None = None
    places: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def add(self, piece: bytes) -> bool:
        """Take in the bytes of a token; whether a stop text is complete, which is cut off."""
        searched = max(0, len(self.text) - max(map(len, self.stops), default=0))
        self.text += piece
        found = [at for stop in self.stops if (at := self.text.find(stop, searched)) >= 0]
        if found:
            del self.text[min(found) :]
        return bool(found)

    def as_text(self) -> str:
        """The text without half a letter at its end."""
        return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self.text))


def complete(
    model: LoadedModel,
    request: Mapping[str, Any],
    abandoned: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Answer a request. Raises Refused or Abandoned, and then the context is empty."""
    began = clock()
    grammar = model.grammar(request)
    tokens = model.prompt_tokens(model.prompt_text(request))
    if not request["cache_prompt"]:
        model.forget()
    try:
        kept = model.keep(tokens)
        written = _write(model, tokens, kept, request, grammar, abandoned, clock)
    except BaseException:
        model.forget()
        raise
    ended = clock()
    first = ended if written.first_at is None else written.first_at
    return {
        "text": written.as_text(),
        "finish_reason": written.finish_reason,
        "usage": {"prompt": len(tokens), "completion": written.tokens, "cached": kept},
        "first_token_ms": 1000 * (first - began),
        "service_ms": 1000 * (ended - began),
        "logprobs": [place for at, place in written.places if at < len(written.text)],
    }


def _write(
    model: LoadedModel,
    tokens: Sequence[int],
    kept: int,
    request: Mapping[str, Any],
    grammar: Any,
    abandoned: Callable[[], bool],
    clock: Callable[[], float],
) -> Written:
    """Write until the model ends, a stop text is complete, or there is no more room."""
    sampling, top = request["sampling"], request["top_logprobs"]
    written = Written([stop.encode("utf-8", "replace") for stop in sampling["stop"] if stop])
    most = min(sampling["max_tokens"], model.context - len(tokens))
    last = max(kept, len(tokens) - 1)
    model.evaluate(tokens[kept:last], abandoned)
    seed = sampling["seed"]
    model.llama.set_seed(RANDOM_SEED if seed is None else seed)
    for token in model.llama.generate(
        tokens[last:], reset=False, grammar=grammar, **_arguments(sampling)
    ):
        written.tokens += 1
        if written.first_at is None:
            written.first_at = clock()
        if model.ends(token):
            written.finish_reason = "stop"
            break
        if top is not None:
            written.places.append((len(written.text), _logprob(model, token, top)))
        if written.add(model.piece(token)):
            written.finish_reason = "stop"
            break
        if written.tokens >= most:
            break
        if abandoned():
            raise Abandoned
    return written


def _arguments(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of sampling; what is not stays as llama.cpp has it."""
    return {
        argument: sampling[key] for key, argument in SAMPLING.items() if sampling[key] is not None
    }


def _logprob(model: LoadedModel, token: int, top: int) -> dict[str, Any]:
    """A token's log probability by the raw logits, with the likeliest ones at its place."""
    import numpy as np

    logprobs = log_softmax(model.logits())
    best = np.argsort(-logprobs, kind="stable")[:top]
    return {
        "token": _shown(model, token),
        "logprob": float(logprobs[token]),
        "top": [[_shown(model, int(each)), float(logprobs[each])] for each in best],
    }


def _shown(model: LoadedModel, token: int) -> str:
    return model.piece(token).decode("utf-8", "replace")


# Likelihoods --------------------------------------------------------------------------------------


def likelihoods(
    model: LoadedModel,
    request: Mapping[str, Any],
    abandoned: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """How likely each of a request's continuations is. Raises Refused or Abandoned.

    Which tokens are a continuation's is as `engines/likelihood.py` says: those of prompt and
    continuation together, from where the first continuation departs from the prompt alone. They
    share the evaluated prompt, with each other and, unless the request forbids it, with the request
    before.
    """
    text = model.prompt_text(request)
    prompt = model.prompt_tokens(text)
    whole = [model.begun(text + each) for each in request["continuations"]]
    start = common_start(prompt, whole)
    _check_tokens(request["continuations"], whole, start)
    if not request["cache_prompt"]:
        model.forget()
    found = []
    for tokens in whole:
        began = clock()
        kept = model.keep(tokens[:start])
        logprobs = score(model, tokens[:start], tokens[start:], abandoned)
        usage = {"prompt": len(tokens), "completion": 0, "cached": kept}  # all of it is read
        found.append({"logprobs": logprobs, "usage": usage, "service_ms": 1000 * (clock() - began)})
    return {"likelihoods": found}


def common_start(prompt: Sequence[int], whole: Sequence[Sequence[int]]) -> int:
    """How many of the prompt's tokens all of them begin with."""
    return min(
        next((at for at, pair in enumerate(zip(prompt, each)) if pair[0] != pair[1]), len(prompt))  # noqa: B905 - as far as both go
        for each in whole
    )


def _check_tokens(texts: Sequence[str], whole: Sequence[Sequence[int]], start: int) -> None:
    for text, tokens in zip(texts, whole, strict=True):
        if len(tokens) <= start:
            raise Refused(
                f"the continuation {text!r} has no token of its own, so it has no likelihood: give "
                "it a text, or leave it out"
            )
    if not start:
        raise Refused(
            "nothing stands before the first token of the continuation, and this model puts no "
            "token of its own there: how likely it is cannot be asked. Begin the prompt with text"
        )


def score(
    model: LoadedModel,
    prompt: Sequence[int],
    continuation: Sequence[int],
    abandoned: Callable[[], bool] = lambda: False,
) -> list[float]:
    """The natural log probability of each token of a continuation behind a prompt.

    From full logits, in float64. Raises Refused when both are too long together, Abandoned.
    """
    if not continuation:
        return []
    if len(prompt) + len(continuation) > model.context:
        raise Refused(
            f"prompt and continuation have {len(prompt) + len(continuation):,} tokens, which "
            f"exceeds the available context size of {model.context:,} tokens"
        )
    try:
        return _scored(model, prompt, continuation, abandoned)
    except BaseException:
        model.forget()
        raise


def _scored(
    model: LoadedModel,
    prompt: Sequence[int],
    continuation: Sequence[int],
    abandoned: Callable[[], bool],
) -> list[float]:
    kept = model.keep(prompt)
    model.evaluate(prompt[kept:-1], abandoned)
    before = [prompt[-1], *continuation]  # before[i] is evaluated to know continuation[i]
    found = []
    for start in range(0, len(continuation), SCORED_AT_ONCE):
        if abandoned():
            raise Abandoned
        wanted = continuation[start : start + SCORED_AT_ONCE]
        model.evaluate_with_logits(before[start : start + len(wanted)])
        found += [
            float(log_softmax(model.logits(place))[token]) for place, token in enumerate(wanted)
        ]
    return found


def log_softmax(logits: Any) -> Any:
    """The logarithms of the probabilities that logits stand for: x - max - log Σ exp(x - max)."""
    import numpy as np

    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
