"""Workers of pytest-xdist that crash: what they were at is run again, or named."""

from __future__ import annotations

import subprocess
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped] # it has no types

from pytest_llmeval.controller import hand_out_enough

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

#: A scorer that ends its process at the item r3: as often as TIMES says, by what END says.
DEADLY = """
import os
import pathlib
import signal
from dataclasses import dataclass
from typing import ClassVar

from pytest_llmeval.scoring.scorer import register, score_of

HERE = pathlib.Path(__file__).parent

def die_sometimes(times):
    for number in range(times):
        died = HERE / f"died-{number}"
        if not died.exists():
            died.touch()
            END

@register("deadly")
@dataclass(frozen=True)
class Deadly:
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer, item):
        if item.id == "r3":
            die_sometimes(TIMES)
        return score_of("deadly", answer.text == item.target)
"""
EXIT = "os._exit(3)"
KILL = "os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))"

GATE = {"only": "m/plain", "metric": "deadly", "at_least": 0.2}
DEADLY_TEST = "suites/one.yaml::m/plain::r3"

OWN = """
import pytest
from conftest import die_sometimes

ITEMS = [{"id": f"f{n}", "question": f"say {n}"} for n in range(6)]

@pytest.mark.llmeval(items=ITEMS, prompt="{{ question }}", score="includes", target="id")
def test_marked(llm_item, llm_prediction):
    if llm_item.id == "f2":
        die_sometimes(TIMES)
"""


def deadly(project: Project, times: int, end: str = EXIT, trials: int = 20) -> None:
    """A suite of right answers, the fourth of which ends so many workers."""
    text = DEADLY.replace("TIMES", str(times)).replace("END", end)
    project.write("conftest.py", textwrap.dedent(text))
    items = [project.right(f"r{n}") for n in range(trials)]
    project.suite("one", items, score="deadly", gates=[GATE])


def asked_once(project: Project, trials: int) -> None:
    asked = [line["custom_id"] for line in project.journal()]
    assert len(asked) == len(set(asked)) == trials
    assert len(project.rows("predictions")) == trials
    assert len([path for path in (project.root / "runs").iterdir() if path.is_dir()]) == 1


def scores(project: Project) -> dict[str, tuple[str, str]]:
    rows = project.rows("per_item_scores")
    found = {row["item_id"]: (row["outcome"], row["reason"]) for row in rows}
    assert len({(row["item_id"], row["scorer"]) for row in rows}) == len(rows)
    return found


def test_one_that_dies_in_an_ordinary_test_takes_no_trial_with_it(project: Project) -> None:
    project.suite("one", [project.right(f"r{n}") for n in range(20)])
    project.write("test_own.py", "import os\n\ndef test_own():\n    os._exit(3)\n")
    result = project.run("-n2")
    result.assert_outcomes(passed=20, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running 'test_own.py::test_own'"])
    asked_once(project, 20)
    assert [row["outcome"] for row in project.rows("predictions")] == ["right"] * 20


@pytest.mark.parametrize("end", [EXIT, KILL], ids=["exit", "kill"])
@pytest.mark.parametrize("dist", ["load", "loadscope", "worksteal"])
def test_a_trial_whose_worker_crashed_is_run_again(project: Project, dist: str, end: str) -> None:
    deadly(project, 1, end)
    result = project.run("-n2", f"--dist={dist}", "--junitxml=junit.xml")
    assert result.ret == 0
    tests = ElementTree.parse(project.root / "junit.xml").getroot().iter("testcase")
    assert len({test.attrib["name"] for test in tests}) == 21
    result.stdout.fnmatch_lines(
        [
            f"llmeval: worker gw* crashed while running {DEADLY_TEST}",
            f"warning: worker gw? crashed while running {DEADLY_TEST}",
            "*= 21 passed, 1 crashed in *",
        ]
    )
    asked_once(project, 20)
    assert scores(project) == dict.fromkeys((f"r{n}" for n in range(20)), ("right", ""))
    assert project.manifest()["exit_reason"] == "finished"


def test_a_test_in_a_group_of_its_own_is_run_again_though_all_others_are_through(
    project: Project,
) -> None:
    """What its worker had done already is handed out with it, and holds nothing up."""
    deadly(project, 1)
    items = [project.right(f"r{n}") for n in (*range(3), *range(4, 9), 3)]
    project.suite("one", items, score="deadly")
    process = project.spawn("-n2", "--dist=loadgroup")
    output = all_it_says(process)
    assert "= 9 passed, 1 crashed in " in output
    asked_once(project, 9)


class Node:
    """A worker as xdist's schedulers see it: which tests it was given."""

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="gw")
        self.given: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_no_group_is_lost_where_a_worker_crashes_while_another_one_collects(
    pytester: pytest.Pytester,
) -> None:
    scheduler = LoadGroupScheduling(pytester.parseconfig("--tx=2*popen"))
    hand_out_enough(scheduler)
    tests = [f"suites/one.yaml::m/plain::r{n}" for n in range(8)]
    first, second, late = Node(), Node(), Node()
    nodes: list[Any] = [first, second, late]
    for node in nodes[:2]:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    scheduler.add_node(nodes[2])
    assert scheduler.remove_node(nodes[0]) == tests[first.given[0]]
    assert not late.given
    scheduler.add_node_collection(nodes[2], tests)
    scheduler.schedule()
    assert len(late.given) >= 2
    waiting = {test for unit in scheduler.workqueue.values() for test in unit}
    assert waiting | {tests[n] for n in second.given + late.given} == set(tests)


