"""What became of each part, in a line."""

from __future__ import annotations

from typing import Any

from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.markdown import markdown_report, markdown_summary
from pytest_llmeval.results.part_words import part_lines, shows_parts, telling_lines
from pytest_llmeval.results.parts import PartFacts
from pytest_llmeval.results.terminal import summary_lines

WELL = PartFacts("tiny-l/plain", 1, 50, "completed", answered=50)
BAD = PartFacts(
    "tiny-l/plain",
    2,
    1050,
    "completed",
    answered=1048,
    failed=2,
    failures={"timeout": 2},
    first_failure="capitals::tiny-l/plain::fr: no answer in 60 s",
)
BAD_LINE = "part 2 of 2 of tiny-l/plain: 1,050 in, 1,048 answered, 2 failed"
SHORT = PartFacts(
    "m", 1, 3, "failed", answered=2, discrepancy="3 trials in, 2 predictions out: missing s::m::a"
)


def test_a_part_says_its_place_its_counts_and_its_first_failure() -> None:
    assert part_lines([WELL, BAD]) == [
        "part 1 of 2 of tiny-l/plain: 50 in, 50 answered",
        f"{BAD_LINE} (2 timeout; first capitals::tiny-l/plain::fr: no answer in 60 s)",
    ]


def test_the_only_part_of_a_condition_has_no_number() -> None:
    assert part_lines([SHORT]) == [
        "m: 3 in, 2 answered; NOT IN = OUT: 3 trials in, 2 predictions out: missing s::m::a"
    ]


def test_a_part_that_is_not_at_its_end_says_how_far_it_is() -> None:
    parts = [
        PartFacts("m", 1, 5, "running", answered=2),
        PartFacts("m", 2, 5, "pending"),
        PartFacts("m", 3, 5, "completed", answered=3, not_needed=2),
    ]
    assert part_lines(parts) == [
        "part 1 of 3 of m: 5 in, 2 answered, running",
        "part 2 of 3 of m: 5 in, 0 answered, pending",
        "part 3 of 3 of m: 5 in, 3 answered, 2 not needed",
    ]


def test_of_a_run_of_an_older_version_the_reasons_are_not_known() -> None:
    assert part_lines([PartFacts("m", 1, 2, "completed", answered=1, failed=1)]) == [
        "m: 2 in, 1 answered, 1 failed"
    ]


def test_parts_are_shown_where_there_are_several_or_one_went_wrong() -> None:
    assert not shows_parts([WELL])
    assert shows_parts([WELL, BAD])
    assert shows_parts([SHORT])
    assert telling_lines([WELL, BAD]) == part_lines([WELL, BAD])[1:]


def test_all_reports_tell_of_the_parts(samples: Any) -> None:
    report = samples.report(parts=(WELL, BAD))
    assert "part 1 of 2 of tiny-l/plain: 50 in, 50 answered" in markdown_report(report)
    assert "## Parts" in markdown_report(report)
    assert BAD_LINE in markdown_report(report)
    assert BAD_LINE in markdown_summary(report)
    assert "part 1 of 2" not in markdown_summary(report)
    assert BAD_LINE in html_report(report)
    told = "\n".join(summary_lines(report, 400))
    assert BAD_LINE in told
    assert "part 1 of 2" not in told


def test_a_report_without_anything_to_tell_of_parts_does_not(samples: Any) -> None:
    report = samples.report(parts=(WELL,))
    assert "Parts" not in markdown_report(report)
    assert "Parts" not in html_report(report)
    assert "50 in" not in "\n".join(summary_lines(report, 200))


def test_the_terminal_shows_a_few_of_many_parts_that_went_wrong(samples: Any) -> None:
    parts = tuple(
        PartFacts("m", n, 1, "failed", failed=1, failures={"busy": 1}) for n in range(1, 8)
    )
    lines = summary_lines(samples.report(parts=parts), 100)
    assert sum(line.startswith("part ") for line in lines) == 5
    assert "2 more parts with failures: llmeval show runs/2026-11-23-0412 --parts" in lines
