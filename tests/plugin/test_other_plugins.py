"""Trials beside other plugins, and under pytest's options that need its own protocol."""

from __future__ import annotations

import re
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

SUITE = "suites/arithmetic.yaml::m/plain::"

HANGING = (
    {"when": "^hang", "text": "yes", "latency": 600},
    {"when": "^say ?(.*)", "text": r"\1"},
)


@pytest.fixture
def four(project: Project) -> Project:
    """A project with a right, a wrong, a broken and another right trial.

    The last one runs under pytest's own protocol in any case.
    """
    items = [project.right("a"), project.wrong("b"), project.broken("c"), project.right("d")]
    project.suite("arithmetic", items)
    return project


# pytest-timeout -----------------------------------------------------------------------------------


@pytest.fixture(params=["signal", "thread"])
def method(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("pytest_timeout", reason="pytest-timeout belongs to the dev extra")
    if request.param == "signal" and not hasattr(signal, "SIGALRM"):
        pytest.skip("this system has no SIGALRM; pytest-timeout takes the thread method here")
    return str(request.param)


def test_a_timeout_fails_the_one_trial_that_hangs(project: Project, method: str) -> None:
    project.script(HANGING)
    hanging = {"id": "b", "question": "hang", "answer": "yes"}
    project.suite("arithmetic", [project.right("a"), hanging, project.right("c")])
    result = project.run("--timeout=1", f"--timeout-method={method}", "-v", plugins=["timeout"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{SUITE}a PASSED*",
            f"{SUITE}b FAILED*",
            f"{SUITE}c PASSED*",
            "Timeout (>1.0s) from pytest-timeout: still no answer",
        ]
    )


def test_the_last_trial_may_hang_too(project: Project, method: str) -> None:
    """It runs under pytest's own protocol, where the fixtures of others are torn down."""
    project.script(HANGING)
    hanging = {"id": "b", "question": "hang", "answer": "yes"}
    project.suite("arithmetic", [project.right("a"), hanging])
    result = project.run("--timeout=1", f"--timeout-method={method}", plugins=["timeout"])
    result.assert_outcomes(passed=1, failed=1)


def test_waiting_in_the_queue_does_not_count_as_time(project: Project) -> None:
    """Two workers wait for one slot: each answer takes 0.8 s, each wait 1.6 s."""
    pytest.importorskip("pytest_timeout", reason="pytest-timeout belongs to the dev extra")
    project.script([{"when": "^take your time", "text": "yes", "latency": 0.8}])
    project.config(models={"m": {"engine": "fake", "script": "script.json", "slots": 1}})
    items = [{"id": i, "question": "take your time", "answer": "yes"} for i in "abcd"]
    project.suite("arithmetic", items)
    result = project.run("-n2", "--timeout=1.4", "--timeout-method=thread", plugins=["timeout"])
    result.assert_outcomes(passed=4)


def test_after_a_timeout_in_a_worker_the_next_test_gets_its_own_answer(project: Project) -> None:
    pytest.importorskip("pytest_timeout", reason="pytest-timeout belongs to the dev extra")
    if not hasattr(signal, "SIGALRM"):
        pytest.skip("this system has no SIGALRM, and the thread method would end the worker")
    slow = {"when": "^take your time", "text": "late", "latency": 2.5}
    project.script([slow, {"when": "^say ?(.*)", "text": r"\1"}])
    project.suite(items=[project.right("a")])
    project.write(
        "test_own.py",
        "import time\n"
        "def test_slow(llm): llm.chat('take your time')\n"
        "def test_next(llm):\n"
        "    time.sleep(0.8)  # until the late answer is there\n"
        "    assert llm.chat('say mine').text == 'mine'\n",
    )
    result = project.run("test_own.py", "-n1", "--timeout=2", plugins=["timeout"])
    result.assert_outcomes(passed=1, failed=1)


def test_a_timeout_for_the_call_only_holds_for_trials_too(project: Project) -> None:
    pytest.importorskip("pytest_timeout", reason="pytest-timeout belongs to the dev extra")
    project.script(HANGING)
    hanging = {"id": "a", "question": "hang", "answer": "yes"}
    project.suite("arithmetic", [hanging, project.right("b")])
    result = project.run("--timeout=1", "-o", "timeout_func_only=true", plugins=["timeout"])
    result.assert_outcomes(passed=1, failed=1)


def test_a_timeout_still_ends_an_ordinary_test(project: Project) -> None:
    pytest.importorskip("pytest_timeout", reason="pytest-timeout belongs to the dev extra")
    if not hasattr(signal, "SIGALRM"):
        pytest.skip("this system has no SIGALRM, and the thread method would end this process")
    project.suite("arithmetic", [project.right("a")])
    project.write("test_own.py", "import time\ndef test_own(): time.sleep(60)\n")
    result = project.run("--timeout=1", plugins=["timeout"])
    result.assert_outcomes(passed=1, failed=1)


def test_a_timeout_of_a_marked_function_says_nothing_about_the_answer(project: Project) -> None:
    pytest.importorskip("pytest_timeout", reason="pytest-timeout belongs to the dev extra")
    if not hasattr(signal, "SIGALRM"):
        pytest.skip("this system has no SIGALRM, and the thread method would end this process")
    project.write(
        "test_own.py",
        "import pytest, time\n\n"
        '@pytest.mark.llmeval(items=[{"id": "a"}], prompt="say yes")\n'
        "def test_own(llm_prediction): time.sleep(60)\n",
    )
    project.run("--timeout=1", plugins=["timeout"]).assert_outcomes(failed=1)
    rows = [(row["scorer"], row["outcome"]) for row in project.rows("per_item_scores")]
    assert rows == [("passed", "failure")]
    assert project.rows("per_item_scores")[0]["reason"] == "timeout"


# pytest-rerunfailures -----------------------------------------------------------------------------


def test_reruns_judge_again_and_do_not_ask_again(four: Project) -> None:
    pytest.importorskip("pytest_rerunfailures", reason="it belongs to the dev extra")
    four.write("test_own.py", "def test_own(): assert 0\n")
    result = four.run("--reruns=2", plugins=["rerunfailures"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["suites/arithmetic.yaml .wRRE. *", "*1 failed, 2 passed, 1 error, 1 wrong, 4 rerun in*"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert Counter(line["custom_id"] for line in four.journal()) == {
        f"arithmetic::m/plain::{item}": 1 for item in "abcd"
    }
    assert {row["attempts"] for row in four.rows("predictions")} == {"1"}


def test_reruns_that_the_ini_file_asks_for_are_run_too(project: Project) -> None:
    pytest.importorskip("pytest_rerunfailures", reason="it belongs to the dev extra")
    project.write("pytest.ini", "[pytest]\nreruns = 2\n")
    project.suite("arithmetic", [project.broken(each) for each in "abcd"])
    result = project.run(plugins=["rerunfailures"])
    result.stdout.fnmatch_lines(["*4 error*, 8 rerun in*"])


# pytest-randomly ----------------------------------------------------------------------------------


def test_randomly_shuffles_tests_and_leaves_trials_in_the_plans_order(project: Project) -> None:
    pytest.importorskip("pytest_randomly", reason="it belongs to the dev extra")
    items = [project.right(f"item-{number:02}") for number in range(20)]
    project.suite("arithmetic", items)
    tests = "".join(f"def test_{number:02}(): pass\n" for number in range(20))
    project.write("test_own.py", tests)
    result = project.run("-v", "--randomly-seed=7", plugins=["randomly"])
    ran = [line.split()[0] for line in result.outlines if re.match(r"\S+::\S+ PASSED", line)]
    trials = [name for name in ran if name.startswith("suites")]
    tests_ran = [name for name in ran if name.startswith("test_own")]
    assert trials == [f"{SUITE}{item['id']}" for item in items]
    assert len(tests_ran) == 20
    assert tests_ran != sorted(tests_ran)


# pytest-html --------------------------------------------------------------------------------------


def test_html_names_the_trials_and_the_gates(four: Project) -> None:
    pytest.importorskip("pytest_html", reason="pytest-html belongs to the dev extra")
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.99}
    items = [four.right("a"), four.wrong("b"), four.broken("c")]
    four.suite("arithmetic", items, gates=[gate])
    args = ("--html=report.html", "--self-contained-html")
    four.run(*args, plugins=["html", "html_fixtures", "metadata"])
    text = (four.root / "report.html").read_text(encoding="utf-8")
    for name in ("a", "b", "c"):
        assert f"{SUITE}{name}" in text
    assert "suites/arithmetic.yaml::gates::m/plain.at_least" in text
    assert "The fake engine was told to fail: refused" in text


# pytest's own -------------------------------------------------------------------------------------


def test_pdb_opens_at_a_failure_of_the_machinery(four: Project) -> None:
    debugger = "class Quiet:\n    def __init__(self, **_): pass\n    def reset(self): pass\n"
    debugger += (
        "    def interaction(self, frame, trace): print('DEBUGGER at', type(trace).__name__)\n"
    )
    four.write("quiet.py", debugger + "    quitting = False\n    botframe = None\n")
    four.pytester.syspathinsert()
    result = four.run("--pdb", "--pdbcls=quiet:Quiet", "-s")
    assert result.stdout.str().count("DEBUGGER at traceback") == 1
    result.stdout.fnmatch_lines(["*2 passed, 1 error, 1 wrong in*"])


def test_setup_show_names_each_trial(four: Project) -> None:
    result = four.run("--setup-show")
    result.stdout.fnmatch_lines([f"*{SUITE}a*", f"*{SUITE}b*", f"*{SUITE}c*"])
    result.stdout.fnmatch_lines(["*2 passed, 1 error, 1 wrong in*"])


@pytest.mark.parametrize(
    ("option", "workers"), [("--setup-plan", "0"), ("--setup-only", "0"), ("--setup-plan", "2")]
)
def test_setting_up_without_running_asks_nothing(four: Project, option: str, workers: str) -> None:
    result = four.run(option, "-n", workers)
    assert result.ret == pytest.ExitCode.OK
    assert not (four.root / "runs").exists()


MARK_ONE = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if item.name == "b":
            item.add_marker({mark})
"""


def test_a_trial_marked_with_skip_is_not_asked(four: Project) -> None:
    four.write("conftest.py", MARK_ONE.format(mark="pytest.mark.skip(reason='known to be odd')"))
    result = four.run("-rs")
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml .sE. *", "SKIPPED *: known to be odd"])
    assert [row["item_id"] for row in four.rows("predictions")] == ["a", "c", "d"]


@pytest.mark.parametrize("mark", ["skip(reason='not today')", "skipif(True, reason='not today')"])
def test_a_gate_marked_with_skip_is_reported_once_as_that(project: Project, mark: str) -> None:
    project.config(models={name: {"engine": "fake", "script": "script.json"} for name in "mn"})
    gates = [{"only": f"{name}/plain", "metric": "exact", "at_least": 0.99} for name in "mn"]
    project.suite("arithmetic", [project.right("a"), project.wrong("b")], gates=gates)
    of_both = MARK_ONE.replace('if item.name == "b"', 'if "at_least" in item.name')
    project.write("conftest.py", of_both.format(mark=f"pytest.mark.{mark}"))
    result = project.run("-rs")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED *: not today"])
    result.stdout.no_fnmatch_line("FAIL *")


def test_a_wrong_answer_of_a_trial_marked_with_xfail_is_expected(four: Project) -> None:
    """Its score counts like any other."""
    four.write("conftest.py", MARK_ONE.format(mark="pytest.mark.xfail(reason='too hard')"))
    result = four.run("-rx")
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml .xE. *", "XFAIL *b - too hard*"])
    result.assert_outcomes(passed=2, xfailed=1, errors=1)
    scored = {row["item_id"]: row["outcome"] for row in four.rows("predictions")}
    assert scored == {"a": "right", "b": "wrong", "c": "failure", "d": "right"}


def test_a_right_answer_of_a_trial_marked_with_xfail_is_a_surprise(project: Project) -> None:
    project.suite("arithmetic", [project.right("b"), project.right("c")])
    project.write("conftest.py", MARK_ONE.format(mark="pytest.mark.xfail"))
    project.run().assert_outcomes(passed=1, xpassed=1)


def test_a_right_answer_of_a_trial_marked_with_strict_xfail_fails(project: Project) -> None:
    project.suite("arithmetic", [project.right("b"), project.right("c")])
    project.write("conftest.py", MARK_ONE.format(mark="pytest.mark.xfail(strict=True)"))
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*"])
