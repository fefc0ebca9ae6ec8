"""The scorers token_f1, rouge and edit_similarity, against values worked out elsewhere."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, FinishReason, Item, Score, ScorerSpec
from pytest_llmeval.scoring.scorer import make_scorer


def judged(
    scorer: str, text: str, target: Any, finish_reason: FinishReason = "stop", **options: Any
) -> Score:
    made = make_scorer(ScorerSpec(scorer, options))
    return made(Answer(text, finish_reason), Item("one", "one", {}, target))


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [
        ("The Eiffel Tower.", "eiffel tower", 1),
        ("Paris", "Rome", 0),
        # 3 shared words; 4 and 4 words without articles
        ("the cat sat on a mat", "The cat is on the mat", 3 / 4),
        # 2 shared of 3 and 2
        ("in Paris, France", "Paris France", 4 / 5),
        # a word counts as often as it stands in both
        ("no no no", "no", 2 / 4),
        ("no", "no no no", 2 / 4),
        ("Lutetia or Paris", ["Paris", "Lutetia or Paris"], 1),
        ("Lutetia or Paris", ["Rome", "Paris"], 2 / 4),
        ("<think>Rome</think>Paris", "Paris", 1),
        ("¡Hola, señor!", "hola señor", 1),
        ("STRASSE 5", "straße 6", 2 / 4),
        ("東京 タワー", "東京", 2 / 3),
        ("!!!", "Paris", 0),
        ("the", "Paris", 0),
        (unicodedata.normalize("NFD", "café noir"), "Café", 2 / 3),
    ],
)
def test_f1_is_twice_the_shared_words_over_all_words(text: str, target: Any, value: float) -> None:
    score = judged("token_f1", text, target)
    assert score.value == pytest.approx(value, abs=1e-12)
    assert score.outcome == ("right" if value == 1 else "wrong" if value == 0 else "graded")


@given(st.text(max_size=40), st.text(max_size=40, min_size=1))
def test_f1_is_the_same_both_ways(one: str, other: str) -> None:
    first, second = judged("token_f1", one, other or "x"), judged("token_f1", other, one or "x")
    if {first.outcome, second.outcome}.isdisjoint({"no_answer"}) and one:
        assert first.value == second.value


@pytest.mark.parametrize(
    ("options", "value"),
    [
        # From the README of rouge-score: precision 0.75, recall 0.667, and 0.625, 0.556.
        ({"type": "rouge1"}, 0.7058823529411765),
        ({"type": "rougeL"}, 0.5882352941176471),
        ({}, 0.5882352941176471),
        # Pairs shared: "the quick", "quick brown"; of 7 and of 8.
        ({"type": "rouge2"}, 4 / 15),
    ],
)
def test_rouge_gives_the_values_of_its_package(options: dict[str, Any], value: float) -> None:
    target = "The quick brown fox jumps over the lazy dog"
    score = judged("rouge", "The quick brown dog jumps on the log.", target, **options)
    assert score.value == pytest.approx(value, abs=1e-12)


def test_rouge_says_whether_it_stems() -> None:
    plain = judged("rouge", "he jumps", "he jumped", type="rouge1")
    stemmed = judged("rouge", "he jumps", "he jumped", type="rouge1", stemmer=True)
    assert (plain.value, stemmed.value) == (0.5, 1.0)
    assert "not stemmed" in plain.stages[-1]
    assert "not stemmed" not in stemmed.stages[-1]
    assert "stemmed" in stemmed.stages[-1]


def test_rouge_takes_the_best_of_several_targets() -> None:
    assert judged("rouge", "a b c", ["x y z", "a b c"]).outcome == "right"


def test_rouge_refuses_a_target_that_it_cannot_read() -> None:
    with pytest.raises(
        ValueError, match=r"item one has no letter a to z .* token_f1 and chrf read"
    ):
        judged("rouge", "собака", "собака")


@pytest.mark.parametrize(
    ("text", "target", "options", "value"),
    [
        ("kitten", "sitting", {}, 1 - 3 / 7),  # Levenshtein's own example: 3 edits
        ("kitten", "sitting", {"kind": "indel"}, 1 - 5 / 13),  # "ittn" is common: 2 + 3 edits
        ("MARTHA", "MARHTA", {"kind": "jaro_winkler"}, 0.9611111111),  # Winkler 1990
        ("Paris", "paris", {}, 4 / 5),
        ("Paris", "paris", {"ignore_case": True}, 1),
        (" Paris\n", "Paris", {}, 1),
        (unicodedata.normalize("NFD", "café"), "café", {}, 1),
        ("```\nx = 1\n```", "x = 1", {}, 1),
        ("```\nx = 1\n```", "```\nx = 1\n```", {}, 1),
        ("abc", "xyz", {}, 0),
        ("abc", ["xyz", "abd"], {}, 2 / 3),
    ],
)
def test_edit_similarity(text: str, target: Any, options: dict[str, Any], value: float) -> None:
    assert judged("edit_similarity", text, target, **options).value == pytest.approx(value)


@pytest.mark.parametrize("scorer", ["token_f1", "rouge", "edit_similarity"])
def test_a_cut_answer_is_worth_what_is_there_and_nothing_yet_is_truncated(scorer: str) -> None:
    target = "the cat sat on the mat"
    part = judged(scorer, "the cat sat", target, "length")
    assert part.outcome == "graded"
    assert part.stages[-1] == "the answer was cut off and is judged as far as it goes"
    assert judged(scorer, target, target, "length").outcome == "right"
    nothing = judged(scorer, "%", target, "length")
    assert (nothing.outcome, nothing.reason) == ("no_answer", "truncated")


def test_the_stages_tell_what_was_measured() -> None:
    score = judged("token_f1", "<think>hm</think>red cat", "the cat")
    assert (score.extracted, score.stages) == (
        "red cat",
        (
            "reasoning: stripped",
            "extract: the whole text",
            "compare: F1 0.6667 with the cat",
        ),
    )
