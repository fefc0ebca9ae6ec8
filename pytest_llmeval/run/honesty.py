"""Whether an answer can be one to what was asked. Pure.

What cannot be is a failure of the machinery, told before anybody scores it: a model that was shown
half of a question is not wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from pytest_llmeval.errors import BadLogprobs, PromptTruncated
from pytest_llmeval.records import Answer, Request

WORDS_PER_TOKEN = 4
"""No token holds more words than so many. In nearly all vocabularies none holds more than one,
since texts are cut at spaces first; those that learn tokens across spaces stop at four words
(SuperBPE: Liu et al. 2025).
"""

LEAVING_OUT_CACHED = ("ollama",)
"""Engines whose endpoints do not count what a prompt cache held (Ollama's prompt_eval_count)."""

_ROUNDING = 1e-3


def refuse_dishonest(request: Request, answer: Answer, engine: str) -> None:
    """Raise PromptTruncated or BadLogprobs for an answer that cannot be one to this request, of an
    engine of this kind.
    """
    counted = answer.usage.source == "server" and engine not in LEAVING_OUT_CACHED
    read = answer.usage.prompt
    # Words are counted only where characters allow that many: prompts may be long.
    if counted and read is not None and read < _most_words(request) / WORDS_PER_TOKEN:
        _refuse_cut(request, read)
    if answer.logprobs or answer.likelihoods:
        _refuse_broken(answer)


def _refuse_broken(answer: Answer) -> None:
    for value in _log_values(answer):
        if not (isinstance(value, int | float) and value <= _ROUNDING and math.isfinite(value)):
            raise BadLogprobs(
                f"the endpoint gives {value} for a log probability, which is a number up to 0: the "
                f"model's weights or its build are broken"
            )


def _refuse_cut(request: Request, read: int) -> None:
    if read < least_tokens(request):
        raise PromptTruncated(
            f"the prompt has {words_in(request):,} words and the endpoint has read {read:,} tokens "
            f"of it, which cannot hold more than {WORDS_PER_TOKEN * read:,}: it was cut short in "
            f"silence. Give the model more context, or ask for less"
        )


def least_tokens(request: Request) -> int:
    """As many tokens as the prompt has at least, in whatever vocabulary.

    It rests on words between white space, of which a token holds a few. Texts without spaces, chat
    template and tools add nothing: the bound is low, and what is below it was cut.
    """
    return math.ceil(words_in(request) / WORDS_PER_TOKEN)


def words_in(request: Request) -> int:
    """The words between white space that a model is to read, but for what it is said to have
    answered: chat templates leave reasoning out of that.
    """
    asked = (message for message in request.messages if message.role != "assistant")
    return sum(len(message.content.split()) for message in asked)


def _most_words(request: Request) -> int:
    """No fewer than the words of all messages: one is a character at least, and so is a space."""
    return sum(len(message.content) // 2 + 1 for message in request.messages)


def most_tokens(request: Request) -> int:
    """More tokens than the prompt has: its bytes, and room for the marks of a template."""
    texts = [message.content for message in request.messages]
    texts += [str(tool) for tool in request.tools]
    return sum(_MARKS + len(text.encode("utf-8", "replace")) for text in texts) + _MARKS


_MARKS = 32


def _log_values(answer: Answer) -> Iterator[float]:
    for token in answer.logprobs:
        yield token.logprob
        yield from _values(token.top)
    for likelihood in answer.likelihoods:
        yield from likelihood.token_logprobs


def _values(pairs: Iterable[tuple[str, float]]) -> Iterator[float]:
    return (value for _, value in pairs)
