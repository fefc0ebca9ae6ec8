"""Without --llm-config the plugin is a switch that is off: it imports nothing, runs nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

MARKED = """
import pytest

@pytest.mark.llmeval(items=[{"id": "a", "answer": "yes"}], prompt="say yes", target="answer")
def test_marked(llm_item, llm_prediction):
    assert llm_item.target == llm_prediction.text
"""


def test_an_idle_plugin_imports_nothing_but_itself(project: Project) -> None:
    project.suite("arithmetic", [project.right("a")])
    project.write("test_own.py", MARKED + "\ndef test_own(): pass\n")
    project.write(
        "conftest.py",
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    print(*sorted(n for n in sys.modules if n.partition('.')[0] == 'pytest_llmeval'))\n",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "llmeval"]
    done = subprocess.run(
        command, cwd=project.root, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.splitlines()[-1] == "pytest_llmeval pytest_llmeval.plugin"


def test_suites_are_not_collected(project: Project) -> None:
    project.suite("arithmetic", [project.right("a")])
    assert project.pytest().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_suite_named_on_the_command_line_is_not_found(project: Project) -> None:
    project.suite("arithmetic", [project.right("a")])
    result = project.pytest("suites/arithmetic.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_marked_test_is_skipped_and_says_what_it_needs(project: Project) -> None:
    project.write("test_own.py", MARKED)
    result = project.pytest("-rs", "--strict-markers")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED *: llm_* needs a model: run pytest with --llm-config FILE*"]
    )


@pytest.mark.parametrize("fixture", ["llm", "llm_server", "llm_run", "llm_score"])
def test_a_test_that_needs_a_model_is_skipped_and_says_so(project: Project, fixture: str) -> None:
    project.write("test_own.py", f"def test_own({fixture}): assert 0\n")
    result = project.pytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED *: {fixture} needs a model: run pytest with *"])


def test_the_options_are_there_to_be_found(project: Project) -> None:
    result = project.pytest("--help")
    result.stdout.fnmatch_lines(["*evaluation of local language models*", "*--llm-config*"])


def test_the_marker_is_there_to_be_found(project: Project) -> None:
    project.pytest("--markers").stdout.fnmatch_lines(["@pytest.mark.llmeval(*"])


def test_ordinary_tests_run_and_no_folder_appears(project: Project) -> None:
    project.write("test_own.py", "def test_own(): pass\n")
    result = project.pytest()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*llmeval:*")
    assert not (project.root / "runs").exists()


def test_an_option_that_needs_a_config_is_not_ignored_without_one(project: Project) -> None:
    result = project.pytest("--llm-resume", "last")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--llm-resume needs --llm-config FILE, which was not given*"])
