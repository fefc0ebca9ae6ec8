"""The report in Markdown."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_llmeval.records import Interval, ScorerSpec
from pytest_llmeval.results.markdown import fenced, inline, markdown_report
from pytest_llmeval.results.plan import plan_of


def test_the_report_tells_scores_pairs_gates_and_where_they_come_from(samples: Any) -> None:
    text = markdown_report(samples.report())
    for heading in ("Scores", "Is it real?", "Gates", "What was not right", "Where the numbers"):
        assert f"\n## {heading}" in text
    assert "| arithmetic | tiny-l/plain | exact | 188/200 | 94.0 | 89.8..96.5 |" in text
    assert "| capitals | tiny-l over tiny-s, plain | exact | not shown; needs about 1,360" in text
    assert "- **PASS** arithmetic tiny-l/plain at least 0.85: lower bound 0.898" in text
    assert "5e" * 32 in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head(samples: Any) -> None:
    widths: list[set[int]] = [set()]
    for line in markdown_report(samples.report()).splitlines():
        if line.startswith("|"):
            widths[-1].add(line.replace("\\|", "").count("|"))
        elif widths[-1]:
            widths.append(set())
    assert len([found for found in widths if found]) == 6
    assert all(len(found) <= 1 for found in widths)


def test_an_answer_cannot_leave_its_fence(samples: Any) -> None:
    answer = "```\n# a heading\n````\n<script>"
    assert fenced(answer) == f"`````text\n{answer}\n`````"
    example = dataclasses.replace(samples.report().examples[0], answer=answer)
    assert f"`````text\n{answer}\n`````" in markdown_report(samples.report(examples=(example,)))


def test_a_name_cannot_be_markup_or_break_its_row() -> None:
    assert inline("a|b\n<img> *x* [y](z) `c`") == r"a\|b \<img\> \*x\* \[y\](z) \`c\`"


def test_an_incomplete_number_is_marked_and_explained(samples: Any) -> None:
    metric = samples.metric_of("s", "m", 5, 10, trials=12, failures={"timeout": 2})
    text = markdown_report(samples.report(metrics=(metric,)))
    assert "| 50.0\\* |" in text
    assert "\\* incomplete: of 12 trials 2 failed (timeout 2)." in text


def test_what_is_not_there_has_no_section(samples: Any) -> None:
    report = samples.report(metrics=(), comparisons=(), gates=(), examples=())
    text = markdown_report(report)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Where the numbers come from"
    ]


def test_repeats_show_their_items_and_rows_of_several_methods_name_theirs(samples: Any) -> None:
    interval = Interval(0.046, 0.699, "scaled wilson")
    repeated = samples.metric_of("capitals", "tiny-l/warm", 50, 200, interval=interval)
    metrics = (samples.report().metrics[0], dataclasses.replace(repeated, items=4))
    text = markdown_report(samples.report(metrics=metrics))
    head = "| suite | condition | scorer | right | items | % | 95 % interval |"
    assert head in text
    assert "| 188/200 | 200 | 94.0 | 89.8..96.5 Wilson | 94.0 (188/200) |" in text
    assert "| 50/200 | 4 | 25.0 | 4.6..69.9 scaled Wilson | 25.0 (50/200) |" in text


def test_a_pair_names_its_own_test(samples: Any) -> None:
    graded = samples.comparison_of("s", "a", "b", test="sign-flip")
    text = markdown_report(
        samples.report(comparisons=(samples.comparison_of("s", "a", "c"), graded))
    )
    assert "| McNemar mid-p | 200 | 0 |" in text
    assert "| sign-flip | 200 | 0 |" in text


def test_the_report_tells_scorers_seeds_and_limit(samples: Any) -> None:
    suite = dataclasses.replace(
        samples.suite_of("s", ["a"]),
        scorers=(ScorerSpec("numeric", {"tolerance": 0.01}),),
        seeds={"items": 3},
    )
    plan = plan_of({}, samples.trials_of(suite), {}, limit=5, scorer_versions={"numeric": "2"})
    text = markdown_report(samples.report(plan=plan))
    assert "| numeric, version 2, tolerance 0.01 |" in text
    assert "| seed of s, items | 3 |" in text
    assert "| --llm-limit | 5 |" in text


def test_repeats_show_both_targets(samples: Any) -> None:
    fixed = Interval(0.801, 0.9, "t of repeats")
    metric = samples.metric_of("s", "m", 3, 5, fixed_set=fixed)
    pair = samples.comparison_of("s", "a", "b", difference=0.2, fixed_set=Interval(0.1, 0.3, ""))
    report = dataclasses.replace(samples.report(), metrics=(metric,), comparisons=(pair,))
    text = markdown_report(report)
    assert "| these items, asked again | of judged, % |" in text
    assert "| 80.1..90.0 |" in text
    assert "| +10.0 to +30.0 |" in text
    assert "asked again" not in markdown_report(samples.report())
