"""Gates on latency, tokens and failures, as a user meets them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

GATES = "suites/arithmetic.yaml::gates::m/plain"


def gate(metric: str, at_most: Any, **more: Any) -> dict[str, Any]:
    return {"only": "m/plain", "metric": metric, "at_most": at_most, **more}


def run(project: Project, *gates: dict[str, Any], args: tuple[str, ...] = ("-v",)) -> Any:
    """Forty items, two of which break, and these gates."""
    items = [project.right(f"r{n}") for n in range(38)] + [project.broken(f"b{n}") for n in (1, 2)]
    project.suite(items=items, gates=list(gates))
    return project.run(*args)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_each_budget_is_a_test_of_its_own(project: Project, workers: str) -> None:
    project.config(failures={"at_most": "10%"})
    result = run(
        project,
        gate("latency", "60 s", percentile=50),
        gate("tokens", 8),
        gate("failures", "5%"),
        args=("-v", workers),
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines_random(
        [
            f"{GATES}.latency PASSED*",
            f"{GATES}.tokens PASSED*",
            f"{GATES}.failures PASSED*",
            "PASS          arithmetic m/plain latency at most 60 s at the 50th percentile:*",
            "PASS          arithmetic m/plain tokens at most 8 an answer: 1.0 *",
            "PASS          arithmetic m/plain failures at most 5 %: 2 of 40 trials failed*",
        ]
    )


def test_budgets_that_are_exceeded_fail_the_session(project: Project) -> None:
    project.config(failures={"at_most": "10%"})
    project.script(
        [{"when": "^break", "fail": "refused"}, {"text": "one two three", "latency": 0.02}]
    )
    result = run(
        project,
        gate("latency", "10 ms", percentile=50),
        gate("tokens", 1.5),
        gate("failures", "4%"),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 3
    result.stdout.fnmatch_lines_random(
        [
            "gate fail: m/plain latency at most 10 ms at the 50th percentile: * ms *",
            "gate fail: m/plain tokens at most 1.5 an answer: 3.0 *; counted by the server",
            "gate fail: m/plain failures at most 4 %: 2 of 40 trials failed (refused 2)",
        ]
    )
    (median,) = set(re.findall(r"at the 50th percentile: ([\d.]+) ms", result.stdout.str()))
    assert float(median) >= 20, "what the fake takes, and what a busy machine adds"


def test_a_gate_on_failures_tolerates_none_by_itself(project: Project) -> None:
    result = run(project, gate("failures", "10%"))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 39, "errors": 2}


def test_few_answers_leave_a_percentile_open_and_say_how_many_it_takes(project: Project) -> None:
    result = run(project, gate("latency", "60 s"), args=("-rs",))
    assert result.parseoutcomes()["skipped"] == 1
    result.stdout.fnmatch_lines(["SKIPPED*an upper bound needs at least 72 items*"])


def test_significance_json_has_budgets_in_their_units(project: Project) -> None:
    run(project, gate("latency", "2 s", percentile=50), gate("tokens", 8))
    text = (project.latest_run() / "significance.json").read_text(encoding="utf-8")
    latency, tokens = json.loads(text)["gates"]
    assert (latency["kind"], latency["threshold"], latency["percentile"]) == ("latency", 2000, 50)
    assert 0 < latency["value"] < 2000
    assert (tokens["kind"], tokens["threshold"], tokens["value"]) == ("tokens", 8, 1)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (gate("latency", 2), "at_most: expected a time such as 2 s or 800 ms, found 2"),
        (gate("latnecy", "2 s"), "unknown metric of at_most 'latnecy'; did you mean 'latency'?"),
        (
            {"only": "m/plain", "metric": "numeric", "not_worse_than": "baseline", "margin": 0.1},
            "unknown metric 'numeric' (allowed: exact); a metric is one of the scorers",
        ),
        (
            {"only": "m/plain", "metric": "exact", "not_worse_than": "baseline", "margin": 0},
            "margin: 0 asks to prove that nothing is worse by any amount",
        ),
    ],
)
def test_what_is_no_gate_is_told_and_nothing_is_sent(
    project: Project, written: dict[str, Any], words: str
) -> None:
    result = run(project, written)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str() + result.stdout.str()
    assert not (project.root / "runs").exists()
