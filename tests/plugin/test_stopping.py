"""A session that ends early: -x, Ctrl-C, pytest.exit, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

GATE = {"only": "m/plain", "metric": "exact", "at_least": 0.1}

#: The first answers come at once, "slow" ones never within a test.
SLOW = (
    {"when": "^slow", "text": "yes", "latency": 600},
    {"when": "^say ?(.*)", "text": r"\1"},
)


@pytest.fixture
def slow(project: Project) -> Project:
    """A project whose fourth trial is waited for in vain, with one slot."""
    project.script(SLOW)
    project.config(models={"m": {"engine": "fake", "script": "script.json", "slots": 1}})
    items = [project.right(name) for name in "abc"]
    never = {"id": "never", "question": "slow", "answer": "yes"}
    project.suite("arithmetic", [*items, never, project.right("e")], gates=[GATE])
    return project


def wait_for_journal(project: Project, lines: int, process: subprocess.Popen[str]) -> None:
    """Until so many trials are journaled; fails if the session ends before."""
    while process.poll() is None:
        found = list((project.root / "runs").glob("*/*/parts/*.results.jsonl"))
        text = "".join(path.read_text(encoding="utf-8") for path in found)
        if text.count("\n") >= lines:
            return
        time.sleep(0.05)
    assert process.stdout is not None
    pytest.fail(f"the session ended: {process.stdout.read()}")


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        os.killpg(process.pid, signal.SIGINT)


def answered(project: Project) -> list[str]:
    return [line["custom_id"].rpartition("::")[2] for line in project.journal()]


@pytest.mark.skipif(
    sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one child"
)
def test_ctrl_c_ends_a_wait_and_says_how_to_resume(slow: Project) -> None:
    process = slow.spawn("-v")
    wait_for_journal(slow, 3, process)
    press_ctrl_c(process)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert f"llmeval: continue with --llm-resume {slow.latest_run().name}" in output
    assert "KeyboardInterrupt" in output
    assert "INTERNALERROR" not in output
    assert answered(slow) == ["a", "b", "c"]
    assert slow.manifest()["exit_reason"] == "interrupted"


def test_an_interrupt_after_the_last_test_says_how_to_continue_and_does(project: Project) -> None:
    project.suite("arithmetic", [project.right(name) for name in "abc"])
    project.write(
        "conftest.py",
        "from pytest_llmeval.run import ending\n"
        "def interrupt(*_): raise KeyboardInterrupt\n"
        "ending.worth_of = interrupt\n",
    )
    process = project.spawn()  # a process of its own, which may be interrupted
    output, _ = process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert f"llmeval: continue with --llm-resume {project.latest_run().name}" in output
    assert "INTERNALERROR" not in output
    assert project.manifest()["exit_reason"] == "interrupted"
    project.write("conftest.py", "")
    project.run("--llm-resume", "last", "suites").assert_outcomes(passed=3)
    assert project.manifest()["exit_reason"] == "finished"


def test_an_interrupted_run_can_be_resumed_and_asks_only_the_rest(slow: Project) -> None:
    slow.write("test_own.py", "import pytest\ndef test_own(): pytest.exit('enough')\n")
    result = slow.run("test_own.py", "suites")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    before = answered(slow)
    slow.script([{"when": "slow|say", "text": "yes"}])
    slow.run("--llm-resume", "last", "suites").assert_outcomes(passed=6)
    assert sorted(answered(slow)) == ["a", "b", "c", "e", "never"]
    assert answered(slow)[: len(before)] == before


@pytest.mark.parametrize(("call", "status"), [("'enough'", 2), ("'enough', returncode=7", 7)])
def test_pytest_exit_ends_the_run_with_its_status(slow: Project, call: str, status: int) -> None:
    slow.write("test_own.py", f"import pytest\ndef test_own(): pytest.exit({call})\n")
    result = slow.run("test_own.py", "suites")
    assert result.ret == status
    result.stdout.fnmatch_lines(["*_pytest.outcomes.Exit: enough*"])
    assert slow.manifest()["exit_reason"] == "interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to be caught or not")
def test_sigterm_keeps_the_journal(slow: Project) -> None:
    process = slow.spawn()
    wait_for_journal(slow, 3, process)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert answered(slow) == ["a", "b", "c"]
    slow.script([{"when": "slow|say", "text": "yes"}])
    slow.run("--llm-resume", "last").assert_outcomes(passed=6)
    assert sorted(answered(slow)) == ["a", "b", "c", "e", "never"]


@pytest.fixture
def strict(project: Project) -> Project:
    """A project whose second of four trials fails, and another suite behind it, with a gate."""
    items = [project.right("a"), project.wrong("b"), project.right("c"), project.right("d")]
    project.suite("one", items, each_item="must_pass", gates=[GATE])
    project.suite("two", [project.right("a")], gates=[GATE])
    return project


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_a_stop_leaves_gates_inconclusive_and_concludes(strict: Project, option: str) -> None:
    result = strict.run(option, "-v", "-rs")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "suites/one.yaml::m/plain::a PASSED*",
            "suites/one.yaml::m/plain::b FAILED*",
            "suites/one.yaml::gates::m/plain.at_least SKIPPED*",
            "=* llmeval: 5 trials, 1 model, 2 suites =*",
            "SKIPPED *gate inconclusive: m/plain the run stopped: stopping after 1 failures",
            "*stopping after 1 failures*",
        ]
    )
    result.stdout.no_fnmatch_line("suites/one.yaml::m/plain::c*")
    assert strict.manifest()["exit_reason"] == "stopping after 1 failures"


def test_maxfail_lets_the_session_go_on_below_its_number(strict: Project) -> None:
    result = strict.run("--maxfail=2")
    result.assert_outcomes(passed=6, failed=1)
    assert strict.manifest()["exit_reason"] == "finished"


def test_x_stops_at_a_failure_of_the_machinery(project: Project) -> None:
    project.suite("arithmetic", [project.broken("a"), project.right("b"), project.right("c")])
    result = project.run("-x")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_x_does_not_stop_at_a_wrong_answer(project: Project) -> None:
    project.suite("arithmetic", [project.wrong("a"), project.silent("b"), project.right("c")])
    project.run("-x").stdout.fnmatch_lines(["*1 passed, 1 wrong, 1 no answer in*"])


def test_a_stopped_run_says_how_to_go_on(strict: Project) -> None:
    result = strict.run("-x")
    result.stdout.fnmatch_lines([f"*--llm-resume {strict.latest_run().name}*"])


def test_every_artifact_of_a_stopped_run_can_be_read(strict: Project) -> None:
    strict.run("-x")
    folder = strict.latest_run()
    for name in ("manifest.json", "significance.json", "costs.json", "environment.json"):
        json.loads((folder / name).read_text(encoding="utf-8"))
    assert (folder / "reports" / "report.md").is_file()
