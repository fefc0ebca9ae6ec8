"""Ordinary tests before, between and after trials: their fixtures live as if alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

#: Session, module and function fixtures that write down what happens to them, in order.
DIARY = """
import pathlib
import pytest

DIARY = pathlib.Path(__file__).parent / "diary.txt"

def note(line):
    with DIARY.open("a", encoding="utf-8") as file:
        file.write(line + "\\n")

@pytest.fixture(scope="session")
def whole():
    note("session up")
    yield
    note("session down")

@pytest.fixture(scope="module")
def part(request, whole):
    name = request.module.__name__
    note(f"{name} up")
    yield
    note(f"{name} down")

@pytest.fixture
def once(request, part):
    note(f"{request.node.name} up")
    yield
    note(f"{request.node.name} down")
"""

TESTS = "def test_one(once): pass\ndef test_two(once): pass\n"


def of_module(name: str) -> list[str]:
    tests = [f"test_{test} {state}" for test in ("one", "two") for state in ("up", "down")]
    return [f"{name} up", *tests, f"{name} down"]


def diary(project: Project) -> list[str]:
    return (project.root / "diary.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def neighbours(project: Project) -> Project:
    """Tests in three modules, and suites between them in the order in which they are named."""
    project.write("conftest.py", DIARY)
    for name in ("test_before", "test_between", "test_after"):
        project.write(f"tests/{name}.py", TESTS)
    project.suite("first", [project.right(name) for name in "abc"])
    project.suite("second", [project.right("a"), project.wrong("b"), project.right("c")])
    return project


IN_TURN = (
    "tests/test_before.py",
    "suites/first.yaml",
    "tests/test_between.py",
    "suites/second.yaml",
    "tests/test_after.py",
)


def test_fixtures_are_torn_down_once_and_in_order(neighbours: Project) -> None:
    result = neighbours.run("-v", *IN_TURN)
    result.assert_outcomes(passed=11)
    assert result.ret == pytest.ExitCode.OK
    assert diary(neighbours) == [
        "session up",
        *of_module("test_before"),
        *of_module("test_between"),
        *of_module("test_after"),
        "session down",
    ]


def test_what_tests_beside_the_suites_left_is_torn_down_after_the_trials(project: Project) -> None:
    """A fixture of the whole folder outlives its trials and no more."""
    project.write("conftest.py", DIARY)
    project.write(
        "suites/conftest.py",
        "import pytest\n"
        "from conftest import note\n"
        "@pytest.fixture(scope='package')\n"
        "def folder(whole):\n"
        "    note('folder up')\n"
        "    yield\n"
        "    note('folder down')\n",
    )
    project.write("suites/__init__.py", "")
    project.write("suites/test_beside.py", "def test_beside(folder): pass\n")
    project.suite("first", [project.right("a"), project.right("b")])
    project.write("tests/test_after.py", TESTS)
    result = project.run("suites/test_beside.py", "suites/first.yaml", "tests/test_after.py")
    result.assert_outcomes(passed=5)
    assert diary(project) == [
        "session up",
        "folder up",
        "folder down",
        *of_module("test_after"),
        "session down",
    ]


def test_a_module_fixture_ends_before_the_trials_that_follow_it(neighbours: Project) -> None:
    """A scorer of the next suite sees what is left of the tests before it."""
    scorer = """
from dataclasses import dataclass
from typing import ClassVar
from pytest_llmeval.scoring.scorer import register, score_of

@register("witness")
@dataclass(frozen=True)
class Witness:
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer, item):
        note(f"trial {item.id}")
        return score_of(self.name, 1)
"""
    neighbours.write("conftest.py", DIARY + scorer)
    neighbours.suite("first", [neighbours.right("a"), neighbours.right("b")], score="witness")
    neighbours.run(*IN_TURN[:3]).assert_outcomes(passed=6)
    assert diary(neighbours) == [
        "session up",
        *of_module("test_before"),
        "trial a",
        "trial b",
        *of_module("test_between"),
        "session down",
    ]


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_a_stop_in_mid_suite_tears_down_what_is_open(neighbours: Project, option: str) -> None:
    items = [neighbours.right("a"), neighbours.wrong("b"), neighbours.right("c")]
    neighbours.suite("second", items, each_item="must_pass")
    result = neighbours.run(option, *IN_TURN)
    result.assert_outcomes(passed=8, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert diary(neighbours) == [
        "session up",
        *of_module("test_before"),
        *of_module("test_between"),
        "session down",
    ]


def test_a_fixture_that_fails_at_its_end_is_reported_after_a_stop(neighbours: Project) -> None:
    failing = '    yield\n    note("session down")\n'
    assert failing in DIARY
    broken = DIARY.replace(failing, failing + '    raise OSError("disk is full")\n')
    neighbours.write("conftest.py", broken)
    items = [neighbours.wrong("a"), neighbours.right("b")]
    neighbours.suite("first", items, each_item="must_pass")
    result = neighbours.run("-x", *IN_TURN)
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of*", "E * OSError: disk is full"])
    assert diary(neighbours).count("session down") == 1


def test_a_failing_test_stops_before_the_trials(neighbours: Project) -> None:
    neighbours.write("tests/test_before.py", TESTS + "def test_three(once): assert 0\n")
    result = neighbours.run("-x", *IN_TURN)
    result.assert_outcomes(passed=2, failed=1)
    assert diary(neighbours)[-3:] == ["test_three down", "test_before down", "session down"]


def test_what_a_trial_prints_is_not_shown_with_the_next_test(neighbours: Project) -> None:
    scorer = """
from dataclasses import dataclass
from typing import ClassVar
from pytest_llmeval.scoring.scorer import register, score_of

@register("murmur")
@dataclass(frozen=True)
class Murmur:
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer, item):
        print("murmur", item.id)
        return score_of(self.name, 1)
"""
    neighbours.write("conftest.py", DIARY + scorer)
    neighbours.suite("first", [neighbours.right("a"), neighbours.right("b")], score="murmur")
    neighbours.write("tests/test_between.py", 'def test_one():\n    print("own")\n    assert 0\n')
    result = neighbours.run(*IN_TURN[:3])
    result.stdout.fnmatch_lines(["*Captured stdout call*", "own"])
    result.stdout.no_fnmatch_line("murmur*")


def test_autouse_fixtures_of_the_project_leave_trials_alone(project: Project) -> None:
    """They belong to functions; a trial is none."""
    project.write(
        "conftest.py",
        "import pytest\n"
        "@pytest.fixture(autouse=True)\n"
        "def always(request): assert request.function\n",
    )
    project.suite("arithmetic", [project.right("a"), project.right("b")])
    project.write("test_own.py", "def test_own(): pass\n")
    project.run().assert_outcomes(passed=3)


def test_the_projects_report_hooks_see_trials_like_other_tests(project: Project) -> None:
    project.write(
        "conftest.py",
        "def pytest_runtest_logreport(report):\n"
        "    if report.when == 'call':\n"
        "        print('saw', report.nodeid, report.outcome, report.llm_outcome)\n",
    )
    project.suite("arithmetic", [project.right("a"), project.wrong("b")])
    result = project.run("-s")
    shown = result.stdout.str()
    assert "saw suites/arithmetic.yaml::m/plain::a passed right" in shown
    assert "saw suites/arithmetic.yaml::m/plain::b passed wrong" in shown
