"""How likelihoods, perplexity and bits per byte are shown at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_llmeval.records import Corpus, Interval
from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.markdown import markdown_report, markdown_summary
from pytest_llmeval.results.report import Example
from pytest_llmeval.results.rounding import likelihood_lines, significant
from pytest_llmeval.results.significance import significance_schema, write_significance
from pytest_llmeval.results.terminal import summary_lines

NO_BOUNDS = Interval(None, None, "bootstrap")
CORPORA = (
    Corpus(
        *("texts", "tiny-l/plain", 50, 12_345, 45_678, -30_000.0),
        *(11.359, Interval(10.2, 12.71, "bootstrap")),
        *(0.94752, Interval(0.9, 1.0049, "bootstrap")),
    ),
    Corpus("texts", "tiny-s/plain", 1, 20, 60, -100.0, 148.41, NO_BOUNDS, 2.4, NO_BOUNDS),
    Corpus("texts", "silent/plain", 0, 0, 0, 0.0, None, NO_BOUNDS, None, NO_BOUNDS),
)
AT_80 = """
texts, condition  perplexity  95 % bootstrap  bits/byte  95 % bootstrap  tokens
texts
  tiny-l/plain         11.36    10.20..12.71     0.9475   0.9000..1.005  12,345
  tiny-s/plain         148.4               -      2.400               -      20
  silent/plain             -               -          -               -       0
"""
AT_100 = """
texts  condition     perplexity  95 % bootstrap  bits/byte  95 % bootstrap  tokens
texts  tiny-l/plain       11.36    10.20..12.71     0.9475   0.9000..1.005  12,345
       tiny-s/plain       148.4               -      2.400               -      20
       silent/plain           -               -          -               -       0
"""


@pytest.mark.parametrize(("width", "table"), [(80, AT_80), (100, AT_100)])
def test_the_terminal_shows_all_texts_of_a_suite_together(
    samples: Any, width: int, table: str
) -> None:
    assert table in "\n".join(summary_lines(samples.report(corpora=CORPORA), width))
    assert "bits/byte" not in "\n".join(summary_lines(samples.report(), width))


@pytest.mark.parametrize("render", [markdown_report, markdown_summary])
def test_markdown_has_a_table_of_them(samples: Any, render: Any) -> None:
    text = render(samples.report(corpora=CORPORA))
    rows = text.split("## All texts together")[1].splitlines()
    assert (
        "| texts | tiny-l/plain | 11.36 | 10.20..12.71 | 0.9475 | 0.9000..1.005 | 12,345 |" in rows
    )
    assert "All texts" not in render(samples.report())


def test_the_page_has_a_table_of_them(samples: Any) -> None:
    page = html_report(samples.report(corpora=CORPORA))
    assert '<td role="cell" data-label="perplexity">11.36</td>' in page
    assert '<td role="cell" data-label="bits/byte">2.400</td>' in page
    assert "All texts" not in html_report(samples.report())


def test_significance_has_their_numbers_unrounded_and_null_for_what_is_not_defined(
    tmp_path: Path,
) -> None:
    path = tmp_path / "significance.json"
    write_significance(path, "run", [], [], corpora=CORPORA)
    data = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(data, significance_schema())
    first, _, nothing = data["corpora"]
    assert (first["perplexity"], first["bits_per_byte_interval"]["high"]) == (11.359, 1.0049)
    assert nothing["perplexity"] is None
    assert nothing["perplexity_interval"]["low"] is None


def test_options_stand_with_their_likelihoods_where_something_was_not_right(samples: Any) -> None:
    example = Example(
        *("pick", "tiny-l/plain", "fr", "wrong", "", (), " Rome", "A", "B"),
        likelihoods=((" Rome", -0.5), (" <b>Paris</b>", -12.25)),
    )
    report = samples.report(examples=(example,))
    text = markdown_report(report)
    assert "log likelihoods:\n\n```text\n -0.5000  Rome\n-12.2500  <b>Paris</b>\n```" in text
    page = html_report(report)
    assert " -0.5000  Rome\n-12.2500  &lt;b&gt;Paris&lt;/b&gt;</pre>" in page


def test_a_text_of_white_space_is_shown_as_such() -> None:
    assert likelihood_lines([(" ", -1.0), ("a\nb", -2.0)]) == ["-1.0000  ' '", "-2.0000  a b"]
    assert likelihood_lines([]) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "-"),
        (1.0, "1.000"),
        (9.99951, "10.000"),
        (12.345, "12.35"),
        (1234.5, "1,234"),
        (58_546.2, "58,546"),
        (0.0123456, "0.01235"),
        (0.0, "0"),
    ],
)
def test_numbers_have_as_many_digits_as_mean_something(number: float | None, words: str) -> None:
    assert significant(number) == words
