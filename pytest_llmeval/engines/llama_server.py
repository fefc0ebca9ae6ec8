"""llama.cpp's server: the llama-server executable, and the same server embedded by xllamacpp."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pytest_llmeval.engines.chat import encode_body
from pytest_llmeval.engines.engine import register
from pytest_llmeval.engines.likelihood import LikelihoodAsker
from pytest_llmeval.engines.openai import OpenAIEngine
from pytest_llmeval.records import Likelihood, Request


@register("embedded")
@register("llama-server")
class LlamaServerEngine(OpenAIEngine):
    """Chat completions with llama.cpp's own sampling keys and control of its prompt cache."""

    kind = "llama-server"
    llama_cpp = True

    @staticmethod
    def refuse(request: Request) -> None:
        """Refuse nothing: it understands every key there is."""

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Make one attempt; see `likelihood.py` for how."""
        return await self._likelihood_asker.likelihoods(request)

    @cached_property
    def _likelihood_asker(self) -> LikelihoodAsker:
        return LikelihoodAsker(self._post, self._endpoint.settings.get("chat_template_kwargs"))

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Give the body of a reply with status 200."""
        named = body if self._endpoint.model is None else {"model": self._endpoint.model, **body}
        reply = await self._wire.send("POST", path, encode_body(named))
        if reply.status != 200:
            raise self._refusal(reply)
        return reply.body
