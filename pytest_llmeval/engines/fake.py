r"""An engine in the process itself, for users' tests and for the dry run. It contacts nobody.

engine = FakeEngine([Rule(r"(\d+) \+ 0", r"\1"), Rule("France", "Paris"), Rule(fail="busy")])
engine = FakeEngine(answer=lambda request: request.messages[-1].content.upper())
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.fake_batches import FakeBatches
from pytest_llmeval.engines.fake_rules import Fault, Rule, load_script
from pytest_llmeval.errors import (
    EndpointBusy,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Likelihood, Request, Usage

__all__ = ["FakeEngine", "Fault", "Rule", "load_script"]

_FAULTS: dict[Fault, Callable[[str], EngineError]] = {
    "timeout": EndpointTimeout,
    "busy": lambda message: EndpointBusy(message, status=503),
    "unreachable": EndpointUnreachable,
    "refused": lambda message: RequestRefused(message, status=400),
    "unsupported": Unsupported,
}


class FakeEngine(FakeBatches, Refusing):
    """Answers by the first rule that matches, else by `answer`, else with plain nonsense.

    The nonsense is "fake answer to: " and the question, cut to `max_tokens` words; or, where a
    JSON Schema is asked for, the least that keeps to it. Tokens are words between white space, so
    that every figure is the same on every machine. Texts that share words have embeddings that are
    near each other. `requests` holds
    what it was asked, in order, unless `remember` is False; `busiest` is the most requests it had
    at once. `slots` is what it says of itself; it takes any number of requests at once, so that a
    test can see who sends too many.
    """

    kind = "fake"

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        answer: Callable[[Request], str | Answer] | None = None,
        slots: int | None = None,
        remember: bool = True,
    ) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.busiest = 0
        self._rules = tuple(rules)
        self._used = [0] * len(self._rules)
        self._answer = answer
        self._slots = slots
        self._remember = remember
        self._in_flight = 0

    async def describe(self) -> EndpointFacts:
        """Say that this is the fake."""
        return EndpointFacts(slots=self._slots, model_name="fake", build="fake")

    async def complete(self, request: Request) -> Answer:
        """Answer, or raise what a rule says."""
        if self._remember:
            self.requests.append(request)
        self._in_flight += 1
        self.busiest = max(self.busiest, self._in_flight)
        try:
            return await self._respond(request)
        finally:
            self._in_flight -= 1

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Say of the text that it would answer that it is likely, and of any other that it is not.

        How much is decided by a hash, so that no two are alike, and all are the same everywhere.
        """
        answer = await self.complete(request)
        if answer.likelihoods:
            return answer.likelihoods
        return tuple(_likelihood(request, text, answer.text) for text in request.continuations)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Count the words of each text in the places that a hash gives them."""
        await asyncio.sleep(0)
        return tuple(map(_embedding, texts))

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    async def _respond(self, request: Request) -> Answer:
        question = _last_user_message(request)
        for index, rule in enumerate(self._rules):
            found = rule.pattern.search(question)
            if found and (rule.times is None or self._used[index] < rule.times):
                self._used[index] += 1
                await asyncio.sleep(rule.latency)
                if rule.fail is not None:
                    raise _FAULTS[rule.fail](f"The fake engine was told to fail: {rule.fail}")
                return _answer_of(rule, rule.expand(found), request)
        await asyncio.sleep(0)
        return self._call(request) if self._answer else _nonsense(question, request)

    def _call(self, request: Request) -> Answer:
        assert self._answer is not None
        try:
            given = self._answer(request)
        except EngineError:
            raise
        except Exception as error:  # the user's function may raise anything; a trial fails by it
            raise EngineError(
                f"The fake engine's answer function raised {type(error).__name__}: {error}"
            ) from error
        if isinstance(given, Answer):
            return given
        return Answer(given, "stop", usage=_usage(request, given))


@register("fake")
def make_fake(endpoint: Endpoint) -> FakeEngine:
    """Return a fake without rules, whatever the endpoint: the dry run's."""
    del endpoint
    return FakeEngine()


def _likelihood(request: Request, text: str, answer: str) -> Likelihood:
    """Probabilities from 0.90 to 0.95 a word of the answer, from 0.01 to 0.05 of another text."""
    expected = text.strip() == answer.strip()
    words = text.split() or [text]
    logprobs = []
    for place in range(len(words)):
        asked = json.dumps([[m.content for m in request.messages], words[: place + 1]])
        share = zlib.crc32(asked.encode("ascii")) / 2**32
        logprobs.append(math.log(0.9 + 0.05 * share if expected else 0.01 + 0.04 * share))
    read = sum(len(m.content.split()) for m in request.messages) + len(words)
    return Likelihood(text, tuple(logprobs), Usage(prompt=read, completion=0, source="server"))


def _last_user_message(request: Request) -> str:
    users = (m.content for m in reversed(request.messages) if m.role == "user")
    return next(users, "")


def _answer_of(rule: Rule, text: str, request: Request) -> Answer:
    return Answer(
        text=text,
        finish_reason=rule.finish_reason or ("tool_calls" if rule.tool_calls else "stop"),
        tool_calls=rule.tool_calls,
        usage=_usage(request, text),
    )


#: How many numbers a fake embedding has.
_DIMENSIONS = 64


def _embedding(text: str) -> tuple[float, ...]:
    vector = [0.0] * _DIMENSIONS
    for word in text.casefold().split() or [text]:
        vector[hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()[0] % _DIMENSIONS] += 1
    return tuple(vector)


def _least(schema: Mapping[str, Any]) -> Any:
    """A value that keeps to a schema of objects, words and texts, the first that comes to hand."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: _least(properties.get(name, {})) for name in schema.get("required", ())}
    values = {"array": [], "integer": 0, "number": 0, "boolean": False, "null": None}
    return values.get(schema.get("type", "string"), "fake")


def _nonsense(question: str, request: Request) -> Answer:
    if request.json_schema is not None:
        text = json.dumps(_least(request.json_schema))
        return Answer(text, "stop", usage=_usage(request, text))
    words = f"fake answer to: {question}".split()
    kept = words[: request.sampling.max_tokens]
    text = " ".join(kept)
    cut = len(kept) < len(words)
    return Answer(text, "length" if cut else "stop", usage=_usage(request, text))


def _usage(request: Request, text: str) -> Usage:
    prompt = sum(len(message.content.split()) for message in request.messages)
    return Usage(prompt=prompt, completion=len(text.split()), source="server")
