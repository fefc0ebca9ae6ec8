"""llama.cpp's server: the llama-server executable, and the same server embedded by xllamacpp."""

from __future__ import annotations

from pytest_llmeval.engines.engine import register
from pytest_llmeval.engines.openai import OpenAIEngine
from pytest_llmeval.records import Request


@register("embedded")
@register("llama-server")
class LlamaServerEngine(OpenAIEngine):
    """Chat completions with llama.cpp's own sampling keys and control of its prompt cache."""

    kind = "llama-server"
    llama_cpp = True

    @staticmethod
    def refuse(request: Request) -> None:
        """Refuse nothing: it understands every key there is."""
