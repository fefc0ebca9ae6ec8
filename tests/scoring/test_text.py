"""The scorers exact, normalized_exact and includes, row by row."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, Item, ScorerSpec
from pytest_llmeval.scoring.scorer import make_scorer


def outcome(scorer: str, text: str, target: Any, **options: Any) -> str:
    made = make_scorer(ScorerSpec(scorer, options))
    return made(Answer(text, "stop"), Item("one", "one", {}, target)).outcome


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("text", "target", "options", "expected"),
    [
        ("Paris", "Paris", {}, "right"),
        ("\u00a0Paris\n", "Paris", {}, "right"),
        ("paris", "Paris", {}, "wrong"),
        ("paris", "Paris", {"ignore_case": True}, "right"),
        ("STRASSE", "Straße", {"ignore_case": True}, "right"),
        ("Paris.", "Paris", {}, "wrong"),
        ("It is Paris", "Paris", {}, "wrong"),
        (DECOMPOSED, COMPOSED, {}, "right"),
        (DECOMPOSED, COMPOSED, {"normalize": False}, "wrong"),
        (" Paris", "Paris", {"normalize": False}, "wrong"),
        ("Paris", "Paris", {"normalize": False}, "right"),
        ("```\nParis\n```", "Paris", {}, "right"),
        ("```\nParis\n```", "```\nParis\n```", {}, "right"),
        ("<think>Rome?</think>Paris", "Paris", {}, "right"),
        ("<think>Paris</think>Rome", "Paris", {}, "wrong"),
        ("Rome", ["Paris", "Rome"], {}, "right"),
        ("42", 42, {}, "right"),
        ("true", True, {}, "right"),
        ("a\r\nb", "a\nb", {}, "right"),
        ("a\nb", "a\r\nb", {}, "right"),
        ("a\r\nb", "a\nb", {"normalize": False}, "wrong"),
    ],
)
def test_exact(text: str, target: Any, options: dict[str, Any], expected: str) -> None:
    assert outcome("exact", text, target, **options) == expected


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("The Eiffel Tower.", "eiffel tower", "right"),
        ("an  apple", "Apple", "right"),
        ("“Paris”", "Paris", "right"),
        ("¿Qué?", "qué", "right"),
        ("twenty-one", "twentyone", "right"),
        ("twenty\u2013one", "twenty-one", "right"),
        ("STRASSE", "straße", "right"),
        (DECOMPOSED, COMPOSED, "right"),
        ("Par\u00adis\u200b", "Paris", "right"),
        ("東京。", "東京", "right"),
        ("cafe", COMPOSED, "wrong"),
        ("5 €", "5", "wrong"),
        ("A", "The", "wrong"),  # nothing would be left of either
        ("The A", "a", "wrong"),
        ("Paris France", "Paris", "wrong"),
        ("Rome", ["Paris", "Rome."], "right"),
        ("3.5", "35", "wrong"),
        ("-5", "5", "wrong"),
        ("\u22125", "-5", "right"),
        ("It is -5.", "it is -5", "right"),
        ("-.5", "-5", "wrong"),
        (".5", "5", "wrong"),
        ("1/2", "12", "wrong"),
        ("8:30", "830", "wrong"),
        ("1,000", "1000", "right"),
        ("1,000,000.5", "1000000.5", "right"),
        ("1,5", "15", "wrong"),
        ("2010\u20132012", "2010-2012", "right"),
        ("covid-19", "COVID19", "right"),
        ("No. 5", "no 5", "right"),
        ("42.", "42", "right"),
        ("“42”", "42", "right"),
        ("C++", "C", "wrong"),
        ("C#", "C", "wrong"),
        ("C++.", "c++", "right"),
        ("#1", "1", "right"),
        ("well_known", "wellknown", "right"),
        ("it's 5 o'clock!", "its 5 oclock", "right"),
        ("\u200fمرحبا", "مرحبا", "right"),
        ("\u2067مرحبا\u2069 5", "مرحبا 5", "right"),
    ],
)
def test_normalized_exact(text: str, target: Any, expected: str) -> None:
    assert outcome("normalized_exact", text, target) == expected


@pytest.mark.parametrize(
    ("text", "target", "options", "expected"),
    [
        ("The capital is Paris.", "Paris", {}, "right"),
        ("The capital is PARIS.", "Paris", {}, "right"),
        ("The capital is PARIS.", "Paris", {"ignore_case": False}, "wrong"),
        (f"un {DECOMPOSED} noir", COMPOSED, {}, "right"),
        ("```python\nx\n```", "```python", {}, "right"),
        ("I know", "no", {}, "right"),
        ("I know", "no", {"whole_words": True}, "wrong"),
        ("Oh no!", "no", {"whole_words": True}, "right"),
        ("C++, then", "C++", {"whole_words": True}, "right"),
        ("15", "5", {"whole_words": True}, "wrong"),
        ("42.5", "42", {"whole_words": True}, "wrong"),
        ("3.42", "42", {"whole_words": True}, "wrong"),
        ("1,042", "042", {"whole_words": True}, "wrong"),
        ("It is 42.", "42", {"whole_words": True}, "right"),
        ("42, then", "42", {"whole_words": True}, "right"),
        ("私は東京に住む", "東京", {"whole_words": True}, "right"),
        ("共42个", "42", {"whole_words": True}, "right"),
        ("共142个", "42", {"whole_words": True}, "wrong"),
        ("수도는 파리입니다", "파리", {"whole_words": True}, "right"),
        ("iPhone东京", "Phone", {"whole_words": True}, "wrong"),
        ("<think>Paris?</think>Rome", "Paris", {}, "wrong"),
        ("Rome", ["Paris", "Rome"], {}, "right"),
        ("Berlin", ["Paris", "Rome"], {}, "wrong"),
    ],
)
def test_includes(text: str, target: Any, options: dict[str, Any], expected: str) -> None:
    assert outcome("includes", text, target, **options) == expected


def test_includes_refuses_a_target_that_every_answer_includes() -> None:
    with pytest.raises(ValueError, match="empty target, which every answer includes"):
        outcome("includes", "Paris", " ")


def test_a_cut_text_that_does_not_include_the_target_yet_is_truncated() -> None:
    scorer = make_scorer(ScorerSpec("includes"))
    item = Item("one", "one", {}, "Paris")
    assert scorer(Answer("The capital is", "length"), item).reason == "truncated"
    assert scorer(Answer("It is Paris, the", "length"), item).outcome == "right"


@pytest.mark.parametrize("scorer", ["exact", "normalized_exact", "includes"])
@given(text=st.text(min_size=1, alphabet=st.characters(exclude_characters="<>[]`~◁▷|")))
def test_every_text_is_itself_however_it_is_composed(scorer: str, text: str) -> None:
    if text.strip():
        decomposed = unicodedata.normalize("NFD", text)
        assert outcome(scorer, decomposed, text) == "right"


@pytest.mark.parametrize("scorer", ["rouge", "bleu", "chrf", "ter", "edit_similarity", "token_f1"])
def test_graded_texts_are_the_same_however_they_are_composed(scorer: str) -> None:
    target = "un caf\u00e9 noir bien serr\u00e9"
    for text, other in ((target, unicodedata.normalize("NFD", target)), (target, target)):
        assert outcome(scorer, text, other) == outcome(scorer, other, text) == "right"
