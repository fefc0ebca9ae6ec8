"""Log probabilities of the tokens written, in each of the three shapes they come in. Pure.

OpenAI's chat shape, which llama.cpp uses everywhere, is a list with an entry a token; that of
OpenAI's completions, which vLLM and others have kept, is several lists side by side. llama.cpp's
are those of the model's raw logits, before any grammar, bias or sampler. The last token may be the
one that ends the answer, whose text is ""; one that ends within a character is left out by
llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_llmeval.engines.reading import (
    Unexpected,
    UnexpectedLogprob,
    finite,
    kind_of,
    optional,
)
from pytest_llmeval.records import Answer, TokenLogprob

_IMPOSSIBLE = -1e30
"""Below it lies what llama.cpp writes for the logarithm of 0, the lowest float."""

_NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""What stands in a text for the bytes that make no character."""

_ROUNDING = 1e-3
"""By so much the sum of rounded probabilities may exceed 1."""


def alternatives_to_ask(wanted: int) -> int:
    """How many to ask for: llama.cpp gives no log probabilities at all where it is none."""
    return max(1, wanted)


def logprobs_of_choice(choice: dict[str, Any], most: int) -> tuple[TokenLogprob, ...]:
    """Read the log probabilities of a choice, with `most` alternatives a token at most; () where it
    has none.
    """
    found = optional(choice, "logprobs", dict)
    if found is None:
        return ()
    if "token_logprobs" in found:
        return _from_lists(found, most)
    return logprobs_of_entries(optional(found, "content", list) or (), most)


def logprobs_of_entries(entries: Iterable[object], most: int) -> tuple[TokenLogprob, ...]:
    """Read a list with an entry for each token."""
    return tuple(_entry(entry, most) for entry in entries)


def check_logprobs(answer: Answer) -> Answer:
    """Return an answer for which log probabilities were asked, unless it lacks them.

    llama.cpp gives none for a token that ends within a character, so that an answer of nothing but
    the pieces of one has none.
    """
    text = answer.text.strip(_NO_CHARACTER)
    if not answer.logprobs and (text or answer.tool_calls or answer.reasoning):
        raise Unexpected("log probabilities were asked for and it has none")
    return answer


def _entry(entry: object, most: int) -> TokenLogprob:
    if not isinstance(entry, dict):
        raise Unexpected(f"an entry of logprobs is {kind_of(entry)}, not an object")
    top = optional(entry, "top_logprobs", list) or []
    pairs = [_pair(alternative) for alternative in top]
    return _token(*_pair(entry), pairs, most)


def _pair(entry: object) -> tuple[object, object]:
    if not isinstance(entry, dict):
        raise Unexpected(f"an entry of top_logprobs is {kind_of(entry)}, not an object")
    return entry.get("token"), entry.get("logprob")


def _from_lists(found: dict[str, Any], most: int) -> tuple[TokenLogprob, ...]:
    tokens = optional(found, "tokens", list) or []
    logprobs = optional(found, "token_logprobs", list) or []
    tops = optional(found, "top_logprobs", list) or [None] * len(tokens)
    if not len(tokens) == len(logprobs) == len(tops):
        raise Unexpected(
            f"logprobs has {len(tokens)} tokens, {len(logprobs)} token_logprobs and {len(tops)} "
            f"top_logprobs"
        )
    return tuple(
        _token(token, logprob, _alternatives(top), most)
        for token, logprob, top in zip(tokens, logprobs, tops, strict=True)
    )


def _alternatives(top: object) -> list[tuple[object, object]]:
    if top is None:
        return []
    if not isinstance(top, dict):
        raise Unexpected(f"an entry of top_logprobs is {kind_of(top)}, not an object")
    return list(top.items())


def _token(
    token: object, logprob: object, top: Iterable[tuple[object, object]], most: int
) -> TokenLogprob:
    value = _logprob(logprob)
    if value < _IMPOSSIBLE:
        raise UnexpectedLogprob(f"logprob is {value}, that of a token that cannot be written")
    others = [(_text(text), _logprob(each)) for text, each in top]
    possible = [(text, each) for text, each in others if each >= _IMPOSSIBLE]
    possible.sort(key=lambda pair: -pair[1])
    return TokenLogprob(_text(token), value, tuple(possible[:most]))


def _text(token: object) -> str:
    if not isinstance(token, str):
        raise Unexpected(f"a token of logprobs is {kind_of(token)}, not a string")
    return token


def _logprob(value: object) -> float:
    try:
        number = finite(value, "logprob")  # llama.cpp writes null where it has computed NaN
    except Unexpected as problem:
        raise UnexpectedLogprob(str(problem)) from None
    if number > _ROUNDING:
        raise UnexpectedLogprob(f"logprob is {number}, not the logarithm of a probability")
    return min(number, 0.0)
