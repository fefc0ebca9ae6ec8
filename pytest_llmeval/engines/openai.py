"""Any endpoint that speaks OpenAI's chat completions and that somebody else runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.chat import (
    answer_from_chat,
    chat_body,
    encode_body,
    refuse_llama_cpp_keys,
)
from pytest_llmeval.engines.completion import (
    answer_from_completion,
    completion_body,
    prompt_of,
)
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.embeddings import Vectors, embeddings_body, vectors_from
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.refusals import error_from_reply
from pytest_llmeval.engines.wire import make_wire
from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer, Request

_VERSIONED = re.compile(r"/v\d+$")
_TELLING = frozenset({401, 403, 429, 502, 503, 504})
"""Statuses of /v1/models that speak of the endpoint as a whole, not of a path it lacks."""


@register("openai")
class OpenAIEngine(Refusing):
    """Speaks to an adopted endpoint. Its url may end in /v1 or a later version, or leave it out."""

    kind = "openai"
    llama_cpp = False

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        url = endpoint.url.strip().rstrip("/")
        version = _VERSIONED.search(url)
        self._version = version.group() if version else "/v1"
        self._endpoint = dataclasses.replace(endpoint, url=_VERSIONED.sub("", url))
        self._clock = clock
        self._wire = make_wire(self._endpoint)

    @staticmethod
    def refuse(request: Request) -> None:
        """Raise `Unsupported` for what OpenAI's API cannot say."""
        refuse_llama_cpp_keys(request)
        if request.form == "completion":
            prompt_of(request)

    async def describe(self) -> EndpointFacts:
        """Ask llama.cpp's /props, which few others have, and /v1/models; neither need exist."""
        props = await self._wire.send("GET", "/props")
        if self.llama_cpp and props.status != 200:
            raise self._refusal(props)
        models = await self._wire.send("GET", f"{self._version}/models")
        if models.status in _TELLING:
            raise self._refusal(models)
        return facts_from(_json_object(props), _json_object(models), self._endpoint.model)

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
        reply = await self._post(f"{self._version}/chat/completions", body)
        return answer_from_chat(reply, secret=endpoint.api_key, top_logprobs=request.top_logprobs)

    async def _continue(self, request: Request) -> Answer:
        endpoint = self._endpoint
        body = completion_body(request, endpoint.model, llama_cpp=False)
        reply = await self._post(f"{self._version}/completions", body)
        return answer_from_completion(
            reply, secret=endpoint.api_key, top_logprobs=request.top_logprobs
        )

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


def facts_from(
    props: dict[str, Any], models: dict[str, Any], model_name: str | None
) -> EndpointFacts:
    """Gather what llama.cpp's /props and OpenAI's /v1/models tell; anything may be missing."""
    settings = props.get("default_generation_settings")
    template = _text(props.get("chat_template"))
    return EndpointFacts(
        slots=_whole(props.get("total_slots")),
        context=_whole(settings.get("n_ctx")) if isinstance(settings, dict) else None,
        model_path=_text(props.get("model_path")),
        model_name=model_name or _only_model(models),
        build=_text(props.get("build_info")),
        template_sha256=template and hashlib.sha256(template.encode("utf-8")).hexdigest(),
    )


def _only_model(models: dict[str, Any]) -> str | None:
    """Return the name of the model when there is just one."""
    data = models.get("data")
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        return None
    return _text(data[0].get("id"))


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
    return value if isinstance(value, int) and not isinstance(value, bool) else None
