"""Any endpoint that speaks OpenAI's chat completions and that somebody else runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pytest_llmeval.engines.chat import (
    chat_answer,
    chat_body,
    encode_body,
    refuse_llama_cpp_keys,
)
from pytest_llmeval.engines.chunks import Chunks, Read
from pytest_llmeval.engines.completion import completion_answer, completion_body, prompt_of
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.embeddings import Vectors, embeddings_body, vectors_from
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.reading import read_reply
from pytest_llmeval.engines.refusals import error_from_reply
from pytest_llmeval.engines.streamed import Assembler, Streaming
from pytest_llmeval.engines.template_clock import clock_of
from pytest_llmeval.engines.wire import Wire, make_wire
from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer, Request

_VERSIONED = re.compile(r"/v\d+$")
_TELLING = frozenset({401, 403, 429, 502, 503, 504, 529})
"""Statuses of /v1/models that speak of the endpoint as a whole, not of a path it lacks."""


@register("openai")
class OpenAIEngine(Refusing):
    """Speaks to an adopted endpoint. Its url may end in /v1 or a later version, or leave it out."""

    kind = "openai"
    llama_cpp = False

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        base, self._version = base_and_version(endpoint.url)
        self._endpoint = dataclasses.replace(endpoint, url=base)
        self._clock = clock
        self._wire = make_wire(self._endpoint)
        streams = endpoint.settings.get("stream")
        self._streaming = (
            Streaming(self._wire, self._refusal, endpoint.api_key) if streams else None
        )

    @staticmethod
    def refuse(request: Request) -> None:
        """Raise `Unsupported` for what OpenAI's API cannot say."""
        refuse_llama_cpp_keys(request)
        if request.form == "completion":
            prompt_of(request)

    async def describe(self) -> EndpointFacts:
        """Ask llama.cpp's /props, which few others have, and /v1/models; neither need exist."""
        model, must = self._endpoint.model, self.llama_cpp
        return await facts_behind(self._wire, self._version, model, self._refusal, must=must)

    async def complete(self, request: Request) -> Answer:
        """Make one attempt."""
        self.refuse(request)
        return await (
            self._continue(request) if request.form == "completion" else self._chat(request)
        )

    async def _chat(self, request: Request) -> Answer:
        endpoint = self._endpoint
        body = chat_body(
            request,
            endpoint.model,
            llama_cpp=self.llama_cpp,
            template_kwargs=endpoint.settings.get("chat_template_kwargs"),
        )
        read = partial(chat_answer, top_logprobs=request.top_logprobs)
        return await self._ask(f"{self._version}/chat/completions", body, read)

    async def _continue(self, request: Request) -> Answer:
        body = completion_body(request, self._endpoint.model, llama_cpp=False)
        read = partial(completion_answer, top_logprobs=request.top_logprobs)
        return await self._ask(f"{self._version}/completions", body, read)

    async def _ask(
        self,
        path: str,
        body: dict[str, Any],
        read: Read,
        assemble: Callable[[Read, str | None], Assembler] = Chunks,
    ) -> Answer:
        """Make one attempt at an answer, whole or streamed and then assembled."""
        secret = self._endpoint.api_key
        if self._streaming is None:
            return read_reply(await self._post(path, body), read, secret)
        payload = encode_body({**body, "stream": True, "stream_options": {"include_usage": True}})
        return await self._streaming.ask(path, payload, assemble(read, secret))

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Ask for the vectors of some texts, all in one request."""
        endpoint = self._endpoint
        body = embeddings_body(texts, endpoint.model)
        reply = await self._post(f"{self._version}/embeddings", body)
        return vectors_from(reply, len(texts), secret=endpoint.api_key)

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Send a request and return the body of its reply, which must have status 200."""
        reply = await self._wire.send("POST", path, encode_body(body))
        if reply.status != 200:
            raise self._refusal(reply)
        return reply.body

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    def _refusal(self, reply: Reply) -> EngineError:
        return error_from_reply(
            reply.status, reply.headers, reply.body, now=self._clock, secret=self._endpoint.api_key
        )


def base_and_version(url: str) -> tuple[str, str]:
    """Take an API's version off the end of a url: `/v1`, also where none is written."""
    url = url.strip().rstrip("/")
    version = _VERSIONED.search(url)
    return _VERSIONED.sub("", url), version.group() if version else "/v1"


async def facts_behind(
    wire: Wire,
    version: str,
    model_name: str | None,
    refusal: Callable[[Reply], EngineError],
    *,
    must: bool = False,
) -> EndpointFacts:
    """Ask llama.cpp's /props, which few others have but some `must`, and the list of models."""
    props = await wire.send("GET", "/props")
    if must and props.status != 200:
        raise refusal(props)
    models = await wire.send("GET", f"{version}/models")
    if models.status in _TELLING:
        raise refusal(models)
    return facts_from(_json_object(props), _json_object(models), model_name)


def facts_from(
    props: dict[str, Any], models: dict[str, Any], model_name: str | None
) -> EndpointFacts:
    """Gather what llama.cpp's /props and OpenAI's /v1/models tell; anything may be missing."""
    settings = props.get("default_generation_settings")
    template = _text(props.get("chat_template"))
    served = _served(models)
    return EndpointFacts(
        slots=_whole(props.get("total_slots")),
        context=_whole(settings.get("n_ctx")) if isinstance(settings, dict) else None,
        model_path=_text(props.get("model_path")),
        model_name=model_name or (served[0][0] if len(served) == 1 else None),
        build=_text(props.get("build_info")),
        template_sha256=template and hashlib.sha256(template.encode("utf-8")).hexdigest(),
        served=tuple(name for names in served for name in names),
        clock=clock_of(template, _text(props.get("chat_template_tool_use"))),
    )


def _served(models: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The names of each model that is listed, its id first.

    llama-server sorts a model's aliases and takes the first of them for its id, so that any of them
    may be the one that it was started by.
    """
    data = models.get("data")
    entries = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    return tuple(names for names in map(_names, entries) if names)


def _names(entry: dict[str, Any]) -> tuple[str, ...]:
    aliases = entry.get("aliases")
    given = (entry.get("id"), *(aliases if isinstance(aliases, list) else ()))
    return tuple(dict.fromkeys(filter(None, map(_text, given))))


def _json_object(reply: Reply) -> dict[str, Any]:
    """Return the reply's object; an empty one when the endpoint does not have what was asked."""
    try:
        data = json.loads(reply.body.decode("utf-8")) if reply.status == 200 else {}
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    """A number of slots or tokens; one that can be none counts as not told."""
    return value if type(value) is int and value > 0 else None
