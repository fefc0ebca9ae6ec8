"""Fireworks' formats: requests into bodies and files, jobs into statuses. Pure; the facts are in
`fireworks.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_llmeval.engines.batch import BatchState, BatchStatus
from pytest_llmeval.engines.chat import chat_body, encode_body
from pytest_llmeval.engines.refusals import shortened
from pytest_llmeval.errors import BadAnswer, Unsupported
from pytest_llmeval.records import Request

UPLOAD_LIMIT = 150_000_000
"""Bytes that the service takes in one upload."""

_STATES: Mapping[str, BatchState] = {
    "UNSPECIFIED": "pending",
    "VALIDATING": "pending",
    "PENDING": "pending",
    "CREATING": "pending",
    "CREATING_INPUT_DATASET": "pending",
    "RE_QUEUEING": "pending",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "EXPIRED": "failed",
    "EARLY_STOPPED": "failed",
    "CANCELLED": "failed",
    "DELETING": "failed",
    "DELETING_CLEANING_UP": "failed",
    "DELETED": "failed",
    "ARCHIVED": "failed",
}
"""Every other state is one of a job that goes on."""


def request_body(request: Request) -> dict[str, Any]:
    """A chat completion in the service's words, without `model`."""
    sampling = request.sampling
    body = chat_body(request, None, llama_cpp=False)
    renamed = {
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repeat_penalty,
    }
    body |= {key: value for key, value in renamed.items() if value is not None}
    if request.json_schema is not None:  # without OpenAI's `strict`: an unknown key fails a job
        schema = {"name": "answer", "schema": dict(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.grammar is not None:
        body["response_format"] = {"type": "grammar", "grammar": request.grammar}
    body["context_length_exceeded_behavior"] = "error"
    return body


def request_lines(requests: Mapping[str, Request]) -> bytes:
    """The file of a batch; raises `Unsupported` for one that is too large for an upload."""
    lines = [
        encode_body({"custom_id": custom_id, "body": request_body(request)}) + b"\n"
        for custom_id, request in requests.items()
    ]
    size = sum(map(len, lines))
    if size > UPLOAD_LIMIT:
        raise Unsupported(
            f"The requests of one part take {size / 1e6:,.0f} MB, and Fireworks takes "
            f"{UPLOAD_LIMIT / 1e6:,.0f} MB at once. Split them into more parts: --llm-parts"
        )
    return b"".join(lines)


def status_of(job: Mapping[str, Any]) -> BatchStatus:
    """Read how far a job is; raises `BadAnswer` for what is no job."""
    state = job.get("state")
    if not isinstance(state, str):
        raise BadAnswer(f"the service tells no state of the job: {shortened(json.dumps(job))}")
    name = state.removeprefix("JOB_STATE_")
    told = job.get("status")
    message = told.get("message") if isinstance(told, dict) else None
    progress = job.get("jobProgress")
    counts = progress if isinstance(progress, dict) else {}
    words = name.replace("_", " ").lower()
    return BatchStatus(
        _STATES.get(name, "running"),
        f"{words}: {message}" if isinstance(message, str) and message else words,
        _count(counts.get("totalInputRequests")),
        _count(counts.get("successfullyProcessedRequests")),
        _count(counts.get("failedRequests")),
    )


def _count(value: object) -> int | None:
    """A count, which the service may write as a text."""
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
