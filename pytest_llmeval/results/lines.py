"""A prediction as one line of the journal, and back.

The line is that of OpenAI's batch results (`custom_id`, `response`, `error`), so that whatever
reads those reads ours, with what only we know under `llmeval`. Pure ASCII: a line cannot be cut by
a newline, a U+2028 or half a character in the answer. The same bytes carry predictions between
processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast, get_args

from pytest_llmeval.records import (
    Answer,
    Attempt,
    Failure,
    FinishReason,
    Likelihood,
    Origin,
    Prediction,
    TokenLogprob,
    ToolCall,
    Usage,
    UsageSource,
)

# One encoder for all lines: json.dumps with options of its own makes a new one for every call.
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def prediction_to_line(prediction: Prediction) -> bytes:
    """Give the prediction as one line with its newline.

    `prediction_from_line` gives it back equal, whatever text it holds; only a surrogate pair that
    arrived in two halves comes back as the one character it spells.
    """
    answer, failure = prediction.answer, prediction.failure
    ours: dict[str, Any] = {
        "attempts": [
            {"ms": a.ms, "error": a.error, "status": a.status} for a in prediction.attempts
        ],
        "started": prediction.started,
        "queued_ms": prediction.queued_ms,
        "total_ms": prediction.total_ms,
    }
    if prediction.asked:
        ours["asked"] = prediction.asked
    if answer is not None:
        ours["first_token_ms"] = answer.first_token_ms
        ours["service_ms"] = answer.service_ms
        ours["usage_source"] = answer.usage.source
        unlike = _arguments_unlike_raw(answer.tool_calls)
        if unlike is not None:
            ours["arguments"] = unlike
        if answer.origin != "asked":
            ours["origin"] = answer.origin
        if answer.likelihoods:
            ours["likelihoods"] = list(map(_likelihood_data, answer.likelihoods))
    line = {
        "custom_id": prediction.trial_id,
        "response": None if answer is None else {"status_code": 200, "body": _body(answer)},
        "error": None if failure is None else {"code": failure.reason, "message": failure.message},
        "llmeval": ours,
    }
    return _encode(line).encode("ascii") + b"\n"


def prediction_from_line(line: bytes) -> Prediction:
    """Read what `prediction_to_line` wrote. Raises `ValueError` when it is no such line."""
    try:
        data = json.loads(line)
        ours = data["llmeval"]
        response, error = data["response"], data["error"]
        if (response is None) == (error is None):
            raise TypeError("a response or an error, and never both")  # noqa: TRY301
        return Prediction(
            trial_id=_text(data["custom_id"]),
            answer=None if response is None else _answer(response["body"], ours),
            failure=None if error is None else _failure(error),
            attempts=tuple(map(_attempt, ours["attempts"])),
            started=_number(ours["started"]),
            queued_ms=_number(ours["queued_ms"]),
            total_ms=_number(ours["total_ms"]),
            asked=_text(ours.get("asked", "")),
        )
    except KeyError as missing:
        raise ValueError(f"it has no {missing}") from missing
    except (TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no batch result ({error})") from error


def request_to_line(trial_id: str, body: Mapping[str, Any]) -> bytes:
    """Give what a trial asks as one line of an OpenAI batch file."""
    url = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    line = {"custom_id": trial_id, "method": "POST", "url": url, "body": body}
    return _encode(line).encode("ascii") + b"\n"


def _body(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.raw},
            }
            for number, call in enumerate(answer.tool_calls)
        ]
    usage = answer.usage
    total = (
        None
        if usage.prompt is None or usage.completion is None
        else usage.prompt + usage.completion
    )
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    if answer.logprobs:
        choice["logprobs"] = {"content": list(map(_logprob, answer.logprobs))}
    return {
        "object": "chat.completion",
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
        },
    }


def _answer(body: Mapping[str, Any], ours: Mapping[str, Any]) -> Answer:
    choice, usage = body["choices"][0], body["usage"]
    message = choice["message"]
    asked = [call["function"] for call in message.get("tool_calls", ())]
    calls = tuple(
        ToolCall(_text(f["name"]), arguments_in(f["arguments"]), _text(f["arguments"]))
        for f in asked
    )
    if "arguments" in ours:
        pairs = zip(calls, ours["arguments"], strict=True)
        calls = tuple(ToolCall(call.name, arguments, call.raw) for call, arguments in pairs)
    return Answer(
        text=_text(message["content"]),
        finish_reason=cast("FinishReason", _text(choice["finish_reason"])),
        tool_calls=calls,
        reasoning=_text_or_none(message.get("reasoning_content")),
        usage=_usage(
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
            ours["usage_source"],
        ),
        first_token_ms=_number_or_none(ours["first_token_ms"]),
        service_ms=_number_or_none(ours["service_ms"]),
        logprobs=tuple(map(_token, (choice.get("logprobs") or {}).get("content", ()))),
        likelihoods=tuple(map(_likelihood, ours.get("likelihoods", ()))),
        origin=_origin(ours.get("origin", "asked")),
    )


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    top = [{"token": text, "logprob": logprob} for text, logprob in token.top]
    return {"token": token.token, "logprob": token.logprob, "top_logprobs": top}


def _token(entry: Mapping[str, Any]) -> TokenLogprob:
    top = tuple((_text(each["token"]), _number(each["logprob"])) for each in entry["top_logprobs"])
    return TokenLogprob(_text(entry["token"]), _number(entry["logprob"]), top)


def _likelihood_data(likelihood: Likelihood) -> dict[str, Any]:
    """What is not known is left out."""
    data: dict[str, Any] = {
        "continuation": likelihood.continuation,
        "token_logprobs": likelihood.token_logprobs,
    }
    usage = likelihood.usage
    if usage != Usage():
        data["usage"] = [usage.prompt, usage.completion, usage.cached, usage.source]
    if likelihood.service_ms is not None:
        data["service_ms"] = likelihood.service_ms
    return data


def _likelihood(data: Mapping[str, Any]) -> Likelihood:
    return Likelihood(
        _text(data["continuation"]),
        tuple(map(_number, data["token_logprobs"])),
        _usage(*data.get("usage", ())),
        _number_or_none(data.get("service_ms")),
    )


def _failure(data: Mapping[str, Any]) -> Failure:
    return Failure(_text(data["code"]), _text(data["message"]))


def _attempt(data: Mapping[str, Any]) -> Attempt:
    return Attempt(_number(data["ms"]), _text_or_none(data["error"]), _count(data["status"]))


def _usage(
    prompt: Any = None, completion: Any = None, cached: Any = None, source: Any = "none"
) -> Usage:
    counts = _count(prompt), _count(completion), _count(cached)
    return Usage(*counts, cast("UsageSource", _text(source)))


# What a line holds must be of its kind: whoever counts with it later could not say whose it is.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise TypeError(f"{value!r} is no number")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:  # a whole number that no float can be
        is_finite = False
    if not is_finite:
        raise TypeError(f"{value!r} is no number")
    return value


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)


def _count(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise TypeError(f"{value!r} is no whole number of 0 or more")
    return value


def _origin(value: Any) -> Origin:
    if value not in get_args(Origin):
        raise TypeError(f"{value!r} is none of {', '.join(get_args(Origin))}")
    return cast("Origin", value)


def arguments_in(raw: str) -> dict[str, Any] | None:
    """The object that the raw arguments of a tool call are; None where they are none."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):  # a model may write brackets without end
        return None
    return value if isinstance(value, dict) else None


def _arguments_unlike_raw(calls: tuple[ToolCall, ...]) -> list[Mapping[str, Any] | None] | None:
    """The parsed arguments, where an engine read the raw text otherwise than plain JSON does."""
    if all(call.arguments == arguments_in(call.raw) for call in calls):
        return None
    return [call.arguments for call in calls]
