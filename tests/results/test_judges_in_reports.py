"""What a report says of judges: who, how many, how steady, and that they err."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.results.html import html_report
from pytest_llmeval.results.judges import JUDGES_ERR, judge_lines, steadiness_words
from pytest_llmeval.results.markdown import markdown_report, markdown_summary
from pytest_llmeval.results.plan import JudgePlan
from pytest_llmeval.results.report import JudgeFigures, RunReport
from pytest_llmeval.results.terminal import summary_lines

PLAIN = JudgeFigures("letters", "judge", "wise", "4f" * 32, 200, 200, 198, 2)
DUEL = replace(
    PLAIN,
    scorer="pairwise",
    answers=100,
    trials=200,
    unjudged=0,
    own=("wise/plain",),
    against="tiny-s/plain",
    consistent=86,
    pairs=99,
    consistency=Interval(0.787, 0.922, "wilson"),
    prompt_tokens=1000,
    completion_tokens=234,
)


@pytest.fixture
def report(samples: Any) -> RunReport:
    made: RunReport = samples.report(judges=(PLAIN, DUEL))
    plan = JudgePlan("letters", "tiny-l/plain", "judge", "wise", "4f" * 32, {}, 400)
    return replace(made, plan=replace(made.plan, judged=(plan,)))


def test_a_line_says_who_has_judged_how_much_and_how_steadily() -> None:
    assert list(judge_lines([PLAIN, DUEL])) == [
        "letters: judge by wise; 200 answers; 2 without a verdict",
        (
            "letters: pairwise by wise against tiny-s/plain; 100 answers; 86/99, 86.9 % "
            "[78.7..92.2] same in both orders; its own answers: wise/plain"
        ),
    ]


def test_without_a_pair_there_is_no_share() -> None:
    assert steadiness_words(replace(DUEL, consistent=0, pairs=0)) == "0/0"
    assert steadiness_words(PLAIN) == "-"


def test_the_terminal_says_that_judges_err_and_counts_their_trials(report: RunReport) -> None:
    text = " ".join(" ".join(summary_lines(report, 80)).split())
    assert "16 trials, 400 judge trials, 3 models" in text
    assert f"Judges ({JUDGES_ERR})" in text
    assert "letters: pairwise by wise against tiny-s/plain; 100 answers" in text
    assert all(len(line) <= 80 for line in summary_lines(report, 80))


def test_without_judges_nothing_is_said_of_them(samples: Any) -> None:
    report = samples.report()
    for text in (
        "\n".join(summary_lines(report, 80)),
        markdown_report(report),
        html_report(report),
    ):
        assert "udge" not in re.sub(r"of judged|judged, %", "", text)


@pytest.mark.parametrize("render", [markdown_report, markdown_summary, html_report])
def test_every_report_has_the_whole_of_it(report: RunReport, render: Any) -> None:
    text = render(report)
    for words in ("4f" * 6 + "…", "wise", "86/99, 86.9 %", "wise/plain", "tiny-s/plain"):
        assert words in text.replace("\\", "")
    assert "4f" * 7 not in text  # two columns of 64 digits hide those that matter
    assert "no interval here has its error in it" in text


def test_tokens_of_judges_are_among_the_tokens(report: RunReport, samples: Any) -> None:
    assert report.tokens == samples.report().tokens + 1234
