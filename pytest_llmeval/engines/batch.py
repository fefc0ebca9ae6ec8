"""Asking many things by one job: the second face of engines whose service takes whole files.

A job has a name that we choose before it is made, and making it twice makes it once. So a name that
is written down first is enough to find the job again, whenever the process that asked was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from pytest_llmeval.engines.chat import answer_from_chat
from pytest_llmeval.engines.refusals import LONGEST_SENTENCE, quote, shortened, without, words_of
from pytest_llmeval.errors import BadAnswer, EngineError, RequestRefused
from pytest_llmeval.records import Answer, Request

BatchState = Literal["pending", "running", "completed", "failed"]
"""Where a job is. Of a failed one, as of a completed one, some results may be there."""

BatchOutcome = Answer | EngineError


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a job is. `words` are the service's own; counts are None where it has not told any.

    `total` requests went in, `answered` and `failed` are through.
    """

    state: BatchState
    words: str
    total: int | None = None
    answered: int | None = None
    failed: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of the job."""
        return self.state in ("completed", "failed")

    def told(self) -> str:
        """The status in words, with the counts that are known."""
        counts = {"answered": self.answered, "failed": self.failed}
        known = [f"{count:,} {name}" for name, count in counts.items() if count]
        of = f" of {self.total:,}" if known and self.total else ""
        return ", ".join([self.words, *known]) + of


@dataclass(frozen=True, slots=True)
class BatchResults:
    """What a job brought back, by `custom_id`; `doubled` are ids that came more than once, and
    `unreadable` are the beginnings of lines that are no result.
    """

    outcomes: Mapping[str, BatchOutcome] = field(default_factory=dict)
    doubled: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@runtime_checkable
class BatchEngine(Protocol):
    """What an engine has besides when its service takes batches; each raises `EngineError`."""

    async def submit(self, name: str, requests: Mapping[str, Request], label: str) -> str:
        """Make the job of this name, unless there is one; give the id it is found by.

        `requests` go by `custom_id`; `label` is for people who look at the service's own pages.
        """
        ...

    async def poll(self, job: str) -> BatchStatus:
        """Ask how far a job is; raises `JobGone` where there is none."""
        ...

    async def fetch(self, job: str) -> BatchResults:
        """Get the results of a job that has ended, as many as there are."""
        ...


def read_results(lines: Iterable[bytes], *, secret: str | None = None) -> BatchResults:
    """Read the lines of a batch's results, whatever their order.

    Of a request that came back twice the first result counts if both say the same. If they do not,
    nobody knows which one is its own, and it has none.
    """
    outcomes: dict[str, BatchOutcome] = {}
    doubled: dict[str, None] = {}
    unreadable: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        try:
            custom_id, outcome = result_of_line(line, secret=secret)
        except ValueError:
            unreadable.append(quote(line, secret=secret))
            continue
        earlier = outcomes.setdefault(custom_id, outcome)
        if earlier is not outcome:
            doubled[custom_id] = None
            if not _same(earlier, outcome):
                outcomes[custom_id] = BadAnswer("the batch brought two results that differ")
    return BatchResults(outcomes, tuple(doubled), tuple(unreadable))


def result_of_line(line: bytes, *, secret: str | None = None) -> tuple[str, BatchOutcome]:
    """Read one result: its `custom_id`, and an answer or the error that stands in its place.

    The response may be wrapped as OpenAI does it (`{"status_code": 200, "body": {...}}`) or stand
    by itself. Raises ValueError for a line that is no result.
    """
    try:
        data = json.loads(line.decode("utf-8"))
        custom_id = data["custom_id"]
    except (UnicodeDecodeError, RecursionError, KeyError, TypeError) as problem:
        raise ValueError("no object with a custom_id") from problem
    if not isinstance(custom_id, str):
        raise ValueError("its custom_id is no text")  # noqa: TRY004 - of the line, not of the call
    response, error = data.get("response"), data.get("error")
    if isinstance(response, dict) and not error:
        return custom_id, _outcome(response, secret)
    if error:
        return custom_id, _refusal(None, error, secret)
    raise ValueError("neither a response nor an error")


def _outcome(response: dict[str, Any], secret: str | None) -> BatchOutcome:
    wrapped = "status_code" in response
    status = response["status_code"] if wrapped else 200
    body = response.get("body") if wrapped else response
    if status != 200:
        return _refusal(status, body, secret)
    try:
        return answer_from_chat(json.dumps(body).encode("ascii"), secret=secret)
    except BadAnswer as error:
        return error


def _refusal(status: object, told: object, secret: str | None) -> RequestRefused:
    words = words_of(told) if isinstance(told, dict) else ""
    words = words or (told if isinstance(told, str) else json.dumps(told))
    code = status if isinstance(status, int) else _code(told)
    place = f"HTTP {code}: " if code is not None else ""
    message = shortened(f"{place}{without(words, secret)}", LONGEST_SENTENCE)
    return RequestRefused(message, status=code)


def _code(told: object) -> int | None:
    """An HTTP status that stands in an error as its code."""
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, int) and 100 <= code <= 599 else None


def _same(first: BatchOutcome, second: BatchOutcome) -> bool:
    if isinstance(first, Answer) or isinstance(second, Answer):
        return first == second
    return str(first) == str(second)
