"""Patterns tried only where words begin find what patterns tried everywhere find."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.scoring import (
    anchors,
    committed_number,
    corrections,
    denials,
    markup,
    standing,
)
from pytest_llmeval.scoring.triggers import lower, matches_at, starts_of

PATTERNS = [
    (anchors.ANCHOR, anchors.ANCHOR_WORDS),
    (denials._DENIED_BEFORE, denials._DENYING),
    (committed_number._ANCHOR, committed_number._ANCHOR_WORDS),
    (corrections._TAKEN_BACK, corrections._TAKING_BACK),
    (standing._DENIED_BEFORE, standing._DENYING),
    (markup._TAG, markup._TAG_STARTS),
]
FRAGMENTS = [
    *{word for _, words in PATTERNS for word in words},
    *("I", "It", "THE ", "is ", "was ", "wrong", "made a mistake", "think", "choose", "me correct"),
    *("<think>", "</Think >", "[THINK]", "[/THINK]", "◁think▷", "that ", "'s ", " ", "\n", "."),
    *(",", ": ", "= ", "A", "7", "}", "x"),
]


@pytest.mark.parametrize(
    ("pattern", "words"),
    PATTERNS,
    ids=["choice", "denied option", "numeric", "taken back", "denied number", "reasoning"],
)
@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_the_words_cover_every_way_in_which_a_match_begins(
    pattern: re.Pattern[str], words: tuple[str, ...], parts: list[str]
) -> None:
    text = "".join(parts)
    everywhere = [match.span() for match in pattern.finditer(text)]
    assert [match.span() for match in matches_at(pattern, text, words)] == everywhere


def test_words_are_found_in_any_case_and_within_words_in_order() -> None:
    assert starts_of("No, I know. NO", ["know", "no"]) == [0, 6, 7, 12]
    assert starts_of("", ["no"]) == []


def test_lower_case_keeps_every_position() -> None:
    assert lower("İSTANBUL No") == "İstanbul no"
