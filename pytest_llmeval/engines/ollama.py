"""Ollama, by its own API: what it can do that OpenAI's format cannot say.

Answers are asked for in one piece (`stream: false`): Ollama tells its own times, and an error in
the middle of an answer then has a status, where in a stream it is a line with status 200.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from pytest_llmeval.engines.chat import encode_body
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.ollama_answers import (
    Expected,
    answer_from,
    likelihoods_from,
    refuse_remote,
    vectors_from,
)
from pytest_llmeval.engines.ollama_facts import (
    Shown,
    context_of,
    loaded_context,
    manifest_digest,
    read_shown,
    refuse_version,
)
from pytest_llmeval.engines.ollama_pull import pull
from pytest_llmeval.engines.ollama_refusals import missing_model, ollama_error
from pytest_llmeval.engines.ollama_requests import (
    EMBED,
    GENERATE,
    NO_LIKELIHOODS,
    USUAL_CONTEXT,
    Manner,
    base_of,
    embedding_body,
    first_token_of,
    loading_body,
    path_and_body,
    refuse,
    unloading_body,
)
from pytest_llmeval.engines.reading import read_reply
from pytest_llmeval.engines.wire import make_wire
from pytest_llmeval.errors import (
    ConfigError,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Likelihood, Request

LOAD_TIMEOUT = 3600.0
"""Seconds for loading: Ollama itself gives up when it gets no further (OLLAMA_LOAD_TIMEOUT)."""

TELL_AFTER = 2.0
"""Seconds of loading after which the user is told."""


@register("ollama")
class OllamaEngine(Refusing):
    """Speaks to one Ollama about one model.

    `tell` prints a line for the user: that a model is being loaded or pulled, and how far it is.
    Its settings are those of the config: `context`, `keep_alive`, `think`, `pull`, `remote`.
    """

    kind = "ollama"
    refuse = staticmethod(refuse)

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tell: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if endpoint.model is None:
            raise ConfigError("The engine ollama needs the name of a model, such as llama3.1:8b.")
        settings = endpoint.settings
        self._endpoint = dataclasses.replace(endpoint, url=base_of(endpoint.url))
        self._model = endpoint.model
        self._asked_context: int | None = settings.get("context")
        self._manner = Manner(
            endpoint.model,
            self._asked_context or USUAL_CONTEXT,
            settings.get("keep_alive"),
            settings.get("think"),
        )
        self._may_pull = bool(settings.get("pull"))
        self._may_leave = bool(settings.get("remote"))
        self._tell = tell
        self._clock = clock
        self._wire = make_wire(self._endpoint)
        self._shown: Shown | None = None
        self._showing = asyncio.Lock()

    # What it is -----------------------------------------------------------------------------------

    async def describe(self) -> EndpointFacts:
        """Ask for version and model, pull it if it is missing and may be, and load it.

        Only a loaded model says which context it really has. Raises `Unsupported` for a version
        that cuts prompts silently, and for a model on another machine that was not asked for.
        """
        version = str((await self._greet()).get("version", ""))
        refuse_version(version)
        shown = await self._get_shown()
        context = await self._load(shown)
        listed = await self._get("/api/tags")
        return EndpointFacts(
            context=context or self._manner.context,
            model_name=self._model,
            build=f"ollama {version}" if version else None,
            template_sha256=shown.template_sha256,
            digest=shown.weights or manifest_digest(listed, self._model),
        )

    async def _greet(self) -> dict[str, Any]:
        try:
            return await self._get("/api/version")
        except EndpointUnreachable as error:
            raise EndpointUnreachable(
                f"{error}. Is Ollama running? Start it with `ollama serve` or by its app; where "
                f"there is an executable `ollama` on PATH, or named with `executable:`, and the "
                f"url is of this machine, it is started for you"
            ) from error

    async def _get_shown(self) -> Shown:
        """What /api/show says, asked for once."""
        async with self._showing:
            if self._shown is None:
                self._shown = await self._show()
                context = context_of(self._asked_context, USUAL_CONTEXT, self._shown.trained)
                self._manner = dataclasses.replace(self._manner, context=context)
            return self._shown

    async def _show(self) -> Shown:
        body = {"model": self._model}
        reply = await self._wire.send("POST", "/api/show", encode_body(body))
        if reply.status == 404 and self._may_pull:
            await pull(self._endpoint, self._tell)
            reply = await self._wire.send("POST", "/api/show", encode_body(body))
        if reply.status == 404:
            raise missing_model(self._model)
        data = self._object(reply)
        refuse_remote(data, allowed=self._may_leave)
        return read_shown(data)

    async def _load(self, shown: Shown) -> int | None:
        """Load the model as requests will want it; the context that it then has, None if unknown.

        A model that is elsewhere, or that would not stay, is not loaded ahead.
        """
        path, body = GENERATE, loading_body(self._manner)
        if not shown.writes:
            path, body = EMBED, embedding_body((), self._manner)
        if body is None or shown.elsewhere:
            return None
        wire = make_wire(dataclasses.replace(self._endpoint, timeout=LOAD_TIMEOUT))
        telling = asyncio.get_running_loop().call_later(
            TELL_AFTER, self._tell, f"Ollama is loading {self._model}"
        )
        try:
            self._object(await wire.send("POST", path, encode_body(body)))
        finally:
            telling.cancel()
            await wire.close()
        context = loaded_context(await self._get("/api/ps"), self._model)
        if context is not None and context < self._manner.context:
            raise Unsupported(
                f"A context of {self._manner.context:,} tokens was asked for and Ollama gives "
                f"{context:,}: write `context: {context}` or less."
            )
        return context

    # What it does ---------------------------------------------------------------------------------

    async def complete(self, request: Request) -> Answer:
        """Make one attempt."""
        refuse(request)
        shown = await self._get_shown()
        path, body = path_and_body(request, self._manner, shown.own_stops)
        reply = await self._wire.send("POST", path, encode_body(body))
        if reply.status != 200:
            raise self._error(reply)
        expected = Expected(request.top_logprobs is not None, self._may_leave)
        return answer_from(reply.body, expected, secret=self._endpoint.api_key)

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Make one attempt, by the first token of one answer; refuse what that does not tell."""
        refuse(request)
        shown = await self._get_shown()
        if request.form == "chat" and shown.thinks and self._manner.think is not False:
            raise Unsupported(
                f"{NO_LIKELIHOODS} This model thinks before it answers, so that its first token "
                f"is none of the answer: write `think: false`."
            )
        answer = await self.complete(first_token_of(request))
        return likelihoods_from(answer, request.continuations)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Return a vector of length 1 for each text; a text beyond the context is refused."""
        await self._get_shown()
        body = embedding_body(tuple(texts), self._manner)
        reply = await self._wire.send("POST", EMBED, encode_body(body))
        if reply.status != 200:
            raise self._error(reply)
        return vectors_from(reply.body, len(texts), secret=self._endpoint.api_key)

    async def unload(self) -> None:
        """Have the model taken out of memory, so that another one has room; one that is elsewhere
        takes none, and is not asked.
        """
        if (await self._get_shown()).elsewhere:
            return
        body = encode_body(unloading_body(self._manner))
        self._object(await self._wire.send("POST", GENERATE, body))

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    async def _get(self, path: str) -> dict[str, Any]:
        return self._object(await self._wire.send("GET", path))

    def _object(self, reply: Reply) -> dict[str, Any]:
        """The object that a reply brings; its error when it brings one, with whatever status."""
        if reply.status != 200:
            raise self._error(reply)
        data = read_reply(reply.body, dict, self._endpoint.api_key)
        if "error" in data:
            raise RequestRefused(f"Ollama refused: {data['error']}")
        return data

    def _error(self, reply: Reply) -> EngineError:
        return ollama_error(
            reply.status,
            reply.headers,
            reply.body,
            model=self._model,
            now=self._clock,
            secret=self._endpoint.api_key,
        )
