"""Cells that a spreadsheet would run are marked, and every text comes back from its cell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmeval.results.cells import harmless, original

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"

#: Texts made of what matters here, beside any others.
TEXTS = st.text() | st.text(st.sampled_from("'=+-@\t\r\n 1.eE\uff1d\uff0b\uff0d\uff20a"))


@given(TEXTS)
@example("'")
@example("''=1")
@example("'-5")
def test_every_text_comes_back_from_its_cell(text: str) -> None:
    assert original(harmless(text)) == text


@given(TEXTS)
def test_no_cell_begins_as_a_formula_does(text: str) -> None:
    cell = harmless(text)
    if cell.strip()[:1] in set("=@\uff1d\uff0b\uff0d\uff20") or cell[:1] in {"\t", "\r"}:
        pytest.fail(f"{cell!r} would be run")
    if cell.strip()[:1] in {"+", "-"}:
        float(cell)  # a number is none


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("- a list", "'- a list"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\n =1", "'\n =1"),
        ("\tx", "'\tx"),
        ("'=1", "''=1"),
        ("''", "'''"),
    ],
)
def test_a_cell_that_would_be_run_or_looks_marked_gets_a_mark(text: str, cell: str) -> None:
    assert harmless(text) == cell


@pytest.mark.parametrize(
    "text", ["42", "-5", "+1.5e-3", "-.5", "'tis", "'", "a=b", "\n\nParis", ""]
)
def test_numbers_and_what_no_spreadsheet_runs_stay_themselves(text: str) -> None:
    assert harmless(text) == text


@given(TEXTS)
def test_the_documented_way_back_is_the_same(text: str) -> None:
    documented = re.search(r'"(\\A.*?)", ""', REFERENCE.read_text(encoding="utf-8"))
    assert documented is not None
    assert re.sub(documented[1], "", harmless(text)) == text
