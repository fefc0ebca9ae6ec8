"""Cosines from an embedder: texts of many trials in one request, and no text twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

from pytest_llmeval.errors import BadAnswer, EngineError
from pytest_llmeval.records import Answer
from pytest_llmeval.scoring.similarity import cosine

Vector = tuple[float, ...]

#: So many texts go into one request: enough that the round trip does not matter.
BATCH = 32


class Cosines:
    """Compares texts by the vectors that `embed` gives. Belongs to one event loop.

    Texts that are asked for at the same moment go out together. What has been embedded is kept, for
    a target is compared with the answers of all conditions.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Awaitable[Sequence[Vector]]]):
        self._embed = embed
        self._vectors: dict[str, asyncio.Future[Vector]] = {}
        self._unsent: list[str] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def compare(self, texts: Sequence[str]) -> Answer:
        """The cosines of the first text with each of the others, as a JSON list.

        Raises EngineError.
        """
        futures = [self._vector_of(text) for text in texts]
        await asyncio.wait(set(futures))
        for error in [future.exception() for future in futures]:  # every one is to be looked at
            if error is not None:
                raise error
        first, *others = [future.result() for future in futures]
        found = [cosine(first, other) for other in others]
        if None in found:
            raise BadAnswer("an embedding has no direction: its numbers are 0, or too large")
        return Answer(json.dumps(found), "stop")

    def _vector_of(self, text: str) -> asyncio.Future[Vector]:
        """The vector of a text, now or later; one that could not be had is asked for again."""
        known = self._vectors.get(text)
        if known is not None and not (known.done() and known.exception() is not None):
            return known
        loop = asyncio.get_running_loop()
        self._vectors[text] = future = loop.create_future()
        if not self._unsent:
            loop.call_soon(self._send)  # whoever asks at this very moment comes along
        self._unsent.append(text)
        return future

    def _send(self) -> None:
        texts, self._unsent = self._unsent, []
        for start in range(0, len(texts), BATCH):
            task = asyncio.ensure_future(self._fill(texts[start : start + BATCH]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _fill(self, texts: Sequence[str]) -> None:
        """Ask for some vectors. One text that is refused must not cost the others."""
        try:
            vectors = await self._embed(texts)
        except EngineError as error:
            if error.retryable or len(texts) == 1:
                for text in texts:
                    self._vectors[text].set_exception(error)
                return
            for text in texts:
                await self._fill([text])
        else:
            for text, vector in zip(texts, vectors, strict=True):
                self._vectors[text].set_result(vector)
