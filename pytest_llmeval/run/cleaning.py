"""Predictions and scores without secrets, before anybody writes or sees them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from pytest_llmeval.inputs.config import Config
from pytest_llmeval.records import Answer, Attempt, Prediction, Score, ToolCall
from pytest_llmeval.redaction import Redactor, known_secrets
from pytest_llmeval.results.lines import arguments_in

Clean = Callable[[Prediction], Prediction]


def redactor_of(config: Config) -> Redactor:
    """Knows the keys that the config names, and what in the environment is secret by its name."""
    return redactor_for(model.api_key_env for model in config.models.values())


def redactor_for(named: Iterable[str | None]) -> Redactor:
    """Knows the variables that are `named`, and what in the environment is secret by its name."""
    return Redactor(known_secrets(os.environ, filter(None, named)), thorough=True)


def cleaner_of(config: Config, redactor: Redactor) -> Clean:
    """What a prediction is before it is written: errors' words without secrets.

    What the model wrote stays verbatim, unless the config says `redact: predictions`.
    """

    def clean(prediction: Prediction) -> Prediction:
        if config.redact_predictions and prediction.answer is not None:
            prediction = replace(prediction, answer=_answer(prediction.answer, redactor))
        return _errors(prediction, redactor)

    return clean


def clean_score(score: Score, redactor: Redactor) -> Score:
    """A score whose scorer told no secret by its reason, or by the exception that it raised.

    What it has taken out of an answer is what the model wrote, and stays.
    """
    if score.outcome != "failure":
        return replace(score, reason=redactor.text(score.reason)) if score.reason else score
    stages = tuple(map(redactor.text, score.stages))
    return replace(score, reason=redactor.text(score.reason), stages=stages)


def _errors(prediction: Prediction, redactor: Redactor) -> Prediction:
    failure = prediction.failure
    if failure is None and len(prediction.attempts) < 2:
        return prediction
    if failure is not None:
        failure = replace(failure, message=redactor.text(failure.message))
    attempts = tuple(_attempt(attempt, redactor) for attempt in prediction.attempts)
    return replace(prediction, failure=failure, attempts=attempts)


def _attempt(attempt: Attempt, redactor: Redactor) -> Attempt:
    if attempt.error is None:
        return attempt
    return replace(attempt, error=redactor.text(attempt.error))


def _answer(answer: Answer, redactor: Redactor) -> Answer:
    """All that the model wrote; arguments are what the redacted text of a call says."""
    calls = tuple(_call(call, redactor) for call in answer.tool_calls)
    reasoning = answer.reasoning
    return replace(
        answer,
        text=redactor.text(answer.text),
        reasoning=None if reasoning is None else redactor.text(reasoning),
        tool_calls=calls,
        # Token by token a secret would stand there all the same.
        logprobs=(),
    )


def _call(call: ToolCall, redactor: Redactor) -> ToolCall:
    """A value may be secret by its name alone, which only the raw text tells."""
    raw = redactor.text(call.raw)
    arguments = call.arguments if raw == call.raw else arguments_in(raw)
    shown = None if arguments is None else redactor.data(arguments)
    return ToolCall(redactor.text(call.name), shown, raw)
