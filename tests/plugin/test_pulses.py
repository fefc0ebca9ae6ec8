"""Which workers do not get on: they are named, and ended at last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmeval.parcels import Pulse
from pytest_llmeval.pulses import Patience, PulseWatch
from pytest_llmeval.servers.identity import Identity

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

ME = Identity(123, 1.0)
TEST = "suites/one.yaml::m/plain::r3"


class Seen:
    """A watch with little patience, what it said and whom it ended."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ended: list[Identity] = []
        self.watch = PulseWatch(self.said.append, Patience(silent=3, end=5, long=10), self._end)

    def _end(self, process: Identity) -> bool:
        self.ended.append(process)
        return True

    def look(self, times: int) -> None:
        for _ in range(times):
            self.watch.look()


class TestSilence:
    def test_a_worker_that_is_heard_of_is_not_spoken_of(self) -> None:
        seen = Seen()
        for _ in range(20):
            seen.watch.heard(Pulse("gw0", ME, TEST, 0.0))
            seen.look(2)
        assert not seen.said
        assert not seen.ended

    def test_one_that_is_not_is_named_with_its_test_and_ended_later(self) -> None:
        seen = Seen()
        seen.watch.heard(Pulse("gw1", ME, "an earlier test", 0.5))
        for nodeid in ("an earlier test", TEST, "of another worker"):
            seen.watch.began(nodeid)
        seen.watch.ended("an earlier test")
        for _ in range(4):
            seen.watch.heard(Pulse("gw0", ME, "of another worker", 0.5))
            seen.look(1)
            seen.watch.began("a younger test")
        assert len(seen.said) == 1
        assert seen.said[0].startswith(
            f"llmeval: worker gw1 (pid 123) has not been heard of for 3 s, at {TEST}: it is stopped"
        )
        assert not seen.ended
        seen.watch.gone("gw0")
        seen.look(10)
        assert seen.said[1:] == ["llmeval: worker gw1 (pid 123) is ended"]
        assert seen.ended == [ME]

    def test_one_that_has_ended_is_not_missed_not_even_after_a_late_pulse(self) -> None:
        seen = Seen()
        seen.watch.heard(Pulse("gw0", ME))
        seen.watch.gone("gw0")
        seen.watch.heard(Pulse("gw0", ME))
        seen.look(20)
        assert not seen.said
        assert not seen.ended

    def test_one_that_comes_back_counts_anew(self) -> None:
        seen = Seen()
        for _ in range(3):
            seen.watch.heard(Pulse("gw0", ME))
            seen.look(4)
        assert len(seen.said) == 3
        assert not seen.ended


def test_a_test_that_does_not_return_is_named_and_again_at_twice_the_time() -> None:
    seen = Seen()
    for seconds in range(45):
        seen.watch.heard(Pulse("gw0", ME, TEST, float(seconds)))
        seen.look(1)
    assert [line.partition(", ")[0] for line in seen.said] == [
        f"llmeval: worker gw0 has been at {TEST} for {seconds} s" for seconds in (10, 20, 40)
    ]
    assert "pytest-timeout limits tests; Ctrl-C ends the run" in seen.said[0]
    seen.watch.heard(Pulse("gw0", ME, "another", 10.0))
    seen.look(1)
    assert "at another for 10 s" in seen.said[-1]


IMPATIENT = """
from pytest_llmeval import controller
from pytest_llmeval.pulses import Patience
controller.PATIENCE = Patience(silent=2, end=END, long=2)
"""

