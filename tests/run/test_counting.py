"""Tokens that an endpoint did not count."""

from __future__ import annotations

import asyncio

import pytest

from pytest_llmeval.engines.fake import FakeEngine
from pytest_llmeval.errors import EndpointTimeout, EngineError, Unsupported
from pytest_llmeval.records import Answer, Message, Request, Sampling, ToolCall, Usage
from pytest_llmeval.run.counting import TokenCounter

REQUEST = Request((Message("system", "one two"), Message("user", "three")), Sampling(8))
ANSWER = Answer("four five", "stop")


class Words:
    """A tokenizer of words."""

    def count(self, text: str) -> int:
        return len(text.split())


class Endpoint(FakeEngine):
    """An engine that has a tokenizer of letters, or raises what it is told to."""

    def __init__(self, trouble: EngineError | None = None) -> None:
        super().__init__()
        self.trouble = trouble
        self.asked: list[str] = []

    async def tokenize(self, text: str) -> tuple[int, ...]:
        self.asked.append(text)
        if self.trouble is not None:
            raise self.trouble
        return tuple(map(ord, text))


def usage_of(counter: TokenCounter, engine: Endpoint, answer: Answer = ANSWER) -> Usage:
    return asyncio.run(counter.completed(engine, REQUEST, answer)).usage


def test_what_the_endpoint_counted_stays_and_nobody_is_asked() -> None:
    engine, told = Endpoint(), Usage(5, 6, 4, "server")
    assert usage_of(TokenCounter(Words()), engine, Answer("x", "stop", usage=told)) is told
    assert engine.asked == []


def test_the_endpoint_s_tokenizer_is_asked_before_that_of_the_config() -> None:
    found = usage_of(TokenCounter(Words()), Endpoint())
    assert found == Usage(len("one two\nthree"), len("four five"), None, "server_tokenizer")


def test_an_endpoint_without_a_tokenizer_is_asked_once_and_the_config_s_counts() -> None:
    engine, counter = Endpoint(Unsupported("none here")), TokenCounter(Words())
    for _ in range(3):
        assert usage_of(counter, engine) == Usage(3, 2, None, "tokenizer")
    assert len(engine.asked) == 1


def test_an_endpoint_that_fails_to_count_costs_no_answer() -> None:
    engine, counter = Endpoint(EndpointTimeout("too slow")), TokenCounter()
    for _ in range(2):
        assert usage_of(counter, engine).source == "characters"
    assert len(engine.asked) == 2


def test_with_no_tokenizer_at_all_the_length_counts() -> None:
    found = usage_of(TokenCounter(), Endpoint(Unsupported("none here")))
    assert found == Usage(4, 3, None, "characters")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("a b", "stop", reasoning="c d e"), 5),
        (Answer("", "tool_calls", (ToolCall("f", {}, "x y"),)), 3),
        (Answer("", "stop"), 0),
    ],
    ids=["reasoning", "tool calls", "nothing"],
)
def test_everything_that_was_written_counts(answer: Answer, words: int) -> None:
    refusing = Endpoint(Unsupported("none here"))
    assert usage_of(TokenCounter(Words()), refusing, answer).completion == words


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(7, None, None, "server"), Usage(7, 2, None, "tokenizer")),
        (Usage(None, 7, 1, "server"), Usage(3, 7, 1, "tokenizer")),
    ],
)
def test_only_what_is_missing_is_filled_in(usage: Usage, expected: Usage) -> None:
    refusing = Endpoint(Unsupported("none here"))
    assert usage_of(TokenCounter(Words()), refusing, Answer("a b", "stop", usage=usage)) == expected
