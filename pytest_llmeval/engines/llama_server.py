"""llama.cpp's server: the llama-server executable, and the same server embedded by xllamacpp."""

from __future__ import annotations

from typing import Any

from pytest_llmeval.engines.completion import answer_from_llama_cpp, completion_body, prompt_of
from pytest_llmeval.engines.engine import register
from pytest_llmeval.engines.openai import OpenAIEngine
from pytest_llmeval.engines.reading import Unexpected, optional, read_reply
from pytest_llmeval.records import Answer, Request


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
        endpoint = self._endpoint
        body = completion_body(request, endpoint.model, llama_cpp=True)
        return answer_from_llama_cpp(
            await self._post("/completion", body),
            max_tokens=request.sampling.max_tokens,
            secret=endpoint.api_key,
            top_logprobs=request.top_logprobs,
        )

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Ask the server, which reads special tokens in a text as it does in a prompt."""
        body = {"content": text, "add_special": False, "parse_special": True}
        reply = await self._post("/tokenize", body)
        return read_reply(reply, _token_ids, self._endpoint.api_key)


def _token_ids(data: dict[str, Any]) -> tuple[int, ...]:
    tokens = optional(data, "tokens", list)
    if tokens is None or not all(type(token) is int for token in tokens):
        raise Unexpected("tokens is not a list of whole numbers")
    return tuple(tokens)
