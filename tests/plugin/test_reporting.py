"""What a session shows: letters, words, the last line, failures, JUnit, and its exit status."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

SUITE = "suites/arithmetic.yaml::m/plain::"

SHOUTING = """
from dataclasses import dataclass
from typing import ClassVar
from pytest_llmeval.scoring.scorer import register, score_of

@register("chatty")
@dataclass(frozen=True)
class Chatty:
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer, item):
        print("judging", item.id)
        if item.id == "crash":
            raise ValueError("no such colour")
        return score_of(self.name, 0.5 if item.id == "half" else 1)
"""


@pytest.fixture
def every_outcome(project: Project) -> Project:
    """A project with a suite in which every outcome occurs."""
    items = [project.right("a"), project.wrong("b"), project.silent("c"), project.broken("d")]
    project.suite("arithmetic", items)
    return project


def test_a_session_without_a_terminal_reporter_is_a_run_as_any_other(project: Project) -> None:
    project.suite(items=[project.right("a"), project.wrong("b")])
    assert project.run("-p", "no:terminal").ret == pytest.ExitCode.OK
    assert [row["outcome"] for row in project.rows("predictions")] == ["right", "wrong"]


def test_each_outcome_has_its_letter(every_outcome: Project) -> None:
    every_outcome.run().stdout.fnmatch_lines(["suites/arithmetic.yaml .wnE *100%]"])


def test_each_outcome_has_its_word_under_v(every_outcome: Project) -> None:
    every_outcome.run("-v").stdout.fnmatch_lines(
        [
            f"{SUITE}a PASSED *25%]",
            f"{SUITE}b WRONG *50%]",
            f"{SUITE}c NO ANSWER *75%]",
            f"{SUITE}d ERROR *100%]",
        ]
    )


def test_quiet_shows_letters_and_the_last_line(every_outcome: Project) -> None:
    result = every_outcome.run("-q")
    result.stdout.fnmatch_lines([".wnE *100%]"])
    result.stdout.fnmatch_lines(["1 passed, 1 error, 1 wrong, 1 no answer in *"])


def test_the_last_line_counts_outcomes(every_outcome: Project) -> None:
    every_outcome.run().stdout.fnmatch_lines(
        ["=* 1 passed, 1 error, 1 wrong, 1 no answer in *s =*"]
    )


def test_a_score_between_right_and_wrong_is_graded(project: Project) -> None:
    project.write("conftest.py", SHOUTING)
    project.suite("arithmetic", [project.right("a"), project.right("half")], score="chatty")
    result = project.run("-v")
    result.stdout.fnmatch_lines([f"{SUITE}half GRADED*", "*1 passed, 1 graded in*"])
    assert result.ret == pytest.ExitCode.OK


def test_wrong_and_missing_answers_break_no_session(project: Project) -> None:
    project.suite("arithmetic", [project.wrong("b"), project.silent("c")])
    result = project.run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*1 wrong, 1 no answer in*"])


def test_a_failure_is_an_error_with_the_servers_words(project: Project) -> None:
    project.suite("arithmetic", [project.right("a"), project.broken("d"), project.right("e")])
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*ERROR at call of arithmetic m/plain d*",
            "failure (refused): The fake engine was told to fail: refused",
            f"ERROR {SUITE}d*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_scorer_that_raises_is_an_error_with_its_words(project: Project) -> None:
    project.write("conftest.py", SHOUTING)
    project.suite("arithmetic", [project.right("crash"), project.right("a")], score="chatty")
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["failure (scorer) of chatty: ValueError: no such colour"])


ODD = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from pytest_llmeval.records import Score
from pytest_llmeval.scoring.scorer import register

@register("odd")
@dataclass(frozen=True)
class Odd:
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer, item):
        return Score(self.name, "graded", np.float64(0.5), "half \\ud800")
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_numbers_of_numpy_and_broken_texts_travel_in_reports(
    project: Project, workers: str
) -> None:
    project.write("conftest.py", ODD)
    project.suite("arithmetic", [project.right("a"), project.right("b")], score="odd")
    result = project.run(workers)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert result.parseoutcomes() == {"graded": 2}
    rows = [(row["value"], row["reason"]) for row in project.rows("per_item_scores")]
    assert rows == [("0.5", r"half \ud800")] * 2


def test_a_trial_whose_run_broke_off_is_an_error_in_its_words(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_llmeval.run.ledger.Ledger.record", full)
    project.suite("arithmetic", [project.right("a"), project.right("b")])
    result = project.run()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml EE*", "the run broke off: OSError*"])


# each_item: must_pass -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("wrong", "wrong: expected 'yes', got 'no', extracted 'no' (each_item: must_pass)"),
        ("silent", "empty: expected 'yes', got '' (each_item: must_pass)"),
    ],
)
def test_must_pass_makes_an_answer_that_is_not_right_a_failing_test(
    project: Project, kind: str, words: str
) -> None:
    items = [getattr(project, kind)("b"), project.right("a")]
    project.suite("arithmetic", items, each_item="must_pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml F. *", "*= FAILURES =*", words])


def test_a_failing_trial_shows_what_the_scorer_printed(project: Project) -> None:
    project.write("conftest.py", SHOUTING)
    items = [project.right("half"), project.right("a")]
    project.suite("arithmetic", items, score="chatty", each_item="must_pass")
    result = project.run()
    result.stdout.fnmatch_lines(["*Captured stdout call*", "judging half"])
    result.stdout.no_fnmatch_line("judging a")


def test_dash_s_shows_at_once_what_the_scorer_prints(project: Project) -> None:
    project.write("conftest.py", SHOUTING)
    project.suite("arithmetic", [project.right("a"), project.right("b")], score="chatty")
    result = project.run("-s")
    assert "judging a" in result.stdout.str()


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_failures_are_shown_in_every_traceback_style(project: Project, style: str) -> None:
    items = [project.wrong("b"), project.broken("d"), project.right("a")]
    project.suite("arithmetic", items, each_item="must_pass")
    result = project.run(f"--tb={style}")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    shown = "wrong: expected 'yes', got 'no'" in result.stdout.str().split("short test summary")[0]
    assert shown == (style != "no")
    result.stdout.no_fnmatch_line("*pytest_llmeval*.py*")


def test_short_summaries_list_what_is_asked_for(every_outcome: Project) -> None:
    every_outcome.run("-rA").stdout.fnmatch_lines([f"PASSED {SUITE}a", f"ERROR {SUITE}d*"])
    short = every_outcome.run("-rf")
    short.stdout.no_fnmatch_line("ERROR suites*")


# failures: at_most --------------------------------------------------------------------------------


@pytest.fixture
def half_broken(project: Project) -> Project:
    """A project in which two of four requests fail."""
    items = [project.right("a"), project.broken("b"), project.wrong("c"), project.broken("d")]
    project.suite("arithmetic", items)
    return project


def test_failures_within_the_configs_limit_are_tolerated(half_broken: Project) -> None:
    half_broken.config(failures={"at_most": "50%"})
    result = half_broken.run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["suites/arithmetic.yaml .EwE *", "*1 passed, 2 tolerated, 1 wrong*"]
    )


def test_failures_beyond_the_configs_limit_make_the_session_red(half_broken: Project) -> None:
    half_broken.config(failures={"at_most": "49%"})
    result = half_broken.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    words = (
        "2 of 4 trials failed, 50 %; the config allows 49 % (failures: at_most). "
        "The first: arithmetic::m/plain::b: The fake engine was told to fail: refused"
    )
    result.stdout.fnmatch_lines(
        [
            "*_ llmeval failures: at_most _*",
            words,
            "FAILED llmeval::failures.at_most*",
            "*= 1 failed, 1 passed, 2 tolerated, 1 wrong in*",
        ]
    )
    result.stdout.no_fnmatch_line("*125%*")


def test_the_limit_on_failures_is_forgotten_by_lf_once_it_holds(half_broken: Project) -> None:
    half_broken.config(failures={"at_most": "49%"})
    half_broken.run("-q")
    half_broken.config(failures={"at_most": "50%"})
    assert half_broken.run("-q").ret == pytest.ExitCode.OK
    half_broken.run("--lf").stdout.fnmatch_lines(["run-last-failure: no previously failed tests*"])


def test_a_limit_of_zero_makes_every_failure_an_error(half_broken: Project) -> None:
    half_broken.config(failures={"at_most": 0})
    half_broken.run().assert_outcomes(passed=1, errors=2)


def test_a_failure_is_not_tolerated_where_each_item_must_pass(project: Project) -> None:
    project.config(failures={"at_most": "50%"})
    items = [project.right("a"), project.broken("b")]
    project.suite("arithmetic", items, each_item="must_pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, errors=1)


def test_scorers_that_raise_count_as_failures(project: Project) -> None:
    project.config(failures={"at_most": "10%"})
    project.write("conftest.py", SHOUTING)
    project.suite("arithmetic", [project.right("crash"), project.right("a")], score="chatty")
    result = project.run()
    result.stdout.fnmatch_lines(
        ["1 of 2 trials failed, 50 %; *arithmetic::m/plain::crash: ValueError: no such colour"]
    )


MARKED = """
import pytest

