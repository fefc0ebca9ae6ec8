"""Gates: what must hold at the end of a run, shown as tests of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Item, Project

GATE = "suites/arithmetic.yaml::gates::m/plain.at_least"


def gate(at_least: float, only: str = "m/plain") -> dict[str, Any]:
    return {"only": only, "metric": "exact", "at_least": at_least}


def gated(
    project: Project, at_least: float, *, right: int = 0, wrong: int = 0, **more: Any
) -> None:
    """A suite with so many right and wrong answers and a gate on them."""
    items: list[Item] = [project.right(f"r{n}") for n in range(right)]
    items += [project.wrong(f"w{n}") for n in range(wrong)]
    items += more.pop("items", [])
    project.suite(items=items, gates=[gate(at_least)], **more)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
class TestVerdicts:
    """The same with xdist: the controller reports a gate, once."""

    def test_a_gate_that_holds_is_a_test_that_passed(self, project: Project, workers: str) -> None:
        gated(project, 0.5, right=20)
        result = project.run("-v", workers)
        assert result.ret == 0
        result.assert_outcomes(passed=21)
        assert str(result.stdout).count(GATE) == 1
        result.stdout.fnmatch_lines(
            [f"{GATE} PASSED*", "PASS * arithmetic m/plain at least 0.5: lower bound 0.83?"]
        )

    def test_a_gate_that_does_not_hold_is_a_failure_with_its_numbers(
        self, project: Project, workers: str
    ) -> None:
        gated(project, 0.9, wrong=20)
        result = project.run("-rf", workers, "--junitxml=junit.xml")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert result.parseoutcomes() == {"failed": 1, "wrong": 20}
        result.stdout.fnmatch_lines(
            [
                "*= FAILURES =*",
                "gate fail: m/plain at least 0.9: upper bound *, mean 0.000",
                "FAIL * arithmetic m/plain at least 0.9: upper bound *",
                f"FAILED {GATE}*",
            ]
        )
        cases = ElementTree.parse(project.root / "junit.xml").iter("testcase")
        failures = [failure for case in cases for failure in case.iter("failure")]
        assert ["m/plain at least 0.9" in str(failure.text) for failure in failures] == [True]

    def test_a_gate_that_nothing_can_decide_yet_is_skipped_with_its_reason(
        self, project: Project, workers: str
    ) -> None:
        gated(project, 0.5, right=3, wrong=3)
        result = project.run("-rs", workers)
        assert result.ret == 0
        assert result.parseoutcomes() == {"passed": 3, "wrong": 3, "skipped": 1}
        said = "SKIPPED*arithmetic.yaml*gate inconclusive: m/plain at least 0.5: 0.500 *"
        result.stdout.fnmatch_lines([f"{said}6 items leave it open*"])


class TestInconclusive:
    def test_a_limit_leaves_too_few_items_to_decide(self, project: Project) -> None:
        gated(project, 0.8, right=30)
        assert project.run().parseoutcomes() == {"passed": 31}
        assert project.run("--llm-limit", "5").parseoutcomes() == {"passed": 5, "skipped": 1}

    def test_failures_that_could_flip_it_leave_it_open(self, project: Project) -> None:
        broken = [project.broken(f"b{n}") for n in range(10)]
        gated(project, 0.8, right=30, items=broken)
        result = project.run("-rs")
        assert result.parseoutcomes() == {"passed": 30, "skipped": 1, "errors": 10}
        result.stdout.fnmatch_lines(["SKIPPED*10 trials of 40 without an outcome*would undo the*"])

    def test_failures_that_could_not_flip_it_leave_the_verdict(self, project: Project) -> None:
        gated(project, 0.3, right=30, items=[project.broken("b")])
        assert project.run().parseoutcomes() == {"passed": 31, "errors": 1}

    def test_a_run_that_stopped_early_decides_nothing(self, project: Project) -> None:
        gated(project, 0.1, right=20, items=[project.broken("z"), project.right("zz")])
        result = project.run("-x", "-rs")
        assert result.ret != 0
        assert result.parseoutcomes()["skipped"] == 1
        result.stdout.fnmatch_lines(["SKIPPED*the run stopped: *"])

    def test_a_run_that_stopped_early_decides_nothing_under_xdist(self, project: Project) -> None:
        gated(project, 0.1, right=20, items=[project.broken("z"), project.right("zz")])
        result = project.run("-x", "-rs", "-n2")
        assert result.ret != 0
        assert result.parseoutcomes()["skipped"] == 1

    def test_trials_that_were_picked_by_hand_decide_nothing(self, project: Project) -> None:
        gated(project, 0.5, right=20)
        result = project.run("-rs", "-k", "at_least or r1")
        assert result.parseoutcomes() == {"passed": 11, "skipped": 1, "deselected": 9}
        result.stdout.fnmatch_lines(["SKIPPED*only 11 of its 20 trials were selected*"])


class TestSelection:
    def test_a_gate_can_be_left_out(self, project: Project) -> None:
        gated(project, 0.9, wrong=20)
        assert project.run("--deselect", GATE).ret == 0
        assert project.run("-k", "not at_least").ret == 0

    def test_a_gate_alone_measures_nothing(self, project: Project) -> None:
        gated(project, 0.9, wrong=20)
        result = project.run("-rs", GATE)
        assert result.ret == 0
        assert result.parseoutcomes() == {"skipped": 1}
        result.stdout.fnmatch_lines(["SKIPPED*none of its trials was selected*"])
        assert not (project.root / "runs").exists()

    def test_collecting_only_shows_gates_as_nodes(self, project: Project) -> None:
        gated(project, 0.9, wrong=1)
        result = project.run("--collect-only", "-q")
        result.stdout.fnmatch_lines(["suites/arithmetic.yaml::m/plain::w0", GATE])
        assert result.ret == 0

    def test_a_gate_that_failed_is_run_again_by_lf(self, project: Project) -> None:
        gated(project, 0.9, wrong=20)
        project.run()
        result = project.run("--lf", "--collect-only", "-q")
        assert [line for line in result.outlines if "::" in line] == [GATE]

    def test_showing_fixtures_only_sends_nothing_and_decides_nothing(
        self, project: Project
    ) -> None:
        gated(project, 0.9, wrong=2)
        project.run("--setup-only")
        assert not (project.root / "runs").exists()


class TestFixturesOfNeighbours:
    def test_a_gate_between_modules_leaves_their_fixtures_in_order(self, project: Project) -> None:
        gated(project, 0.1, right=20)
        body = """
import pathlib
import pytest

@pytest.fixture(scope="module", autouse=True)
def around():
    with pathlib.Path("order.txt").open("a") as file:
        file.write(f"{__name__} begins\\n")
    yield
    with pathlib.Path("order.txt").open("a") as file:
        file.write(f"{__name__} ends\\n")

def test_own():
    pass
"""
        project.write("test_a.py", body)
        project.write("test_z.py", body)
        project.run("test_a.py", "suites", "test_z.py").assert_outcomes(passed=23)
        lines = (project.root / "order.txt").read_text().splitlines()
        assert lines == ["test_a begins", "test_a ends", "test_z begins", "test_z ends"]


def test_the_reports_tell_every_gate(project: Project) -> None:
    gated(project, 0.1, right=20)
    project.run()
    report = (project.latest_run() / "reports" / "report.md").read_text(encoding="utf-8")
    assert "at least 0.1" in report
