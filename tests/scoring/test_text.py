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
