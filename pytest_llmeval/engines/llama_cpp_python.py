"""llama-cpp-python, whose models live in worker processes: one request at a time in each.

The workers are `servers/llama_cpp_worker.py`; what crosses the loopback interface is a `Request` as
plain data, and the fields of an `Answer` back.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from typing import Any, cast

from pytest_llmeval.engines.chat import encode_body
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.openai import facts_from
from pytest_llmeval.engines.refusals import error_from_reply, quote, words_of
from pytest_llmeval.engines.wire import Wire, make_wire
from pytest_llmeval.errors import (
    BadAnswer,
    EndpointKilled,
    EndpointUnreachable,
    EngineError,
    Unsupported,
)
from pytest_llmeval.records import Answer, Likelihood, Request, TokenLogprob, Usage


@register("llama-cpp-python")
class LlamaCppPythonEngine(Refusing):
    """Hands each request to a worker that has none. The endpoint's url names them all, in a row
    with blanks between; waiting for a free one does not count towards a request's timeout.
    """

    kind = "llama-cpp-python"

    def __init__(self, endpoint: Endpoint) -> None:
        self._model = endpoint.model
        self._workers = [
            make_wire(dataclasses.replace(endpoint, url=url)) for url in endpoint.url.split()
        ]
        self._free: asyncio.Queue[Wire] | None = None
        self._closed = False

    @staticmethod
    def refuse(request: Request) -> None:
        """Raise `Unsupported` for what the library cannot honestly do."""
        if request.tools:
            raise Unsupported(
                "The engine llama-cpp-python does not support tools: the library shows them to the "
                "model but does not read the calls in its answer. Use engine: llama-server, or "
                "embedded."
            )

    async def describe(self) -> EndpointFacts:
        """Ask every worker; their slots add up."""
        replies = [await worker.send("GET", "/props") for worker in self._workers]
        facts = [facts_from(_object(reply), {}, self._model) for reply in replies]
        return dataclasses.replace(facts[0], slots=sum(each.slots or 0 for each in facts))

    async def complete(self, request: Request) -> Answer:
        """Make one attempt at an answer."""
        self.refuse(request)
        reply = await self._ask("/complete", request)
        try:
            return _answer(reply)
        except (KeyError, TypeError, ValueError) as error:
            raise _no_answer(error) from error

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Have the continuations scored by full logits."""
        self.refuse(request)
        reply = await self._ask("/likelihoods", request)
        try:
            pairs = zip(request.continuations, reply["likelihoods"], strict=True)
            return tuple(_likelihood(text, found) for text, found in pairs)
        except (KeyError, TypeError, ValueError) as error:
            raise _no_answer(error) from error

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Ask the model's own tokenizer."""
        async with self._worker() as worker:
            reply = await worker.send("POST", "/tokenize", encode_body({"text": text}))
        return tuple(_object(reply)["tokens"])

    async def close(self) -> None:
        """Close every connection; a worker stops working on what was asked over it."""
        self._closed = True
        await asyncio.gather(*[worker.close() for worker in self._workers])

    async def _ask(self, path: str, request: Request) -> dict[str, Any]:
        body = encode_body(dataclasses.asdict(request))
        async with self._worker() as worker:
            if request.grammar is None and request.json_schema is None:
                return _object(await worker.send("POST", path, body))
            await worker.send("GET", "/health")  # whoever dies now died over this request
            try:
                return _object(await worker.send("POST", path, body))
            except EndpointUnreachable as error:
                if self._closed:
                    raise
                raise EndpointKilled(
                    f"{error}; the request has a grammar or a JSON schema, over which llama.cpp "
                    "can end its process, so it is not sent again"
                ) from error

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[Wire]:
        """Wait for a worker that is free, and give it back."""
        if self._free is None:  # made where the loop runs
            self._free = asyncio.Queue()
            for worker in self._workers:
                self._free.put_nowait(worker)
        worker = await self._free.get()
        try:
            yield worker
        finally:
            self._free.put_nowait(worker)


def _object(reply: Reply) -> dict[str, Any]:
    """What a worker replied; its refusal as the error that it is."""
    try:
        data = json.loads(reply.body.decode("utf-8"))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BadAnswer(f"The worker replied with no JSON object, but: {quote(reply.body)}")
    if reply.status == 200:
        return data
    raise _refusal(reply, data)


def _refusal(reply: Reply, data: dict[str, Any]) -> EngineError:
    if reply.status == 501:
        return Unsupported(words_of(data))
    return error_from_reply(reply.status, reply.headers, reply.body, now=time.time)


def _usage(reply: dict[str, Any]) -> Usage:
    told = reply["usage"]
    return Usage(told["prompt"], told["completion"], told["cached"], source="server")


def _likelihood(text: str, found: dict[str, Any]) -> Likelihood:
    logprobs = tuple(map(float, found["logprobs"]))
    return Likelihood(text, logprobs, _usage(found), found["service_ms"])


def _answer(reply: dict[str, Any]) -> Answer:
    return Answer(
        text=reply["text"],
        finish_reason=cast(Any, reply["finish_reason"]),
        usage=_usage(reply),
        first_token_ms=reply["first_token_ms"],
        service_ms=reply["service_ms"],
        logprobs=tuple(
            TokenLogprob(
                each["token"],
                each["logprob"],
                tuple((token, logprob) for token, logprob in each["top"]),
            )
            for each in reply["logprobs"]
        ),
    )


def _no_answer(error: Exception) -> BadAnswer:
    return BadAnswer(f"The worker's reply cannot be used: {type(error).__name__}: {error}")