ITEMS = [{"id": "a", "question": "say yes"}, {"id": "b", "question": "break"}]

@pytest.mark.llmeval(items=ITEMS, prompt="{{ question }}")
def test_marked(llm_prediction):
    assert llm_prediction.text == "yes"
"""


def test_a_marked_test_without_an_answer_is_skipped_within_the_limit(project: Project) -> None:
    project.config(failures={"at_most": "50%"})
    project.write("test_own.py", MARKED)
    result = project.run("-rs")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *failure (refused): The fake engine was told to fail*"])


def test_marked_tests_without_an_answer_count_against_the_limit(project: Project) -> None:
    project.config(failures={"at_most": "49%"})
    project.write("test_own.py", MARKED)
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 of 2 trials failed, 50 %; the config allows 49 %*"])


# JUnit and times ----------------------------------------------------------------------------------


def cases(project: Project) -> dict[str, ET.Element]:
    """JUnit's test cases by name."""
    found = ET.parse(project.root / "junit.xml").getroot().iter("testcase")
    return {case.attrib["name"]: case for case in found}


def properties(case: ET.Element) -> dict[str, str]:
    return {entry.attrib["name"]: entry.attrib["value"] for entry in case.iter("property")}


def test_junit_knows_trials_by_suite_and_condition(every_outcome: Project) -> None:
    every_outcome.run("--junitxml=junit.xml")
    found = cases(every_outcome)
    assert list(found) == ["a", "b", "c", "d"]
    assert {case.attrib["classname"] for case in found.values()} == {
        "suites.arithmetic.yaml.m/plain"
    }


