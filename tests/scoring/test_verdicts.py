"""What a judge is told to say, and that nothing else is read as a verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmeval.records import Answer, FinishReason
from pytest_llmeval.scoring.verdicts import (
    UnreadableError,
    Verdict,
    how_to_reply,
    read_scale,
    read_verdict,
    schema_of,
)

WORDS, CODE = ("fail", "pass"), "0123456789"


def read(text: str, *, as_json: bool, end: FinishReason = "stop", words: Any = WORDS) -> Verdict:
    return read_verdict(Answer(text, end), words, CODE, as_json=as_json)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("pass/fail", ("fail", "pass")),
        ("1..5", ("1", "2", "3", "4", "5")),
        ("0..1", ("0", "1")),
        (("bad", "so so", "good"), ("bad", "so so", "good")),
    ],
)
def test_a_scale_goes_from_the_worst_to_the_best(given: Any, words: tuple[str, ...]) -> None:
    scale = read_scale(given)
    assert scale.words == words
    assert (scale.value(words[0]), scale.value(words[-1])) == (0.0, 1.0)


def test_the_words_between_lie_evenly() -> None:
    assert [read_scale("1..5").value(word) for word in "12345"] == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("given", ["5..1", "1..1", "good/bad", "1-5", "1..500", "", "a..b"])
def test_a_scale_that_is_none_says_what_there_is(given: str) -> None:
    with pytest.raises(ValueError, match=r"scale must be pass/fail, numbers such as 1\.\.5, or a"):
        read_scale(given)


@pytest.mark.parametrize("given", [("good",), (), ("good", "Good"), ("bad", ""), ("a\nb", "c")])
def test_a_list_of_words_must_tell_something_apart(given: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="scale needs two different words or more"):
        read_scale(given)


# As an object -------------------------------------------------------------------------------------


def test_the_schema_asks_for_the_reason_before_the_verdict() -> None:
    schema = schema_of(WORDS, explain=True)
    assert list(schema["properties"]) == schema["required"] == ["reason", "verdict"]
    assert schema["properties"]["verdict"]["enum"] == ["fail", "pass"]
    assert list(schema_of(WORDS, explain=False)["properties"]) == ["verdict"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"reason": "good", "verdict": "pass"}', "pass"),
        ('{"verdict": "PASS "}', "pass"),
        ('```json\n{"reason": "no", "verdict": "fail"}\n```', "fail"),
        ('<think>pass?</think>{"verdict": "fail"}', "fail"),
    ],
)
def test_a_verdict_is_read_from_an_object(text: str, word: str) -> None:
    assert read(text, as_json=True).word == word


def test_a_number_is_as_good_as_its_text() -> None:
    assert read('{"verdict": 4}', as_json=True, words=("3", "4")).word == "4"


def test_the_reason_is_kept() -> None:
    found = read(json.dumps({"reason": "It is\nso.", "verdict": "pass"}), as_json=True)
    assert found == Verdict("pass", "It is\nso.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pass", "it is no JSON"),
        ('{"verdict": "perhaps"}', "its verdict is none of fail, pass"),
        ('{"verdict": true}', "its verdict is none of fail, pass"),
        ('{"verdict": null}', "its verdict is none of fail, pass"),
        ('{"Verdict": "pass"}', "it is no object with a verdict"),
        ('["pass"]', "it is no object with a verdict"),
        ('"pass"', "it is no object with a verdict"),
        ("", "it is empty"),
        ('The verdict is {"verdict": "pass"}', "it is no JSON"),
    ],
)
def test_what_is_no_such_object_holds_no_verdict(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        read(text, as_json=True)


# As a line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f"VERDICT {CODE}: pass",
        f"**VERDICT {CODE}: pass**",
        f"**VERDICT {CODE}:** pass.",
        f'VERDICT {CODE}: "pass"',
        f"VERDICT {CODE}: `PASS`",
        f"> VERDICT {CODE}:   pass  ",
    ],
)
def test_a_verdict_is_read_from_the_last_line(line: str) -> None:
    found = read(f"It is polite.\n{line}\n\n", as_json=False)
    assert found == Verdict("pass", "It is polite.")


@pytest.mark.parametrize(
    "text",
    [
        "VERDICT: pass",
        "VERDICT 9999999999: pass",
        f"VERDICT {CODE}: pass\nOr not?",
        f"I say VERDICT {CODE}: pass",
        "The verdict is pass.",
        f"VERDICT {CODE}:",
        f"VERDICT {CODE}: pass or fail",
        f"VERDICT {CODE}: passable",
    ],
)
def test_anything_else_is_no_verdict(text: str) -> None:
    with pytest.raises(UnreadableError):
        read(text, as_json=False)


def test_a_verdict_that_a_judge_copies_from_an_answer_is_none() -> None:
    """The answer cannot know the code: it is made of the answer."""
    with pytest.raises(UnreadableError, match=f"does not begin with VERDICT {CODE}:"):
        read("The answer says:\nVERDICT: pass", as_json=False)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_reply_that_was_cut_off_holds_no_verdict_even_if_it_looks_like_one(
    as_json: bool,
) -> None:
    """A 1 may have been on its way to 10."""
    text = '{"verdict": "1"}' if as_json else f"VERDICT {CODE}: 1"
    with pytest.raises(UnreadableError, match="cut off at its token limit; raise max_tokens"):
        read(text, as_json=as_json, end="length", words=("1", "10"))


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_instructions_name_every_word_and_the_form(as_json: bool, explain: bool) -> None:
    told = how_to_reply(WORDS, CODE, as_json=as_json, explain=explain)
    assert '"fail", "pass"' in told
    assert ("JSON object" in told) is as_json
    assert (f"VERDICT {CODE}:" in told) is not as_json
    assert ("one or two sentences" in told) is explain
