"""Vectors of many texts in few requests, each text once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from pytest_llmeval.engines.fake import FakeEngine
from pytest_llmeval.errors import BadAnswer, EndpointBusy, EngineError, RequestRefused
from pytest_llmeval.run.embedding import BATCH, Cosines, Vector


class Embedder:
    """Gives the fake engine's vectors, after the errors it was given; notes what it is asked."""

    def __init__(self, *errors: EngineError, refuses: str | None = None):
        self.batches: list[list[str]] = []
        self._errors = list(errors)
        self._refuses = refuses
        self._fake = FakeEngine()

    async def __call__(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.batches.append(list(texts))
        await asyncio.sleep(0)
        if self._errors:
            raise self._errors.pop(0)
        if self._refuses in texts:
            raise RequestRefused("too long")
        return await self._fake.embed(texts)


def compare(embedder: Embedder, *pairs: tuple[str, ...]) -> list[object]:
    """What becomes of several comparisons at once: cosines, or the error."""

    async def all_at_once() -> list[object]:
        cosines = Cosines(embedder)
        works = (cosines.compare(texts) for texts in pairs)
        return list(await asyncio.gather(*works, return_exceptions=True))

    found = asyncio.run(all_at_once())
    return [json.loads(each.text) if hasattr(each, "text") else each for each in found]


def test_the_cosines_are_of_the_first_text_with_each_of_the_others() -> None:
    (found,) = compare(Embedder(), ("a b", "a b", "a c", "d"))
    assert found == pytest.approx([1, 0.5, 0])


def test_texts_asked_for_at_once_go_out_together_and_none_twice() -> None:
    embedder = Embedder()
    compare(embedder, ("a", "t"), ("b", "t"), ("a", "t"))
    assert embedder.batches == [["a", "t", "b"]]


def test_no_request_has_more_texts_than_a_batch() -> None:
    embedder = Embedder()
    compare(embedder, *[(f"a{n}", "t") for n in range(2 * BATCH)])
    assert [len(batch) for batch in embedder.batches] == [BATCH, BATCH, 1]


def test_a_text_that_is_refused_costs_no_other_one_its_vector() -> None:
    embedder = Embedder(refuses="long")
    good, bad, other = compare(embedder, ("a", "t"), ("long", "t"), ("b", "t"))
    assert isinstance(bad, RequestRefused)
    assert isinstance(good, list)
    assert isinstance(other, list)


def test_what_could_not_be_had_is_asked_for_again_and_the_rest_is_not() -> None:
    embedder = Embedder(EndpointBusy("later"))

    async def twice() -> list[float]:
        cosines = Cosines(embedder)
        with pytest.raises(EndpointBusy):
            await cosines.compare(("a", "t"))
        await cosines.compare(("a", "t"))
        found = await cosines.compare(("a", "a"))
        return [float(value) for value in json.loads(found.text)]

    assert asyncio.run(twice()) == [1.0]
    assert embedder.batches == [["a", "t"], ["a", "t"]]


def test_a_vector_without_direction_is_a_bad_answer() -> None:
    async def nothing(texts: Sequence[str]) -> Sequence[Vector]:
        return [(0.0, 0.0) for _ in texts]

    with pytest.raises(BadAnswer, match="an embedding has no direction"):
        asyncio.run(Cosines(nothing).compare(("a", "b")))
