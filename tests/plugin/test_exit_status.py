"""What pytest's exit status says of an evaluation."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

TINY = Path(__file__).parents[2] / "models" / "tiny-s.gguf"


def test_wrong_answers_and_no_answers_are_results_and_no_failures(project: Project) -> None:
    project.suite(items=[project.right("a"), project.wrong("b"), project.silent("c")])
    result = project.run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines([r"=+ 1 passed, 1 wrong, 1 no answer in"])


def test_a_broken_request_fails_the_session(project: Project) -> None:
    project.suite(items=[project.right("a"), project.broken("b")])
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


def test_a_gate_that_fails_fails_the_session(project: Project) -> None:
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.9}
    project.suite(items=[project.wrong(f"i{n}") for n in range(20)], gates=[gate])
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


def test_a_wrong_answer_fails_the_session_where_it_must_be_right(project: Project) -> None:
    project.suite(items=[project.right("a"), project.wrong("b")], each_item="must_pass")
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


def test_a_test_of_the_users_own_fails_the_session(project: Project) -> None:
    project.suite(items=[project.right("a")])
    project.write("test_own.py", "def test_own():\n    assert False\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_nothing_selected_is_told_apart_from_everything_right(
    project: Project, workers: str
) -> None:
    project.suite(items=[project.right("a")])
    assert project.run(workers, "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not (project.root / "runs").exists()


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_mistake_in_a_suite_is_a_usage_error_and_nothing_is_sent(
    project: Project, workers: str
) -> None:
    project.suite(items=[project.right("a")])
    project.suite("broken", text="items: 3\n")
    result = project.run(workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *broken.yaml*", "ERROR: llmeval: nothing was sent"])
    assert not (project.root / "runs").exists()


def test_a_collection_error_elsewhere_stops_the_session_before_anything_is_sent(
    project: Project,
) -> None:
    project.suite(items=[project.right("a")])
    project.write("test_own.py", "import nothing_of_this_name\n")
    assert project.run().ret == pytest.ExitCode.INTERRUPTED
    assert not (project.root / "runs").exists()


def test_a_server_that_cannot_start_is_an_error_of_its_own_trials_only(project: Project) -> None:
    (project.root / "half.gguf").write_bytes(TINY.read_bytes()[: TINY.stat().st_size // 2])
    project.config(
        models={
            "broken": {"engine": "embedded", "gguf": "half.gguf"},
            "m": {"engine": "fake", "script": "script.json"},
        }
    )
    project.suite(items=[project.right("a"), project.right("b")])
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 2, "errors": 2}
    outcomes = [(row["model"], row["outcome"]) for row in project.rows("predictions")]
    assert sorted(outcomes) == [("broken", "failure")] * 2 + [("m", "right")] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a console, not a process")
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_ctrl_c_ends_the_session_in_order_and_says_how_to_go_on(
    project: Project, workers: str
) -> None:
    project.script([{"when": "slow", "text": "yes", "latency": 60}, {"text": "yes"}])
    slow = {"id": "z", "question": "slow", "answer": "yes"}
    project.suite(items=[project.right("a"), slow])
    process = project.spawn(workers)
    try:
        _wait_for_an_answer(project)
        its_children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=50)
    finally:
        process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert f"continue with --llm-resume {project.latest_run().name}" in output
    assert "INTERNALERROR" not in output
    assert project.manifest()["exit_reason"] == "interrupted"
    assert len(project.journal()) == 1
    _, alive = psutil.wait_procs(its_children, timeout=20)
    assert not alive


def _wait_for_an_answer(project: Project) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any((project.root / "runs").glob("*/*/parts/*.results.jsonl")) and project.journal():
            return
        time.sleep(0.05)
    pytest.fail("no answer was written down within a minute")


def test_a_secret_that_the_shell_has_put_into_an_option_is_not_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "correct-horse-77")
    result = project.run("--llm-set", "models.m.slots=correct-horse-77")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "models.m.slots: expected a whole number, found '[redacted]'" in result.stderr.str()
    assert "correct-horse" not in result.stdout.str() + result.stderr.str()
