"""How many tokens an answer took where its endpoint does not say, and who has counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from pytest_llmeval.engines.engine import Engine
from pytest_llmeval.engines.tokens import Tokenizer, estimate_tokens
from pytest_llmeval.errors import EngineError, Unsupported
from pytest_llmeval.records import Answer, Request, Usage, UsageSource

Count = Callable[[str], Awaitable[int]]


class TokenCounter:
    """Completes the usage of one model's answers.

    What the endpoint counted stays. The rest is counted by the endpoint's own tokenizer, else by
    `tokenizer`, that of the config, else from the length of the texts. Those are the texts alone,
    without what a chat template puts around them. A tokenizer that was not there once is not asked
    again.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer
        self._endpoint_counts = True

    async def completed(self, engine: Engine, request: Request, answer: Answer) -> Answer:
        """Return the answer with its tokens counted, and who counted those that were missing."""
        usage = answer.usage
        if usage.prompt is not None and usage.completion is not None:
            return answer
        texts = _prompt_text(request), _written_text(answer)
        source, (prompt, completion) = await self._count(engine, *texts)
        return replace(
            answer,
            usage=Usage(
                prompt=prompt if usage.prompt is None else usage.prompt,
                completion=completion if usage.completion is None else usage.completion,
                cached=usage.cached,
                source=source,
            ),
        )

    async def _count(self, engine: Engine, *texts: str) -> tuple[UsageSource, list[int]]:
        if self._endpoint_counts:
            try:
                return "server_tokenizer", [len(await engine.tokenize(text)) for text in texts]
            except Unsupported:
                self._endpoint_counts = False
            except EngineError:  # the answer is there all the same
                pass
        if self._tokenizer is not None:
            return "tokenizer", [self._tokenizer.count(text) for text in texts]
        return "characters", [estimate_tokens(text) for text in texts]


def _prompt_text(request: Request) -> str:
    return "\n".join(message.content for message in request.messages)


def _written_text(answer: Answer) -> str:
    calls = (f"{call.name} {call.raw}" for call in answer.tool_calls)
    return "\n".join(text for text in (answer.reasoning, answer.text, *calls) if text)
