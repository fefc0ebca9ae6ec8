"""Log probabilities in each of their shapes, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmeval.engines.logprobs import (
    check_logprobs,
    logprobs_of_choice,
    logprobs_of_entries,
)
from pytest_llmeval.engines.reading import Unexpected
from pytest_llmeval.records import Answer, TokenLogprob, ToolCall

LOWEST = -3.4028234663852886e38  # what llama.cpp writes for the logarithm of 0


def entry(token: Any, logprob: Any, **top: Any) -> dict[str, Any]:
    """Write an entry of the chat shape."""
    others = [{"token": text, "logprob": each, "bytes": [1]} for text, each in top.items()]
    return {"id": 3, "token": token, "bytes": [1], "logprob": logprob, "top_logprobs": others}


def problem_of(choice: dict[str, Any]) -> str:
    """Read what is none; gives the message."""
    with pytest.raises(Unexpected) as told:
        logprobs_of_choice({"logprobs": choice}, 5)
    return str(told.value)


def test_the_chat_shape_has_an_entry_for_each_token() -> None:
    choice = {"logprobs": {"content": [entry("4", -0.5, a=-0.5, b=-1.5), entry("", -1.25)]}}
    assert logprobs_of_choice(choice, 5) == (
        TokenLogprob("4", -0.5, (("a", -0.5), ("b", -1.5))),
        TokenLogprob("", -1.25),
    )


def test_the_shape_of_openais_completions_has_lists_side_by_side() -> None:
    lists = {
        "tokens": [" 4", "2"],
        "token_logprobs": [-0.5, -1],
        "top_logprobs": [{" 3": -0.75, " 4": -0.5}, None],
        "text_offset": [9, 11],
    }
    assert logprobs_of_choice({"logprobs": lists}, 5) == (
        TokenLogprob(" 4", -0.5, ((" 4", -0.5), (" 3", -0.75))),
        TokenLogprob("2", -1.0),
    )


def test_no_more_alternatives_are_kept_than_were_asked_for() -> None:
    entries = [entry("4", -0.5, c=-3, a=-0.5, b=-1.5)]
    assert logprobs_of_entries(entries, 2)[0].top == (("a", -0.5), ("b", -1.5))
    assert logprobs_of_entries(entries, 0)[0].top == ()


def test_an_alternative_that_is_impossible_is_none() -> None:
    assert logprobs_of_entries([entry("4", -0.5, a=-0.5, b=LOWEST)], 5)[0].top == (("a", -0.5),)


def test_a_rounding_above_certainty_is_certainty() -> None:
    assert logprobs_of_entries([entry("4", 1e-7)], 0)[0].logprob == 0.0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([entry("4", None)], "logprob is null or missing, not a number"),
        ([entry("4", "-0.5")], "logprob is a string, not a number"),
        ([entry("4", float("-inf"))], "logprob is -inf, not a number"),
        ([entry("4", -(10**400))], "logprob is inf, not a number"),
        ([entry("4", 0.25)], "logprob is 0.25, not the logarithm of a probability"),
        ([entry("4", LOWEST)], "that of a token that cannot be written"),
        ([entry("4", -0.5, a=None)], "logprob is null or missing, not a number"),
        ([entry(4, -0.5)], "a token of logprobs is a whole number, not a string"),
        (["4"], "an entry of logprobs is a string, not an object"),
        ([{"token": "4", "logprob": -1, "top_logprobs": ["4"]}], "an entry of top_logprobs is a"),
    ],
    ids=range(10),
)
def test_what_is_no_log_probability_is_named(content: list[Any], problem: str) -> None:
    assert problem in problem_of({"content": content})


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        ({"tokens": ["4"], "token_logprobs": []}, "1 tokens, 0 token_logprobs and 1 top_logprobs"),
        ({"tokens": ["4"], "token_logprobs": [None]}, "logprob is null or missing, not a number"),
        (
            {"tokens": ["4"], "token_logprobs": [-1], "top_logprobs": ["4"]},
            "an entry of top_logprobs is a string, not an object",
        ),
    ],
    ids=range(3),
)
def test_lists_that_do_not_fit_are_named(lists: dict[str, Any], problem: str) -> None:
    assert problem in problem_of(lists)


@pytest.mark.parametrize(
    "answer",
    [
        Answer("4", "stop"),
        Answer("", "length", reasoning="17"),
        Answer("", "tool_calls", (ToolCall("f", {}, "{}"),)),
    ],
    ids=["text", "reasoning", "call"],
)
def test_an_answer_that_wrote_something_has_some(answer: Answer) -> None:
    with pytest.raises(Unexpected, match="were asked for and it has none"):
        check_logprobs(answer)


@pytest.mark.parametrize("text", ["", "\ufffd\ufffd"], ids=["nothing", "pieces"])
def test_an_answer_that_wrote_no_character_may_have_none(text: str) -> None:
    assert check_logprobs(Answer(text, "length")) == Answer(text, "length")
