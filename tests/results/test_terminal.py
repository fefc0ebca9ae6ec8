"""The end of a run in the terminal, to the letter."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pytest_llmeval.records import Interval, Metric
from pytest_llmeval.results.terminal import summary_lines

AT_80 = """
==================== llmeval: 16 trials, 2 models, 2 suites ====================
suite       condition       right      %  95 % Wilson  no answer  failed  tok/s
arithmetic  tiny-l/plain  188/200  94.0    89.8..96.5          0       0  2,140
            tiny-s/terse  118/200  59.0    52.1..65.6          9       0      -
capitals    tiny-l/plain   90/100  90.0    82.6..94.5          0       0      -
shown: arithmetic by exact, 1 other scorer in the report
Is it real? (same items, McNemar mid-p, Holm; 3 of 4 pairs, all in the report)
arithmetic  tiny-l over tiny-s, plain
    +28.5 [+21.5, +35.8]  p < 0.001  REAL
capitals    tiny-l over tiny-s, plain
     +2.5 [ -3.8,  +9.1]  p 0.42     not shown; needs about 1,360 items
arithmetic  plain over terse, tiny-l
    +28.5 [+21.5, +35.8]  p 0.060    not shown
Gates
PASS          arithmetic tiny-l/plain at least 0.85: lower bound 0.898
INCONCLUSIVE  arithmetic tiny-l/plain at least 0.92: 0.898..0.965 holds it
              more items would tell
41 s, slots busy 97 %, prompt cache 71 %, 38,211 tokens
wrong ones: llmeval show runs/2026-11-23-0412 --wrong
report: runs/2026-11-23-0412/reports/report.html
"""

AT_120 = """
======================================== llmeval: 16 trials, 2 models, 2 suites ========================================
suite       condition       right      %  95 % Wilson  no answer  failed  tok/s
arithmetic  tiny-l/plain  188/200  94.0    89.8..96.5          0       0  2,140
            tiny-s/terse  118/200  59.0    52.1..65.6          9       0      -
capitals    tiny-l/plain   90/100  90.0    82.6..94.5          0       0      -
shown: arithmetic by exact, 1 other scorer in the report
Is it real? (same items, McNemar mid-p, Holm; 3 of 4 pairs, all in the report)
arithmetic  tiny-l over tiny-s, plain  +28.5 [+21.5, +35.8]  p < 0.001  REAL
capitals    tiny-l over tiny-s, plain   +2.5 [ -3.8,  +9.1]  p 0.42     not shown; needs about 1,360 items
arithmetic  plain over terse, tiny-l   +28.5 [+21.5, +35.8]  p 0.060    not shown
Gates
PASS          arithmetic tiny-l/plain at least 0.85: lower bound 0.898
INCONCLUSIVE  arithmetic tiny-l/plain at least 0.92: 0.898..0.965 holds it
              more items would tell
41 s, slots busy 97 %, prompt cache 71 %, 38,211 tokens | wrong ones: llmeval show runs/2026-11-23-0412 --wrong
report: runs/2026-11-23-0412/reports/report.html
"""  # noqa: E501 - it is 120 columns wide

FAILED_AND_LONG = """
suite, condition             right      %  95 % Wilson  no answer  failed  tok/s
arithmetic
  tiny-l/plain             188/200  94.0    89.8..96.5          0       0  2,140
  qwen3-8b-in..eedy/terse  118/197  59.9*   52.0..65.0          0       3      -
* incomplete: of 200 trials 3 failed (timeout 2, error 1). That says nothing
  about the model: they are left out of the number, not counted as wrong.
