"""Pulling a model through Ollama: told as it goes, taken up again where it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_llmeval.engines.engine import Endpoint, EndpointFacts
from pytest_llmeval.engines.ollama import OllamaEngine
from pytest_llmeval.engines.ollama_pull import TRIES, Progress, pull
from pytest_llmeval.errors import EndpointUnreachable, RequestRefused
from tests.standins.ollama import Model, Ollama

LAYERS = {"sha256:" + "c" * 64: 4_000_000_000, "sha256:" + "d" * 64: 500}


@pytest.fixture
def library() -> Iterator[Ollama]:
    """A stand-in that has one model, and can pull another."""
    with Ollama() as it:
        it.library["new:1b"] = Model("new:1b", weights="c" * 64, layers=LAYERS)
        yield it
    assert it.complaints == []


def describe(library: Ollama, name: str, **settings: Any) -> tuple[EndpointFacts, list[str]]:
    """Describe a model; what the user was told meanwhile."""
    told: list[str] = []

    async def main() -> EndpointFacts:
        endpoint = Endpoint(library.url, name, settings=settings)
        engine = OllamaEngine(endpoint, tell=told.append)
        try:
            return await engine.describe()
        finally:
            await engine.close()

    return asyncio.run(main()), told


def pull_it(library: Ollama, name: str = "new:1b", **how: Any) -> list[str]:
    """Pull a model without a pause between tries; what the user was told."""
    told: list[str] = []
    asyncio.run(pull(Endpoint(library.url, name), told.append, pause=0, **how))
    return told


def test_a_missing_model_is_pulled_where_the_config_allows_it(library: Ollama) -> None:
    facts, told = describe(library, "new:1b", pull=True)
    assert facts.digest == "c" * 64
    assert library.asked("/api/pull") == [{"model": "new:1b", "stream": True}]
    assert told[-1] == "Ollama has pulled new:1b"


def test_a_model_that_is_there_is_not_pulled(library: Ollama) -> None:
    describe(library, "tiny", pull=True)
    assert library.asked("/api/pull") == []


def test_a_model_is_not_pulled_unless_the_config_says_so(library: Ollama) -> None:
    with pytest.raises(RequestRefused, match="`pull: true`"):
        describe(library, "new:1b")
    assert library.asked("/api/pull") == []


def test_the_user_is_told_every_few_seconds_how_far_it_is(library: Ollama) -> None:
    seconds = iter(range(0, 1000, 3))
    told = pull_it(library, clock=lambda: float(next(seconds)))
    assert told == [
        "Ollama is pulling new:1b: pulling manifest",
        "Ollama is pulling new:1b: 1.0 of 4.0 GB, 25 %",
        "Ollama is pulling new:1b: 3.0 of 4.0 GB, 75 %",
        "Ollama is pulling new:1b: 4.0 of 4.0 GB, 100 %",
        "Ollama is pulling new:1b: 4.0 of 4.0 GB, 100 %",
        "Ollama is pulling new:1b: 4.0 of 4.0 GB, 100 %",
        "Ollama is pulling new:1b: writing manifest",
        "Ollama has pulled new:1b",
    ]


@pytest.mark.parametrize("faults", [["cut"], ["cut", "cut", "cut"], ["error", "cut"], ["no end"]])
def test_a_pull_that_breaks_is_taken_up_where_it_was(library: Ollama, faults: list[str]) -> None:
    library.pull_faults = list(faults)
    pull_it(library)
    assert "new:1b" in library.models
    assert len(library.asked("/api/pull")) == len(faults) + 1


def test_a_pull_that_gets_no_further_is_given_up(library: Ollama) -> None:
    library.pull_faults = ["dead"] * 10
    with pytest.raises(EndpointUnreachable, match="Pulling new:1b broke off"):
        pull_it(library)
    assert len(library.asked("/api/pull")) == TRIES


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("nobody:1b", "", "cannot pull nobody:1b: pull model manifest: file does not exist"),
        ("new:1b", "no space left", "cannot pull new:1b: write /models/blobs: no space left"),
    ],
)
def test_what_ollama_cannot_pull_is_refused_in_its_words(
    library: Ollama, name: str, fault: str, words: str
) -> None:
    library.pull_faults = [fault]
    with pytest.raises(RequestRefused, match=words) as refusal:
        pull_it(library, name)
    assert f"does `ollama pull {name}` say the same?" in str(refusal.value)
    assert len(library.asked("/api/pull")) == 1


def test_a_proxy_that_refuses_is_told_with_its_status(library: Ollama) -> None:
    library.key = "s3cret"
    with pytest.raises(RequestRefused, match="cannot pull new:1b: HTTP 401: who are you"):
        pull_it(library)


def test_progress_is_over_all_layers_that_were_named() -> None:
    progress = Progress("m:1b")
    assert progress.words() == "Ollama is pulling m:1b"
    progress.take({"status": "pulling a", "digest": "a", "total": 3_000_000_000})
    assert (progress.fetched, progress.done) == (0, False)
    progress.take({"status": "pulling a", "digest": "a", "total": 3 * 10**9, "completed": 10**9})
    progress.take({"status": "pulling b", "digest": "b", "total": 10**9, "completed": 10**9})
    assert progress.words() == "Ollama is pulling m:1b: 2.0 of 4.0 GB, 50 %"
    progress.take({"status": "success"})
    assert progress.done
