"""An answer that cannot be one to what was asked is a failure, before anybody scores it."""

from __future__ import annotations

import pytest

from pytest_llmeval.errors import BadLogprobs, EngineError, PromptTruncated
from pytest_llmeval.records import (
    Answer,
    Likelihood,
    Message,
    Request,
    Sampling,
    TokenLogprob,
    Usage,
)
from pytest_llmeval.run.honesty import least_tokens, most_tokens, refuse_dishonest


def asking(words: int, *more: Message) -> Request:
    return Request((Message("user", "word " * words), *more), Sampling(8))


def counted(prompt: int | None, source: str = "server") -> Answer:
    return Answer("42", "stop", usage=Usage(prompt, 1, None, source))  # type: ignore[arg-type] # one of the sources


def test_fewer_tokens_than_the_words_can_be_in_mean_that_the_prompt_was_cut() -> None:
    with pytest.raises(PromptTruncated) as refusal:
        refuse_dishonest(asking(1000), counted(249), "openai")
    assert refusal.value.reason == "prompt_truncated"
    assert not refusal.value.retryable
    assert str(refusal.value) == (
        "the prompt has 1,000 words and the endpoint has read 249 tokens of it, which cannot hold "
        "more than 996: it was cut short in silence. Give the model more context, or ask for less"
    )


@pytest.mark.parametrize(
    "answer",
    [
        counted(250),  # four words a token, as superword vocabularies may have
        counted(None),
        counted(3, "none"),
    ],
)
def test_what_may_be_whole_is_let_through(answer: Answer) -> None:
    refuse_dishonest(asking(1000), answer, "openai")


def test_who_leaves_out_what_a_cache_held_is_not_held_to_the_count() -> None:
    refuse_dishonest(asking(1000), counted(3), "ollama")


def test_what_a_model_is_said_to_have_answered_counts_nothing() -> None:
    thought = Message("assistant", "<think>" + " hm" * 1000 + "</think> 42")
    assert least_tokens(asking(8, thought)) == 2  # templates leave reasoning out


def test_a_prompt_has_no_more_tokens_than_bytes_and_marks() -> None:
    assert most_tokens(Request((Message("user", "é" * 10),), Sampling(8))) == 20 + 32 + 32


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 0.7])
@pytest.mark.parametrize("place", ["written", "alternative", "likelihood"])
def test_log_probabilities_that_are_none_are_a_failure(value: float, place: str) -> None:
    tokens = {
        "written": (TokenLogprob("a", value),),
        "alternative": (TokenLogprob("a", -1.0, (("b", value),)),),
    }
    likelihoods = (Likelihood("a", (-1.0, value)),) if place == "likelihood" else ()
    answer = Answer("a", "stop", logprobs=tokens.get(place, ()), likelihoods=likelihoods)
    with pytest.raises(BadLogprobs, match=f"gives {value} for a log probability"):
        refuse_dishonest(asking(1), answer, "openai")


def test_true_log_probabilities_are_let_through() -> None:
    tokens = (TokenLogprob("a", -1.0, (("a", -1.0), ("b", -2.0))), TokenLogprob("", 0.0))
    refuse_dishonest(asking(1), Answer("a", "stop", logprobs=tokens), "openai")


def test_both_are_errors_of_an_attempt() -> None:
    assert issubclass(PromptTruncated, EngineError)
    assert BadLogprobs.reason == "bad_logprobs"
