"""What says whether numbers may be believed: checks of an endpoint, doubts about its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckName = Literal[
    "alive",
    "model",
    "adapters",
    "context",
    "usage",
    "template",
    "max_tokens",
    "truncation",
    "reasoning",
    "system",
    "stop",
    "seed",
    "json_schema",
    "grammar",
    "logprobs",
    "likelihoods",
    "tools",
]
"""What preflight looks at, in the order in which it is told."""

CheckVerdict = Literal["ok", "lacking", "unknown", "skipped"]
"""`unknown`: it was asked and showed nothing either way. `skipped`: there was no time to ask."""


@dataclass(frozen=True, slots=True)
class Check:
    """What preflight found out about one ability of an endpoint, in a sentence.

    `asked` is the request that showed it and `answered` what came back, both shortened; "" where
    nothing was sent for it.
    """

    name: CheckName
    verdict: CheckVerdict
    found: str
    asked: str = ""
    answered: str = ""


DoubtKind = Literal[
    "chance",
    "all_right",
    "all_wrong",
    "all_equal",
    "all_empty",
    "all_truncated",
    "prompt_truncated",
    "template_markers",
    "thinking_tags",
    "same_answer",
    "bad_logprobs",
]
"""Why a number may not mean what it seems to."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason not to believe a number of one suite under one condition.

    It holds for `count` of `of` trials, of which `example` is one, by its id; `message` says what
    was seen and what to do.
    """

    suite: str
    condition: str
    kind: DoubtKind
    count: int
    of: int
    example: str
    message: str
