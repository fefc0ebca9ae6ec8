"""Text of others: what acts on a terminal or hides is spelt out, and nothing else is changed."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.visible import visible, visible_json

#: Of the characters that Unicode counts among formatting, those that are seen.
PRINTED = {
    *"\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f",
    *"\u0890\u0891\u08e2\U000110bd\U000110cd",
}


def test_whatever_controls_or_formats_text_is_spelt_out() -> None:
    left = {
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and visible(chr(code)) == chr(code)
    }
    assert left == {"\n", "\t"} | PRINTED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
        ("\x1b]8;;x:\x07y\x1b]8;;\x07", r"\x1b]8;;x:\x07y\x1b]8;;\x07"),
        ("\x9b31m\x7f\0\r\n", "\\x9b31m\\x7f\\x00\\r\n"),
        ("user\u202ecod.exe", r"user\u202ecod.exe"),
        ("\u2066a\u2069\u200f\u061c", r"\u2066a\u2069\u200f\u061c"),
        ("4\u200b2 so\xadft \ufeff\u2028", r"4\u200b2 so\xadft \ufeff\u2028"),
        ("\U000e0041\U000e0100", r"\U000e0041\U000e0100"),
        ("\ud800", r"\ud800"),
        ("a\u200db \u200c\u200c", r"a\u200db \u200c\u200c"),
        ("x\ufe0f\ufe0f\ufe01", "x\ufe0f\\ufe0f\\ufe01"),
        ("\u3164 \u115f", r"\u3164 \u115f"),
    ],
)
def test_what_acts_or_hides_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "é 模型 שלום مرحبا\n\ttab",
        "👩‍👧 ❤️‍🔥 1️⃣ 🏳️‍🌈",  # these are what is tested
        "می\u200cخواهم क्\u200dष",
    ],
)
def test_letters_lines_and_emoji_stay_as_they_are(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_it_may_be_done_twice(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_reads_back_as_it_was_and_hides_nothing(value: object) -> None:
    shown = visible_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(shown) == value
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::broken", r"\x3a:error::broken"),
        ("a\n  ::stop-commands::x\n", "a\n  \\x3a:stop-commands::x\n"),
        ("\u00a0\u2003::add-mask::a", "\u00a0\u2003\\x3a:add-mask::a"),
        ("##[add-mask]a", r"\x23#[add-mask]a"),
        ("in the middle ##[add-mask]a", r"in the middle \x23#[add-mask]a"),
        ("suites/a.yaml::m/plain::one", "suites/a.yaml::m/plain::one"),
        ("## [a heading]", "## [a heading]"),
    ],
)
def test_no_line_is_a_command_to_a_runner_of_github(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
