"""The report in HTML: whole, self-contained, and deaf to what models write."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from pytest_llmeval.records import Interval, Message, ScorerSpec
from pytest_llmeval.results.html import (
    difference_bar,
    difference_scale,
    html_report,
    megabytes,
    metric_bar,
)
from pytest_llmeval.results.plan import plan_of

VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'></pre></article>&amp;{{ 7*7 }}"


class Page(HTMLParser):
    """The elements of a page, and the words in them; fails on one that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_tells_everything_of_the_run(samples: Any) -> None:
    text = Page(html_report(samples.report())).text
    for words in (
        "Run 2026-11-23-0412",
        "started 2026-11-23 03:12 UTC, took 41 s",
        "94.0 89.8 to 96.5",
        "188/200",
        "tiny-l over tiny-s, plain",
        "+28.5 +21.5 to +35.8",
        "REAL",
        "needs about 1,360 items",
        "60 / 3",
        "pass arithmetic tiny-l/plain at least 0.85",
        "5e" * 32,
        "xllamacpp 2026.10",
        "dataset-arithmetic",
        "hash-terse",
        "git commit abc1234",
        "CPU only",
    ):
        assert words in text


def test_nothing_a_model_wrote_becomes_an_element(samples: Any) -> None:
    plain = samples.report().examples[0]
    hostile = dataclasses.replace(
        plain,
        name=HOSTILE,
        answer=HOSTILE,
        target=HOSTILE,
        extracted=HOSTILE + "!",
        reason=HOSTILE,
        prompt=(Message("user", HOSTILE),),
    )
    report = samples.report(
        examples=(hostile,),
        warnings=(HOSTILE,),
        gates=(samples.gate_of("fail", HOSTILE),),
        metrics=(samples.metric_of(HOSTILE, HOSTILE, 1, 2),),
        comparisons=(samples.comparison_of(HOSTILE, HOSTILE, "b"),),
    )
    page = Page(html_report(report))
    assert not {"script", "img", "iframe", "a", "link"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("alert(1)") >= 9
    assert "49" not in page.text


def test_the_page_asks_for_nothing_and_forbids_scripts(samples: Any) -> None:
    text = html_report(samples.report())
    page = Page(text)
    assert not re.search(r"https?://|url\(|@import", text)
    assert not [name for _, name, _ in page.attributes if name in {"src", "href"}]
    assert "default-src 'none'" in text


def test_control_characters_and_lone_surrogates_are_shown_as_escapes(samples: Any) -> None:
    example = dataclasses.replace(samples.report().examples[0], answer="\x00\x1b[0m\ud800")
    text = html_report(samples.report(examples=(example,)))
    assert "\\x00\\x1b[0m\\ud800" in text
    text.encode("utf-8")


def test_every_cell_of_a_table_belongs_to_a_header(samples: Any) -> None:
    page = Page(html_report(samples.report()))
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(scopes) == page.tags.count("th")
    assert set(scopes) == {"col", "row", "rowgroup"}
    labels = [value for tag, name, value in page.attributes if name == "data-label"]
    assert len(labels) > 0


def test_a_run_with_nothing_to_show_is_a_page_all_the_same(samples: Any) -> None:
    report = samples.report(
        metrics=(), comparisons=(), gates=(), examples=(), figures=(), slots_busy=None
    )
    text = Page(html_report(report)).text
    assert "Nothing was scored." in text
    assert "Is it real?" not in text


def test_an_incomplete_number_carries_its_mark(samples: Any) -> None:
    metric = samples.metric_of("s", "m", 5, 10, trials=12, failures={"timeout": 2})
    text = Page(html_report(samples.report(metrics=(metric,)))).text
    assert "50.0 50.0 to 90.0 incomplete" in text
    assert "incomplete: of 12 trials 2 failed" in text


def test_a_bar_is_drawn_where_there_is_an_interval(samples: Any) -> None:
    bar = metric_bar(samples.metric_of("s", "m", 1, 2, bounds=(0.25, 0.75)))
    assert bar is not None
    assert (bar.start, bar.length, bar.middle) == (25.0, 50.0, 50.0)
    assert metric_bar(samples.metric_of("s", "m", 1, 2, bounds=(None, None))) is None


def test_zero_stands_in_the_middle_and_the_better_side_on_the_right(samples: Any) -> None:
    comparison = samples.comparison_of(
        "s", "a", "b", difference=-0.2, interval=Interval(-0.4, 0.0, "tango")
    )
    bar = difference_bar(comparison, 40)
    assert bar is not None
    assert (bar.start, bar.length, bar.middle) == (50.0, 50.0, 75.0)


@pytest.mark.parametrize(
    ("bounds", "scale"), [((-0.38, 0.091), 40), ((0.0, 0.0), 10), ((-3.0, 6.0), 100)]
)
def test_one_scale_in_tens_of_points_holds_all_pairs(
    samples: Any, bounds: tuple[float, float], scale: int
) -> None:
    comparison = samples.comparison_of("s", "a", "b", interval=Interval(*bounds, "tango"))
    assert difference_scale([comparison]) == scale


def test_sizes_are_said_as_people_say_them() -> None:
    assert (megabytes(3_900_000), megabytes(5_030_000_000)) == ("3.9 MB", "5.03 GB")


def test_the_page_shows_items_and_methods_where_they_differ(samples: Any) -> None:
    interval = Interval(0.046, 0.699, "scaled wilson")
    repeated = samples.metric_of("capitals", "tiny-l/warm", 50, 200, interval=interval)
    metrics = (samples.report().metrics[0], dataclasses.replace(repeated, items=4))
    text = Page(html_report(samples.report(metrics=metrics))).text
    assert "right items no answer" in text
    assert "89.8 to 96.5, Wilson" in text
    assert "4.6 to 69.9, scaled Wilson" in text
    assert "25.0 (50/200)" in text
    plain = Page(html_report(samples.report())).text
    assert "right items no answer" not in plain
    assert ", Wilson" not in plain


def test_the_page_tells_scorers_seeds_and_limit(samples: Any) -> None:
    suite = dataclasses.replace(
        samples.suite_of("s", ["a"]),
        scorers=(ScorerSpec("numeric", {"tolerance": 0.01}), ScorerSpec("exact")),
        seeds={"few_shot": 3},
    )
    plan = plan_of({}, samples.trials_of(suite), {}, limit=5, scorer_versions={"numeric": "2"})
    text = Page(html_report(samples.report(plan=plan))).text
    assert "scored by numeric, version 2, tolerance 0.01; exact" in text
    assert "few_shot chosen by seed 3" in text
    assert "--llm-limit 5" in text


def test_repeats_show_both_targets(samples: Any) -> None:
    fixed = Interval(0.801, 0.9, "t of repeats")
    metric = samples.metric_of("s", "m", 3, 5, fixed_set=fixed)
    pair = samples.comparison_of("s", "a", "b", difference=0.2, fixed_set=Interval(0.1, 0.3, ""))
    report = dataclasses.replace(samples.report(), metrics=(metric,), comparisons=(pair,))
    text = html_report(report)
    assert "these items, asked again: 80.1..90.0" in text
    assert "these items, asked again: +10.0 to +30.0" in text
    assert "asked again" not in html_report(samples.report())
