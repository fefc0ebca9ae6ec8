"""The scorers bleu, chrf and ter, against values worked out by hand from their definitions."""

from __future__ import annotations

from typing import Any

import pytest
from sacrebleu import sentence_bleu, sentence_chrf, sentence_ter

from pytest_llmeval.records import Answer, Item, Score, ScorerSpec
from pytest_llmeval.scoring.scorer import make_scorer


def judged(scorer: str, text: str, target: Any, **options: Any) -> Score:
    made = make_scorer(ScorerSpec(scorer, options))
    return made(Answer(text, "stop"), Item("one", "one", {}, target))


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [
        # 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, and 0 of 3 smoothed to 1 of 6
        ("the cat sat on the mat", "the cat is on the mat", (5 / 6 * 3 / 5 / 4 / 6) ** 0.25),
        # a text of two words has no triples: only words and pairs count
        ("the cat", "the cat", 1),
        # two of two words, the brevity penalty exp(1 - 4/2), orders 1 and 2
        ("the cat", "the cat sat down", 0.36787944117144233),
        ("the cat sat on the mat", "the cat sat on the mat", 1),
        ("x", "the cat", 0),
    ],
)
def test_bleu_of_a_sentence(text: str, target: str, value: float) -> None:
    score = judged("bleu", text, target)
    assert score.value == pytest.approx(value, abs=1e-9)
    assert (score.outcome == "right") == (value == 1)


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [
        ("abc", "abc", 1),
        ("xyz", "abc", 0),
        # characters 1 of 2 on both sides, pairs 0 of 1, longer ones in neither
        ("ab", "ac", 0.25),
    ],
)
def test_chrf_of_a_sentence(text: str, target: str, value: float) -> None:
    assert judged("chrf", text, target).value == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "target", "value", "ter"),
    [
        ("a b c", "a b c", 1, "ter 0 "),
        ("A b c", "a B c", 1, "ter 0 "),
        ("a b", "a b c d", 1 / 2, "ter 50 "),  # two words to insert, of four
        ("a c b", "a b c", 2 / 3, "ter 33.33 "),  # one shift
        ("x y z", "a b", 0, "ter 150 "),  # three edits for two words: cut off at 0
    ],
)
def test_ter_is_turned_around_and_cut_off_at_0(
    text: str, target: str, value: float, ter: str
) -> None:
    score = judged("ter", text, target)
    assert score.value == pytest.approx(value, abs=1e-9)
    assert ter in score.stages[-1]


def test_several_references_are_combined_as_sacrebleu_does() -> None:
    text, targets = "the cat sat on a mat", ["the cat is on the mat", "a cat sat down"]
    for scorer, of_package in (("bleu", sentence_bleu), ("chrf", sentence_chrf)):
        assert judged(scorer, text, targets).value == pytest.approx(
            of_package(text, targets).score / 100
        )
    assert judged("ter", text, targets).value == pytest.approx(
        1 - sentence_ter(text, targets).score / 100
    )


def test_the_signature_is_recorded() -> None:
    assert (
        "[nrefs:1|case:mixed|eff:yes|tok:13a|smooth:exp|version:"
        in (judged("bleu", "a", "a").stages[-1])
    )
    assert (
        "case:lc|eff:yes|tok:char"
        in (judged("bleu", "a", "a", tokenize="char", lowercase=True).stages[-1])
    )
    assert "nc:6|nw:2" in judged("chrf", "a", "a", word_order=2).stages[-1]


def test_case_and_tokens_can_be_chosen() -> None:
    assert judged("bleu", "The Cat", "the cat").outcome == "wrong"
    assert judged("bleu", "The Cat", "the cat", lowercase=True).outcome == "right"
    assert judged("bleu", "我爱北京", "我爱上海", tokenize="zh").outcome == "graded"


@pytest.mark.parametrize("scorer", ["bleu", "chrf", "ter"])
def test_an_empty_target_has_no_measure(scorer: str) -> None:
    with pytest.raises(ValueError, match="item one has an empty target"):
        judged(scorer, "a", " ")