def test_in_junit_a_wrong_answer_is_no_failure_and_says_what_it_was(every_outcome: Project) -> None:
    every_outcome.run("--junitxml=junit.xml")
    wrong = cases(every_outcome)["b"]
    assert [child.tag for child in wrong] == ["properties"]
    assert properties(wrong) == {"llm_outcome": "wrong", "llm_expected": "yes", "llm_answer": "no"}
    assert properties(cases(every_outcome)["c"])["llm_reason"] == "empty"
    assert properties(cases(every_outcome)["a"]) == {"llm_outcome": "right"}


def test_in_junit_a_failure_has_the_servers_words(every_outcome: Project) -> None:
    every_outcome.run("--junitxml=junit.xml")
    failed = cases(every_outcome)["d"].find("failure")
    assert failed is not None
    assert "The fake engine was told to fail: refused" in failed.attrib["message"]
    suite = ET.parse(every_outcome.root / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("4", "1")


def test_durations_show_the_requests_time_and_not_the_waiting(project: Project) -> None:
    project.config(models={"m": {"engine": "fake", "script": "script.json", "slots": 1}})
    project.script([{"when": "say", "text": "yes", "latency": 0.2}])
    project.suite("arithmetic", [project.right(name) for name in "abcd"])
    result = project.run("--durations=0", "-q", "--junitxml=junit.xml")
    result.stdout.fnmatch_lines(["0.2*s call *suites/arithmetic.yaml::m/plain::*"])
    row = {row["item_id"]: row for row in project.rows("predictions")}["a"]
    assert float(cases(project)["a"].attrib["time"]) == pytest.approx(
        float(row["total_ms"]) / 1000, abs=0.002
    )


def test_progress_can_be_counted(every_outcome: Project) -> None:
    result = every_outcome.run("-o", "console_output_style=count")
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml .wnE *4/4]"])


def test_a_test_whose_traceback_had_to_be_changed_says_in_short_by_what_it_has_failed(
    project: Project,
) -> None:
    """In the summary's line, in JUnit and with --tb=line, as any other test."""
    project.write(
        "test_own.py",
        "def test_secret():\n"
        "    key = 'sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8x'\n"
        "    raise ValueError('refused: ' + key)\n"
        "def test_escape():\n"
        "    raise ValueError('it said \\x1b[31m')\n",
    )
    result = project.run("test_own.py", "--junitxml=junit.xml")
    result.stdout.fnmatch_lines(
        [
            "FAILED test_own.py::test_secret - ValueError: refused: [[]redacted[]]",
            r"FAILED test_own.py::test_escape - ValueError: it said \x1b[[]31m",
        ]
    )
    tree = ET.parse(project.root / "junit.xml")
    told = {node.get("message") for node in tree.iter("failure")}
    assert told == {"ValueError: refused: [redacted]", r"ValueError: it said \x1b[31m"}
    project.write(
        "conftest.py",
        "import json\n"
        "def pytest_runtest_logreport(report):\n"
        "    json.dumps(report._to_json())  # as plugins do that send reports on\n",
    )
    in_lines = project.run("test_own.py", "--tb=line")
    in_lines.assert_outcomes(failed=2)
    in_lines.stdout.fnmatch_lines(["*test_own.py:3: ValueError: refused: [[]redacted[]]"])


def test_what_did_not_come_at_the_first_request_is_told_and_is_no_failure(project: Project) -> None:
    project.config()
    project.script([{"fail": "busy", "times": 1}, {"text": "yes"}])
    project.suite(items=[project.right("a"), project.right("b")])
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 answer took more than one request (1 HTTP 503)"])