def all_it_says(process: subprocess.Popen[str]) -> str:
    """The output of a session that once waited for ever: then it is ended, and the test fails."""
    try:
        return process.communicate(timeout=120)[0]
    finally:
        process.kill()


def test_workers_that_have_all_answers_hear_that_a_test_is_withdrawn(project: Project) -> None:
    deadly(project, 99, trials=40)
    path = project.root / "conftest.py"
    slow = path.read_text(encoding="utf-8").replace(
        "        return score_of", "        time.sleep(0.02)\n        return score_of"
    )
    project.write("conftest.py", f"import time\n{slow}")
    result = project.run("-n5")
    result.stdout.fnmatch_lines(["the test ended the workers gw?, gw? and is not run again"])
    result.stdout.fnmatch_lines(["*= 40 passed, 1 error, 2 crashed in *"])


@pytest.mark.parametrize("dist", ["load", "loadscope"])
def test_a_trial_that_always_crashes_its_worker_is_an_error_that_names_them(
    project: Project, dist: str
) -> None:
    """Nor does its scorer take the process with it that owns the run."""
    deadly(project, 99)
    result = project.run("-n2", f"--dist={dist}", "-rE")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"llmeval: worker gw* crashed while running {DEADLY_TEST}, as others before:*",
            "the test ended the workers gw?, gw? and is not run again",
            "* of 20 trials 1 failed (crashed 1).*",
            "PASS * one m/plain at least 0.2*",
            f"ERROR {DEADLY_TEST}*",
            "*= 20 passed, 1 error, 2 crashed in *",
        ]
    )
    asked_once(project, 20)
    found = scores(project)
    assert found.pop("r3") == ("failure", "crashed")
    assert found == dict.fromkeys(found, ("right", ""))
    assert len(found) == 19


@pytest.mark.parametrize("workers", ["-n1", "-n2"])
def test_where_no_worker_takes_its_place_it_is_named_and_gates_are_inconclusive(
    project: Project, workers: str
) -> None:
    deadly(project, 99)
    result = project.run(workers, "--max-worker-restart=0", "-rfs")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"_* {DEADLY_TEST} _*",
            "worker gw* crashed while running it; it was not run again",
            "INCONCLUSIVE * one m/plain the run stopped: workers crashed, and pytest-xdist",
            " * gave up: * not run",
            f"llmeval: continue with --llm-resume {project.latest_run().name}*",
            f"FAILED {DEADLY_TEST} - *",
        ]
    )
    result.assert_outcomes(failed=1, skipped=1, passed=result.parseoutcomes().get("passed", 0))
    assert scores(project)["r3"] == ("failure", "crashed")
    (project.root / "conftest.py").write_text(DEADLY.replace("TIMES", "0").replace("END", "pass"))
    project.run("-n2", "--llm-resume", "last").assert_outcomes(passed=21)
    assert scores(project) == dict.fromkeys((f"r{n}" for n in range(20)), ("right", ""))


