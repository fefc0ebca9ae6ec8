"""The answer to a question for likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pytest_llmeval.records import Answer, Likelihood, Usage

Number = TypeVar("Number", int, float)


def answer_of(likelihoods: Sequence[Likelihood]) -> Answer:
    """The answer to a question for likelihoods: the likeliest text, and what all took together.

    Tokens and times are unknown as soon as one of them is.
    """
    usages = [each.usage for each in likelihoods]
    times = [each.service_ms for each in likelihoods]
    return Answer(
        max(likelihoods, key=lambda each: each.total).continuation,
        "stop",
        usage=Usage(
            _sum([usage.prompt for usage in usages]),
            _sum([usage.completion for usage in usages]),
            _sum([usage.cached for usage in usages]),
            "server" if all(usage.source == "server" for usage in usages) else "none",
        ),
        service_ms=_sum(times),
        likelihoods=tuple(likelihoods),
    )


def _sum(numbers: Sequence[Number | None]) -> Number | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