"""


@pytest.mark.parametrize(("width", "expected"), [(80, AT_80), (120, AT_120)])
def test_the_end_of_a_run(samples: Any, width: int, expected: str) -> None:
    lines = summary_lines(samples.report(), width)
    assert "\n".join(lines) == expected.strip("\n")
    assert max(map(len, lines)) <= width


def test_a_number_with_failures_is_marked_and_explained_and_long_names_get_lines_of_their_own(
    samples: Any,
) -> None:
    long = samples.metric_of(
        "arithmetic",
        "qwen3-8b-instruct-q4_k_m/greedy/terse",
        118,
        197,
        trials=200,
        failures={"error": 1, "timeout": 2},
        bounds=(0.52, 0.65),
    )
    metrics = (samples.report().metrics[0], long)
    lines = summary_lines(samples.report(metrics=metrics, comparisons=(), gates=()), 80)
    assert "\n".join(lines[1:-3]) == FAILED_AND_LONG.strip("\n")
    assert max(map(len, lines)) <= 80


def test_trials_without_a_score_are_counted_apart_from_those_that_failed(samples: Any) -> None:
    metric = samples.metric_of("s", "m", 5, 10, trials=30, failures={"timeout": 4})
    text = " ".join(" ".join(summary_lines(samples.report(metrics=(metric,)), 300)).split())
    assert "of 30 trials 4 failed (timeout 4) and 16 not asked or not scored" in text


def test_without_comparisons_gates_or_figures_their_parts_are_left_out(samples: Any) -> None:
    report = samples.report(
        comparisons=(), gates=(), figures=(), slots_busy=None, wrong=0, no_answer=0
    )
    lines = summary_lines(report, 80)
    assert [line.split()[0] for line in lines[1:]] == [
        *("suite", "arithmetic", "tiny-s/terse", "capitals", "shown:", "41", "report:"),
    ]
    assert "tok/s" not in lines[1]
    assert lines[-2] == "41 s"


def test_a_run_without_any_score_still_ends_in_words(samples: Any) -> None:
    lines = summary_lines(samples.report(metrics=(), comparisons=(), gates=()), 80)
    assert lines[0].startswith("=====")
    assert lines[-1] == "report: runs/2026-11-23-0412/reports/report.html"


@pytest.mark.parametrize(
    ("counts", "hint"),
    [
        (
            {"wrong": 1, "failed": 1},
            "wrong ones: llmeval show runs/2026-11-23-0412 --wrong; failed ones: --failed",
        ),
        ({"wrong": 1, "failed": 0}, "wrong ones: llmeval show runs/2026-11-23-0412 --wrong"),
        ({"wrong": 0, "no_answer": 2}, "no answer: llmeval show runs/2026-11-23-0412 --no-answer"),
        (
            {"wrong": 0, "no_answer": 0, "failed": 3},
            "failed ones: llmeval show runs/2026-11-23-0412 --failed",
        ),
    ],
)
def test_the_hint_leads_to_what_there_is_to_see(
    samples: Any, counts: dict[str, int], hint: str
) -> None:
    assert hint in summary_lines(samples.report(**counts), 80)


def test_answers_that_took_more_than_one_request_are_told(samples: Any) -> None:
    report = samples.report(asked_again={"no response": 4, "HTTP 503": 8})
    told = "12 answers took more than one request (8 HTTP 503, 4 no response)"
    assert told in summary_lines(report, 80)
    assert not any("more than one" in line for line in summary_lines(samples.report(), 80))


def test_a_folder_with_a_space_is_quoted_in_the_hint(samples: Any) -> None:
    lines = summary_lines(samples.report(folder="my runs/1", failed=0), 80)
    assert 'wrong ones: llmeval show "my runs/1" --wrong' in lines


def test_warnings_stand_before_the_end_and_are_wrapped(samples: Any) -> None:
    lines = summary_lines(samples.report(warnings=("word " * 40,)), 80)
    place = next(number for number, line in enumerate(lines) if line.startswith("warning: word"))
    assert lines[place + 1].startswith("  word")
    assert max(map(len, lines)) <= 80


def test_colour_changes_nothing_but_colour(samples: Any) -> None:
    plain = summary_lines(samples.report(), 120)
    painted = summary_lines(samples.report(), 120, colour=True)
    codes = ("\033[1m", "\033[31m", "\033[32m", "\033[33m", "\033[0m")
    text = "\n".join(painted)
    assert "\033[1mREAL\033[0m" in text
    for code in codes:
        text = text.replace(code, "")
    assert text == "\n".join(plain)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_the_stream_cannot_show_is_written_as_its_escape(samples: Any, encoding: str) -> None:
    metric = samples.metric_of("größe", "模型/plain", 1, 2)
    lines = summary_lines(samples.report(metrics=(metric,)), 80, encoding=encoding)
    text = "\n".join(lines)
    assert text.encode(encoding).decode(encoding) == text
    assert "\\u6a21" in text


def test_a_message_from_outside_cannot_steer_the_terminal(samples: Any) -> None:
    gate = samples.gate_of("fail", "\033[2J\033]0;title\x07 said the server")
    text = "\n".join(summary_lines(samples.report(gates=(gate,)), 80))
    assert "\033" not in text
    assert "\\x1b[2J" in text


def test_an_interval_without_bounds_is_a_dash(samples: Any) -> None:
    metric = samples.metric_of("s", "m", 0, 1, answered=0, mean=None)
    metric = dataclasses.replace(metric, items=0, interval=Interval(None, None, "wilson"))
    row = summary_lines(samples.report(metrics=(metric,), figures=()), 80)[2]
    assert row.split() == ["s", "m", "0/0", "-*", "-", "0", "0"]


def repeated(samples: Any, **fields: Any) -> Metric:
    """4 items, each asked 50 times."""
    metric: Metric = samples.metric_of("arithmetic", "tiny-l/warm/a-rather-long-name", 50, 200)
    interval = Interval(0.046, 0.699, "scaled wilson")
    return dataclasses.replace(metric, items=4, interval=interval, **fields)


def test_repeats_show_how_many_items_their_interval_rests_on(samples: Any) -> None:
    lines = summary_lines(samples.report(metrics=(repeated(samples),)), 120)
    assert lines[1].split()[:5] == ["suite", "condition", "right", "items", "%"]
    assert lines[2].split()[2:5] == ["50/200", "4", "25.0"]
    assert "95 % scaled Wilson" in lines[1]


@pytest.mark.parametrize("width", [80, 120])
def test_where_methods_differ_each_row_names_its_own(samples: Any, width: int) -> None:
    metrics = (samples.report().metrics[0], repeated(samples))
    lines = summary_lines(samples.report(metrics=metrics), width)
    text = "\n".join(lines)
    assert "95 % interval" in text
    assert "89.8..96.5 Wilson" in text
    assert "4.6..69.9 scaled Wilson" in text
    assert max(map(len, lines)) <= width


def test_failures_keep_their_column_however_narrow_it_gets(samples: Any) -> None:
    failed = repeated(samples, answered=199, failures={"timeout": 1})
    metrics = (samples.report().metrics[0], failed)
    assert "failed" in summary_lines(samples.report(metrics=metrics), 80)[1]


@pytest.mark.parametrize("width", [80, 120])
def test_a_pair_tells_how_many_items_it_rests_on_where_some_are_missing(
    samples: Any, width: int
) -> None:
    pairs = (
        samples.comparison_of("arithmetic", "a", "b", items=190, dropped=10),
        samples.comparison_of(
            "capitals", "a", "b", items=117, dropped=3, p_adjusted=0.4, items_needed=1360
        ),
    )
    lines = summary_lines(samples.report(comparisons=pairs), width)
    text = " ".join(" ".join(lines).split())
    assert ("REAL, " if width == 120 else "REAL ") + "10 of 200 items dropped" in text
    assert "needs about 1,360 items, 117 of 200 items, 3 of 120 items dropped" in text
    assert max(map(len, lines)) <= width


def test_no_wrapped_line_begins_like_a_command_to_a_runner(samples: Any) -> None:
    lines = summary_lines(samples.report(warnings=("word " * 16 + "::add-mask::word " * 9,)), 80)
    assert not any(line.lstrip().startswith("::") for line in lines)
    assert any(line.lstrip().startswith(r"\x3a:add-mask") for line in lines)


def test_a_command_in_a_gate_s_message_is_never_wrapped(samples: Any) -> None:
    command = f"pytest --llm-config {'long/' * 20}local.yaml suites/x.yaml --snapshot-update"
    gate = samples.gate_of("inconclusive", f"there is no baseline yet; accept one with\n{command}")
    lines = summary_lines(samples.report(gates=(gate,)), 80)
    assert f"{' ' * 14}{command}" in lines


def test_an_open_gate_is_red_where_the_suite_forbids_it(samples: Any) -> None:
    result = samples.gate_of("inconclusive", "who knows")
    forbidden = dataclasses.replace(
        result, gate=dataclasses.replace(result.gate, inconclusive="fail")
    )
    for gate, code in ((result, "33"), (forbidden, "31")):
        text = "\n".join(summary_lines(samples.report(gates=(gate,)), 80, colour=True))
        assert f"\033[{code}mINCONCLUSIVE" in text
    assert text.count("(inconclusive: fail)") == 1