def test_several_crashes_lose_and_double_nothing(project: Project) -> None:
    deadly(project, 2)
    project.write("test_own.py", "import os\n\ndef test_own():\n    os._exit(3)\n")
    project.write("test_marked.py", OWN.replace("TIMES", "3"))
    result = project.run("-n2")
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running 'test_own.py::test_own'"])
    assert str(result.stdout).count("llmeval: worker gw") == 3
    asked_once(project, 26)
    assert scores(project).keys() == {f"r{n}" for n in range(20)} | {f"f{n}" for n in range(6)}


class TestMarkedFunctions:
    def test_one_that_crashes_its_worker_is_run_again(self, project: Project) -> None:
        deadly(project, 0)
        project.write("test_marked.py", OWN.replace("TIMES", "1"))
        result = project.run("-n2", "test_marked.py")
        result.stdout.fnmatch_lines(["*= 6 passed, 1 crashed in *"])
        assert result.ret == 0
        asked_once(project, 6)

    def test_one_that_always_does_is_an_error_and_its_trial_a_failure(
        self, project: Project
    ) -> None:
        deadly(project, 0)
        project.write("test_marked.py", OWN.replace("TIMES", "99"))
        result = project.run("-n2", "test_marked.py", "-rE")
        result.stdout.fnmatch_lines(
            [
                "the test ended the workers gw?, gw? and is not run again",
                "ERROR test_marked.py::test_marked[[]m-f2] - EndedWorkers: the test ended*",
                "*= 5 passed, 1 error, 2 crashed in *",
            ]
        )
        asked_once(project, 6)
        rows = [row for row in project.rows("per_item_scores") if row["item_id"] == "f2"]
        assert {row["scorer"] for row in rows} == {"includes", "passed"}
        assert {(row["outcome"], row["reason"]) for row in rows} == {("failure", "crashed")}

    def test_the_worker_that_told_of_them_may_crash(self, project: Project) -> None:
        """The first to collect hands over the trials, and a test of its own ends it."""
        project.write(
            "conftest.py",
            "import os\nimport pathlib\n\n"
            "def pytest_collection_finish(session):\n"
            "    try:\n"
            "        pathlib.Path(__file__).with_name('first').touch(exist_ok=False)\n"
            "    except FileExistsError:\n"
            "        return\n"
            "    os._exit(3)\n",
        )
        project.write("test_marked.py", OWN.replace("from conftest import die_sometimes", ""))
        text = (project.root / "test_marked.py").read_text(encoding="utf-8")
        project.write("test_marked.py", text.partition("    if llm_item")[0] + "    pass\n")
        result = project.run("-n2")
        result.assert_outcomes(passed=6)
        assert result.ret == 0
        asked_once(project, 6)


class TestBeforeTheFirstTest:
    def test_workers_that_die_while_collecting_end_the_run_in_words(self, project: Project) -> None:
        project.suite("one", [project.right("a")])
        project.write(
            "test_own.py",
            "import os\nif 'PYTEST_XDIST_WORKER' in os.environ:\n    os._exit(3)\n",
        )
        result = project.run("-n2")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                "ERROR: workers gw?, gw? died while collecting: Not properly terminated",
                "llmeval: no test was run; -n0 collects in this process and shows where it dies",
            ]
        )
        assert str(result.stdout).count("replacing crashed worker") < 2

    def test_one_that_dies_once_while_collecting_is_replaced(self, project: Project) -> None:
        project.suite("one", [project.right(f"r{n}") for n in range(6)])
        project.write(
            "test_own.py",
            "import os\nimport pathlib\n\n"
            "if 'PYTEST_XDIST_WORKER' in os.environ:\n"
            "    try:\n"
            "        pathlib.Path(__file__).with_name('died').touch(exist_ok=False)\n"
            "    except FileExistsError:\n"
            "        pass\n"
            "    else:\n"
            "        os._exit(3)\n",
        )
        result = project.run("-n2")
        result.assert_outcomes(passed=6)
        assert result.ret == 0
        asked_once(project, 6)


def test_maxfail_waits_for_no_answer_that_is_still_under_way(project: Project) -> None:
    project.script(
        [
            {"when": "late", "text": "never", "latency": 100_000},
            {"when": "^say ?(.*)", "text": r"\1"},
        ]
    )
    late = [{"id": f"z{n}", "question": "late", "answer": "x"} for n in range(6)]
    project.suite("one", [project.wrong("a"), *late], score="exact", each_item="must_pass")
    result = project.run("-n2", "--maxfail=1")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert project.manifest()["exit_reason"] is not None
