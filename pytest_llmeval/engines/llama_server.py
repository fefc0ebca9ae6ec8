"""llama.cpp's server: the llama-server executable, and the same server embedded by xllamacpp."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from pytest_llmeval.engines.chunks import LlamaCppPieces
from pytest_llmeval.engines.completion import completion_body, llama_cpp_answer, prompt_of
from pytest_llmeval.engines.engine import register
from pytest_llmeval.engines.likelihood import LikelihoodAsker
from pytest_llmeval.engines.openai import OpenAIEngine
from pytest_llmeval.engines.reading import Unexpected, optional, read_reply
from pytest_llmeval.records import Answer, Likelihood, Request


@register("embedded")
@register("llama-server")
class LlamaServerEngine(OpenAIEngine):
    """Chats and raw completions with llama.cpp's own sampling keys, grammars and prompt cache."""

    kind = "llama-server"
    llama_cpp = True

    @staticmethod
    def refuse(request: Request) -> None:
        """Raise `Unsupported` for what a raw completion has no place for; all else it can do."""
        if request.form == "completion":
            prompt_of(request)

    async def _continue(self, request: Request) -> Answer:
        """Ask at llama.cpp's own path: OpenAI's does not tell whether the prompt was cut."""
        body = completion_body(request, self._endpoint.model, llama_cpp=True)
        read = partial(
            llama_cpp_answer,
            max_tokens=request.sampling.max_tokens,
            top_logprobs=request.top_logprobs,
        )
        return await self._ask("/completion", body, read, LlamaCppPieces)

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Make one attempt; see `likelihood.py` for how."""
        return await self.likelihood_asker.likelihoods(request)

    @cached_property
    def likelihood_asker(self) -> LikelihoodAsker:
        """What asks the server for likelihoods, and remembers what it can do."""
        endpoint = self._endpoint
        template_kwargs = endpoint.settings.get("chat_template_kwargs")
        return LikelihoodAsker(self._post, endpoint.model, template_kwargs, endpoint.api_key)

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Ask the server, which reads special tokens in a text as it does in a prompt."""
        named = {} if self._endpoint.model is None else {"model": self._endpoint.model}
        body = {**named, "content": text, "add_special": False, "parse_special": True}
        reply = await self._post("/tokenize", body)
        return read_reply(reply, _token_ids, self._endpoint.api_key)


def _token_ids(data: dict[str, Any]) -> tuple[int, ...]:
    tokens = optional(data, "tokens", list)
    if tokens is None or not all(type(token) is int for token in tokens):
        raise Unexpected("tokens is not a list of whole numbers")
    return tuple(tokens)
