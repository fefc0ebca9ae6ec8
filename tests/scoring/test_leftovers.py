"""Tokens of a chat template in an answer's text, and what they make of a score."""

from __future__ import annotations

import pytest

from pytest_llmeval.records import Answer, Item, Prediction, ScorerSpec
from pytest_llmeval.scoring.judging import score_prediction
from pytest_llmeval.scoring.leftovers import marker_in
from pytest_llmeval.scoring.markup import reasoning_tag_in
from pytest_llmeval.scoring.scorer import make_scorer


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ("Paris<|im_end|>\n<|im_start|>user", "<|im_end|>"),
        ("Paris<|eot_id|>", "<|eot_id|>"),
        ("[INST] Capital? [/INST] Paris", "[INST]"),
        ("<<SYS>>Be kind.<</SYS>>", "<<SYS>>"),
        ("Paris<end_of_turn>\n<start_of_turn>user", "<end_of_turn>"),
        ("<|start_header_id|>user<|end_header_id|>", "<|start_header_id|>"),
        ("<｜Assistant｜>Paris", "<｜Assistant｜>"),
        ("Paris</s>", "</s>"),
        ("<s>Lyon</s> Paris", ""),  # struck out, in HTML
        ("a <| b |> c", ""),
        ("[INSTRUCTIONS] none", ""),
        ("Paris", ""),
        ("", ""),
    ],
)
def test_a_token_of_a_chat_template_is_known_in_a_text(text: str, marker: str) -> None:
    assert marker_in(text) == marker


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("<think>Hm.</think> Paris", "<think>"),
        ("Hm.</think> Paris", "</think>"),
        ("◁think▷Hm.", "◁think▷"),
        ("<analysis>may be an answer's own</analysis>", ""),
        ("I think so.", ""),
    ],
)
def test_a_tag_of_reasoning_is_known_in_a_text(text: str, tag: str) -> None:
    assert reasoning_tag_in(text) == tag


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("Rome<|im_start|>user\nAnd Paris?", "wrong", "template_markers"),
        ("Rome", "wrong", ""),
        ("Paris<|im_end|>", "right", ""),  # a token at the end is taken off, as ever
        ("", "no_answer", "empty"),
    ],
)
def test_a_wrong_answer_with_such_a_token_says_so(text: str, outcome: str, reason: str) -> None:
    item = Item("fr", "fr", {}, "Paris")
    scorer = make_scorer(ScorerSpec("exact"))
    (score,) = score_prediction([scorer], Prediction("t", Answer(text, "stop"), None), item)
    assert (score.outcome, score.reason) == (outcome, reason)
