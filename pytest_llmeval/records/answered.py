"""What comes back: answers, predictions, and how they are judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["right", "wrong", "graded", "no_answer", "failure"]
"""What became of a trial.

`right` and `wrong` are 1 and 0; `graded` is a score strictly between them. `no_answer` means the
model gave nothing that could be judged: it counts as not right. `failure` means the machinery
broke: it leaves the denominator and makes the number incomplete.
"""

NoAnswerReason = Literal["empty", "refusal", "unparsed", "truncated"]
"""Why a model that was reached gave nothing to judge."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""How an answer ended, in OpenAI's words."""


Origin = Literal["asked", "cache", "recording"]
"""Where an answer comes from: the endpoint was asked for it in this run, an equal request was
answered before and kept, or a recorded run is played again.
"""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asked for. `arguments` is the object; None when it was no JSON object, and
    then `raw` still holds what the model wrote.
    """

    name: str
    arguments: Mapping[str, Any] | None
    raw: str


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was written and its natural log probability, by the model's raw logits.

    `top` holds the likeliest tokens at this place with theirs, the likeliest first.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


UsageSource = Literal["server", "server_tokenizer", "tokenizer", "characters", "none"]
"""Who counted tokens: the endpoint with its answer, its tokenizer when asked, the tokenizer that
the config names, nobody but the length of the texts; `none` where nothing is counted.
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, and who counted them. `cached` of the prompt's tokens came from a prompt cache.

    Where the endpoint has counted some of them, `source` is who counted the rest.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    source: UsageSource = "none"


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a given text is as a continuation: the natural log probability of each token.

    `usage` and `service_ms` are what asking for this one has taken, as far as the server says so;
    an answer has their sums.
    """

    continuation: str
    token_logprobs: tuple[float, ...]
    usage: Usage = Usage()
    service_ms: float | None = None

    @property
    def total(self) -> float:
        """The log likelihood of the whole text, in nats."""
        return math.fsum(self.token_logprobs)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine gives back for a request it could fulfil.

    `first_token_ms` (its prompt time) and `service_ms` (prompt and writing together) are the
    server's own figures where it has them, else None. `logprobs` are there when they were asked
    for; `likelihoods` when that is what was asked, in the order of the request's continuations.
    An answer from the cache has the tokens that were counted when it was given, and no times.
    """

    text: str
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    usage: Usage = Usage()
    first_token_ms: float | None = None
    service_ms: float | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    likelihoods: tuple[Likelihood, ...] = ()
    origin: Origin = "asked"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a trial: how long it took, and what went wrong if it brought no answer."""

    ms: float
    error: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The machinery broke. `reason` is one word, `message` the server's or our own words."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The stored outcome of a trial: an answer or a failure, never both, never neither.

    `started` is seconds since the run began, when its first attempt was sent. `total_ms` is its
    last attempt from sending to the end of the answer; `queued_ms` is the part of it that the
    request waited for a free slot (0 where the server does not tell its own time). `asked` is the
    sha256 of what was asked where that was made of answers, as a judge's question is; else "".
    """

    trial_id: str
    answer: Answer | None
    failure: Failure | None
    attempts: tuple[Attempt, ...] = ()
    started: float = 0.0
    queued_ms: float = 0.0
    total_ms: float = 0.0
    asked: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether its answer was given before and kept: then it has taken no time and no tokens."""
        return self.answer is not None and self.answer.origin == "cache"

    @property
    def text(self) -> str:
        """The answer's text, "" for a failure."""
        return self.answer.text if self.answer is not None else ""


@dataclass(frozen=True, slots=True)
class Unneeded:
    """What becomes of a trial that nobody needs any more: its suite has decided without it.

    It has no outcome and counts nowhere, not even where its answer was under way and came in.
    """

    trial_id: str


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's judgement of one prediction.

    `value` lies in [0, 1]: 1 right, 0 wrong or no answer, None only for a failure. `extracted` is
    what was taken from the text to be judged; `stages` says how it was found, in order.
    """

    scorer: str
    outcome: Outcome
    value: float | None
    reason: str = ""
    extracted: str | None = None
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction that was judged before anyone saw it: its suite's decision rests on the scores.

    They are the trial's only ones; whoever waits for it takes them as they are.
    """

    prediction: Prediction
    scores: tuple[Score, ...]

    @property
    def trial_id(self) -> str:
        """The trial whose prediction it is."""
        return self.prediction.trial_id


Settled = Prediction | Scored | Unneeded
"""How a trial ends for whoever waits for it."""

Predictions = Mapping[str, Prediction]
"""What came back of each trial, by trial id."""

Scores = Mapping[str, tuple[Score, ...]]
"""How each trial was judged, by trial id."""
