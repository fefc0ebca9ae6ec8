"""Gates as suites write them: five kinds, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.inputs.suites import load_suite
from pytest_llmeval.records import GateSpec

SUITE = """items: [{a: 1, answer: "1"}]
target: answer
score: [exact, includes]
prompt: "{{ a }}"
"""


def gates(tmp_path: Path, *written: str, more: str = "") -> tuple[GateSpec, ...]:
    """The gates of a suite that writes them on the lines from 6 on."""
    path = tmp_path / "some.yaml"
    lines = "".join(f"  - {{only: m, {gate}}}\n" for gate in written)
    path.write_text(f"{SUITE}gates:\n{lines}{more}", encoding="utf-8", newline="\n")
    return load_suite(path, "suites/some.yaml").gates


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("metric: exact, at_least: 85%", GateSpec("m", "exact", 0.85, 6)),
        (
            "metric: exact, not_worse_than: baseline, margin: 0.03",
            GateSpec("m", "exact", 0.03, 6, "not_worse_than"),
        ),
        (
            "metric: includes, not_worse_than: baseline, margin: 3%",
            GateSpec("m", "includes", 0.03, 6, "not_worse_than"),
        ),
        (
            "metric: latency, at_most: 2 s, percentile: 99.9",
            GateSpec("m", "latency", 2000, 6, "latency", 99.9),
        ),
        ("metric: latency, at_most: 800ms", GateSpec("m", "latency", 800, 6, "latency", 95)),
        ("metric: latency, at_most: 1.5 min", GateSpec("m", "latency", 90_000, 6, "latency", 95)),
        ("metric: tokens, at_most: 64", GateSpec("m", "tokens", 64, 6, "tokens")),
        ("metric: failures, at_most: 1%", GateSpec("m", "failures", 0.01, 6, "failures")),
        ("metric: failures, at_most: 0", GateSpec("m", "failures", 0, 6, "failures")),
    ],
)
def test_a_gate_is_read_in_its_unit(tmp_path: Path, written: str, expected: GateSpec) -> None:
    assert gates(tmp_path, written) == (expected,)


def test_each_kind_has_a_name_of_its_own(tmp_path: Path) -> None:
    found = gates(
        tmp_path,
        "metric: exact, at_least: 0.5",
        "metric: exact, not_worse_than: baseline, margin: 0.1",
        "metric: latency, at_most: 2 s",
        "metric: tokens, at_most: 64",
        "metric: failures, at_most: 1%",
    )
    kinds = ["at_least", "not_worse_than", "latency", "tokens", "failures"]
    assert [gate.name for gate in found] == [f"m.{kind}" for kind in kinds]


def test_a_suite_says_for_all_gates_that_inconclusive_fails_and_a_gate_for_itself(
    tmp_path: Path,
) -> None:
    own = "metric: tokens, at_most: 64, inconclusive: skip"
    first, second = gates(
        tmp_path, "metric: exact, at_least: 0.5", own, more="inconclusive: fail\n"
    )
    assert (first.inconclusive, second.inconclusive) == ("fail", "skip")
    (alone,) = gates(tmp_path, "metric: exact, at_least: 0.5")
    assert alone.inconclusive == "skip"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            "metric: exact",
            "a gate needs one of at_least, not_worse_than, at_most, found none of them",
        ),
        (
            "metric: exact, at_least: 0.5, not_worse_than: baseline, margin: 0.1",
            "a gate requires one thing, found at_least and not_worse_than: write two gates",
        ),
        ("metric: exact, at_least: 0.5, margin: 0.1", "margin goes with not_worse_than, not with"),
        (
            "metric: exact, not_worse_than: baseline",
            "not_worse_than needs a margin: by how much it may be worse, such as 0.03",
        ),
        (
            "metric: exact, not_worse_than: baseline, margin: 0",
            (
                "margin: 0 asks to prove that nothing is worse by any amount, which no number of "
                "items can; write how much worse you would accept, such as 0.03"
            ),
        ),
        ("metric: exact, not_worse_than: baseline, margin: 0%", "margin: 0 asks to prove that"),
        (
            "metric: exact, not_worse_than: baseline, margin: 3",
            "gates.0.margin: expected a fraction from 0 to 1 or a percentage such as 0.1%, found 3",
        ),
        (
            "metric: exact, not_worse_than: basline, margin: 0.1",
            "gates.0.not_worse_than: unknown value 'basline'; did you mean 'baseline'?",
        ),
        (
            "metric: exakt, at_least: 0.5",
            "unknown metric 'exakt'; did you mean 'exact'? (allowed: exact, includes)",
        ),
        (
            "metric: exakt, not_worse_than: baseline, margin: 0.1",
            "unknown metric 'exakt'; did you mean 'exact'? (allowed: exact, includes)",
        ),
        (
            "metric: latency, at_least: 0.5",
            "unknown metric 'latency' (allowed: exact, includes); latency goes with at_most",
        ),
        (
            "metric: latancy, at_most: 2 s",
            (
                "unknown metric of at_most 'latancy'; did you mean 'latency'? "
                "(allowed: latency, tokens, failures)"
            ),
        ),
        (
            "metric: exact, at_most: 0.5",
            "(allowed: latency, tokens, failures); a scorer's mean has at_least",
        ),
        (
            "metric: latency, at_most: 2",
            "at_most: expected a time such as 2 s or 800 ms, found 2",
        ),
        (
            "metric: latency, at_most: 2 h",
            "at_most: expected a time such as 2 s or 800 ms, found '2 h'",
        ),
        ("metric: latency, at_most: 0 s", "at_most: expected a time such as 2 s or 800 ms, found"),
        ("metric: tokens, at_most: 2 s", "at_most: expected a number of tokens, found '2 s'"),
        ("metric: tokens, at_most: 0", "at_most: expected a number of tokens, found 0"),
        ("metric: tokens, at_most: true", "at_most: expected a number of tokens, found true"),
        (
            "metric: failures, at_most: 3",
            "at_most: expected a fraction from 0 to 1 or a percentage such as 0.1%, found 3",
        ),
        ("metric: tokens, at_most: 8, percentile: 95", "percentile goes with metric: latency"),
        (
            "metric: exact, at_least: 0.5, percentile: 95",
            "percentile goes with at_most, not with at_least",
        ),
        (
            "metric: latency, at_most: 2 s, percentile: 100",
            "gates.0.percentile: expected less than 100, found 100",
        ),
        (
            "metric: exact, at_least: 0.5, inconclusive: fails",
            "gates.0.inconclusive: unknown value 'fails'; did you mean 'fail'?",
        ),
    ],
)
def test_what_is_no_gate_is_told_with_its_line(tmp_path: Path, written: str, words: str) -> None:
    with pytest.raises(SuiteError) as refusal:
        gates(tmp_path, written)
    assert str(refusal.value).startswith(f"{tmp_path / 'some.yaml'}:6: ")
    assert words in str(refusal.value)


def test_all_mistakes_of_all_gates_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as refusal:
        gates(tmp_path, "metric: exact", "metric: tokens, at_most: x", "metric: exact, at_least: 1")
    lines = str(refusal.value).splitlines()
    assert [line.partition("some.yaml:")[2][:1] for line in lines] == ["6", "7"]


def test_gates_of_one_kind_on_several_metrics_have_the_metric_in_their_names(
    tmp_path: Path,
) -> None:
    found = gates(
        tmp_path,
        "metric: includes, at_least: 0.5",
        "metric: exact, at_least: 0.5",
        "metric: exact, not_worse_than: baseline, margin: 0.1",
        "metric: includes, not_worse_than: baseline, margin: 0.1",
        "metric: latency, at_most: 1 s, percentile: 50",
        "metric: latency, at_most: 2 s, percentile: 99.9",
    )
    assert [gate.name for gate in found] == [
        "m.at_least",
        "m.at_least.exact",
        "m.not_worse_than",
        "m.not_worse_than.includes",
        "m.latency",
        "m.latency.p99.9",
    ]
    assert [gate.subject for gate in found] == ["m", "m exact", "m", "m includes", "m", "m"]


def test_a_gate_s_name_does_not_change_when_another_follows_it(tmp_path: Path) -> None:
    written = ("metric: exact, at_least: 0.5", "metric: includes, at_least: 0.5")
    (alone,) = gates(tmp_path, written[0])
    assert gates(tmp_path, *written)[0] == alone


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["metric: tokens, at_most: 64"] * 2, ":7: a gate named 'm.tokens' stands on line 6"),
        (
            ["metric: exact, at_least: 0.5", "metric: exact, at_least: 0.6"],
            ":7: a gate named 'm.at_least' stands on line 6",
        ),
        (
            ["metric: exact, at_least: 0.5", *["metric: includes, at_least: 0.5"] * 2],
            ":8: a gate named 'm.at_least.includes' stands on line 7",
        ),
        (
            ["metric: latency, at_most: 1 s", "metric: latency, at_most: 2 s, percentile: 95"],
            ":7: a gate named 'm.latency' stands on line 6",
        ),
    ],
)
def test_two_gates_that_ask_the_same_of_a_condition_are_refused(
    tmp_path: Path, written: Any, words: str
) -> None:
    with pytest.raises(SuiteError) as refusal:
        gates(tmp_path, *written)
    assert f"{words} already" in str(refusal.value)
