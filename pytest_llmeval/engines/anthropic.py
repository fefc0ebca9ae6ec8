"""Any endpoint that speaks Anthropic's Messages API and that somebody else runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from pytest_llmeval.engines.chat import encode_body
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.message_events import MessageEvents
from pytest_llmeval.engines.messages import (
    answer_from_messages,
    messages_body,
    refuse_for_messages,
)
from pytest_llmeval.engines.openai import base_and_version, facts_behind
from pytest_llmeval.engines.refusals import error_from_reply
from pytest_llmeval.engines.streamed import Streaming
from pytest_llmeval.engines.wire import make_wire
from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer, Request

_API_VERSION = "2023-06-01"


def messages_headers(api_key: str | None) -> dict[str, str]:
    """What goes with every request: the API's version, and the key if there is one."""
    return {"anthropic-version": _API_VERSION, **({"x-api-key": api_key} if api_key else {})}


@register("anthropic")
class AnthropicEngine(Refusing):
    """Speaks to an adopted endpoint. Its url may end in /v1, or leave it out."""

    kind = "anthropic"

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        base, self._version = base_and_version(endpoint.url)
        key = endpoint.api_key
        self._endpoint = dataclasses.replace(endpoint, url=base)
        self._clock = clock
        self._wire = make_wire(self._endpoint, messages_headers(key))
        self._path = f"{self._version}/messages"
        streams = endpoint.settings.get("stream")
        self._streaming = Streaming(self._wire, self._refusal, key) if streams else None

    @staticmethod
    def refuse(request: Request) -> None:
        """Raise `Unsupported` for what the Messages API cannot say."""
        refuse_for_messages(request)

    async def describe(self) -> EndpointFacts:
        """Ask /v1/models, and llama.cpp's /props; neither need exist."""
        return await facts_behind(self._wire, self._version, self._endpoint.model, self._refusal)

    async def complete(self, request: Request) -> Answer:
        """Make one attempt."""
        self.refuse(request)
        endpoint = self._endpoint
        body = messages_body(request, endpoint.model)
        if self._streaming is not None:
            payload = encode_body({**body, "stream": True})
            return await self._streaming.ask(self._path, payload, MessageEvents(endpoint.api_key))
        reply = await self._wire.send("POST", self._path, encode_body(body))
        if reply.status != 200:
            raise self._refusal(reply)
        return answer_from_messages(reply.body, secret=endpoint.api_key)

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    def _refusal(self, reply: Reply) -> EngineError:
        return error_from_reply(
            reply.status, reply.headers, reply.body, now=self._clock, secret=self._endpoint.api_key
        )
