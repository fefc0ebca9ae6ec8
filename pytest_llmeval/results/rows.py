"""A trial as rows of the tables: what is in each column, and in which order rows stand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from pytest_llmeval.atomic import plain
from pytest_llmeval.records import Answer, Outcome, Prediction, Score, ToolCall, Trial

PREDICTION_COLUMNS = (
    "suite",
    "condition",
    "model",
    "sampling",
    "prompt",
    "item_id",
    "repeat",
    "trial_id",
    "text",
    "tool_calls",
    "finish_reason",
    "outcome",
    "reason",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "usage_source",
    "queued_ms",
    "first_token_ms",
    "total_ms",
    "attempts",
    "error",
    "likelihoods",
    "origin",
)
"""predictions.csv: the names are a contract."""

SCORE_COLUMNS = (
    "suite",
    "condition",
    "item_id",
    "repeat",
    "scorer",
    "outcome",
    "value",
    "reason",
    "extracted",
    "stages",
    "target",
    "item_hash",
)
"""per_item_scores.csv: the names are a contract."""


def in_order(trials: Iterable[Trial]) -> list[Trial]:
    """Sort by suite, condition, the item's place in the dataset, and repeat."""
    trials = list(trials)
    suites = {trial.suite.name: trial.suite for trial in trials}
    places = {
        name: {item.id: place for place, item in enumerate(suite.items)}
        for name, suite in suites.items()
    }
    return sorted(
        trials,
        key=lambda trial: (
            trial.suite.name,
            trial.condition.name,
            places[trial.suite.name][trial.item.id],
            trial.repeat,
        ),
    )


def outcome_of(
    prediction: Prediction | None, headline: Score | None, *, needed: bool = True
) -> tuple[Outcome | Literal[""], str]:
    """A trial's outcome and the reason for it: that of the headline score.

    A trial that was not needed, not asked, or not yet judged, has none and says so; it never counts
    as wrong.
    """
    if not needed:
        return "", "not_needed"
    if prediction is None:
        return "", "not_asked"
    if prediction.failure is not None:
        return "failure", prediction.failure.reason
    if headline is None:
        return "", "not_scored"
    return headline.outcome, headline.reason


def prediction_row(
    trial: Trial, prediction: Prediction | None, headline: Score | None, *, needed: bool = True
) -> tuple[object, ...]:
    """One row of predictions.csv; None is an empty cell."""
    condition = trial.condition
    answer = prediction.answer if prediction else None
    usage = answer.usage if answer else None
    timed = prediction if answer is None or answer.origin != "cache" else None
    total = None
    if usage and usage.prompt is not None and usage.completion is not None:
        total = usage.prompt + usage.completion
    return (
        trial.suite.name,
        condition.name,
        condition.model,
        condition.sampling_name,
        condition.prompt.name,
        trial.item.id,
        trial.repeat,
        trial.id,
        cell(answer.text) if answer else None,
        cell(tool_calls_text(answer)) if answer and answer.tool_calls else None,
        answer.finish_reason if answer else None,
        *outcome_of(prediction, headline, needed=needed),
        usage.prompt if usage else None,
        usage.completion if usage else None,
        total,
        usage.cached if usage else None,
        usage.source if usage else None,
        timed.queued_ms if timed else None,
        answer.first_token_ms if answer else None,
        timed.total_ms if timed else None,
        len(prediction.attempts) if prediction else 0,
        cell(prediction.failure.message) if prediction and prediction.failure else None,
        cell(likelihoods_json(answer)) if answer and answer.likelihoods else None,
        answer.origin if answer else None,
    )


def score_rows(
    trial: Trial, scores: Sequence[Score], item_hash: str | None = None
) -> Iterator[tuple[object, ...]]:
    """The rows of one trial in per_item_scores.csv, one a scorer; `item_hash` is its item's."""
    target = cell(target_text(trial.item.target))
    for score in scores:
        yield (
            trial.suite.name,
            trial.condition.name,
            trial.item.id,
            trial.repeat,
            score.scorer,
            score.outcome,
            score.value,
            score.reason,
            None if score.extracted is None else cell(score.extracted),
            cell(" > ".join(score.stages)),
            target,
            item_hash,
        )


def target_text(target: Any) -> str:
    """A target as text: itself when it is one, JSON for anything else, "" for none."""
    if isinstance(target, str):
        return target
    return "" if target is None else json.dumps(plain(target), ensure_ascii=False)


def tool_calls_text(answer: Answer) -> str:
    """The tool calls as JSON, with what the model wrote for arguments that were no object."""
    return f"[{', '.join(map(_call_text, answer.tool_calls))}]"


def _call_text(call: ToolCall) -> str:
    parsed = call.raw if call.arguments is None else call.arguments
    try:
        return json.dumps(
            {"name": call.name, "arguments": parsed}, ensure_ascii=False, allow_nan=False
        )
    except ValueError:  # 1e999 is infinity to Python, which JSON does not have
        return json.dumps({"name": call.name, "arguments": call.raw}, ensure_ascii=False)


def likelihoods_json(answer: Answer) -> str:
    """The likelihoods as JSON, in the order in which they were asked; `logprob` is the sum."""
    told = [
        {
            "continuation": each.continuation,
            "logprob": each.total,
            "tokens": len(each.token_logprobs),
        }
        for each in answer.likelihoods
    ]
    return json.dumps(told, ensure_ascii=False, allow_nan=False)


def answer_text(prediction: Prediction) -> str | None:
    """What to show as the answer: the text, else the tool calls, else what the failure said."""
    if prediction.answer is None:
        return prediction.failure.message if prediction.failure else None
    if not prediction.answer.text and prediction.answer.tool_calls:
        return tool_calls_text(prediction.answer)
    return prediction.answer.text


def cell(text: str) -> str:
    """Text as a cell can hold it: Python 3.10's csv reader takes no NUL."""
    return text.replace("\0", "\\x00")