STUCK = """
import pathlib
import time
import pytest

ITEMS = [{"id": f"f{n}", "question": f"say {n}"} for n in range(2)]

@pytest.mark.llmeval(items=ITEMS, prompt="{{ question }}")
def test_marked(llm_item, llm_prediction):
    while llm_item.id == "f0" and not pathlib.Path("enough").exists():
        time.sleep(0.01)
"""


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
class TestSessions:
    STOPS = """
import os, signal

@pytest.mark.llmeval(items=ITEMS, prompt="{{ question }}")
def test_stopped(llm_item, llm_prediction):
    first = pathlib.Path(__file__).with_name("stopped")
    if llm_item.id == "f1" and not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
"""

    def test_a_stopped_worker_is_named_and_ended_and_its_tests_are_run_again(
        self, project: Project
    ) -> None:
        project.write("conftest.py", IMPATIENT.replace("END", "4"))
        project.suite("one", [project.right(f"r{n}") for n in range(10)])
        project.write("test_own.py", STUCK.partition("@pytest")[0] + self.STOPS)
        process = project.spawn("-n2")
        output, _ = process.communicate()
        assert process.returncode == 0, output
        pytest.LineMatcher(output.splitlines()).fnmatch_lines(
            [
                "*llmeval: worker gw? (pid *) has not been heard of for 2 s, at test_own.py:*f1]*",
                "llmeval: worker gw? (pid *) is ended",
                "llmeval: worker gw? crashed while running test_own.py::test_stopped[[]m-f1]",
                "*= 12 passed, 1 crashed in *",
            ]
        )
        asked = [line["custom_id"] for line in project.journal()]
        assert len(asked) == len(set(asked)) == 12

    def test_ctrl_c_ends_a_session_with_a_stopped_worker(self, project: Project) -> None:
        project.suite("one", [project.right(f"r{n}") for n in range(4)])
        project.write("test_own.py", STUCK.partition("@pytest")[0] + self.STOPS)
        process = project.spawn("-n2")
        until((project.root / "stopped").exists, process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate()
        assert process.returncode == pytest.ExitCode.INTERRUPTED
        assert f"llmeval: continue with --llm-resume {project.latest_run().name}" in output
        assert project.manifest()["exit_reason"] == "interrupted"


def test_a_test_that_does_not_return_is_named_and_holds_no_other_trial(project: Project) -> None:
    project.write("conftest.py", IMPATIENT.replace("END", "300"))
    project.suite("one", [project.right(f"r{n}") for n in range(30)])
    project.write("test_own.py", STUCK)
    process = project.spawn("-n2", "--dist=worksteal")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "has been at test_own.py::test_marked[m-f0] for" in line:
            break
    else:
        pytest.fail("".join(lines))
    until(lambda: len(project.journal()) == 32, process)
    project.write("enough", "")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "32 passed" in output


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_pytest_timeout_ends_a_test_that_does_not_return(project: Project, method: str) -> None:
    pytest.importorskip("pytest_timeout", reason="needs pytest-timeout")
    if method == "signal" and sys.platform == "win32":
        pytest.skip("Windows has no SIGALRM")
    project.suite("one", [project.right(f"r{n}") for n in range(10)])
    project.write("test_own.py", STUCK)
    args = ("-n2", "--timeout=3", f"--timeout-method={method}")
    result = project.run(*args, plugins=["timeout"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    asked = [line["custom_id"] for line in project.journal()]
    assert len(asked) == len(set(asked)) == 12
    rows = [row for row in project.rows("per_item_scores") if row["item_id"] == "f0"]
    assert [row["outcome"] for row in rows] == ["failure"]
    reason = {"signal": "timeout", "thread": "crashed"}[method]
    assert [row["reason"] for row in rows] == [reason]


def test_no_process_of_a_killed_controller_is_left(project: Project) -> None:
    """Neither a worker that waits for an answer, nor one in a test that does not return."""
    project.script([{"when": "^slow", "text": "yes", "latency": 600}, {"when": "", "text": "no"}])
    project.suite("one", [{"id": f"s{n}", "question": "slow", "answer": "yes"} for n in range(2)])
    project.write("test_own.py", STUCK)
    process = project.spawn("-n2", "-s")
    children: list[psutil.Process] = []

    def both_run() -> bool:
        children[:] = psutil.Process(process.pid).children(recursive=True)
        return len(children) >= 2 and len(list(project.root.glob("runs/*/*/parts/*.results*"))) > 0

    until(both_run, process)
    until(lambda: len(project.journal()) >= 2, process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    project.script([{"when": "", "text": "yes"}])
    project.write("enough", "")
    project.run("-n2", "--llm-resume", "last").assert_outcomes(passed=4)
    asked = [line["custom_id"] for line in project.journal()]
    assert len(asked) == len(set(asked)) == 4
