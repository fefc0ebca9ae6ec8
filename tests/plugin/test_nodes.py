"""Suites as pytest nodes: what they are called, in what order they come, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


def names(project: Project, *args: str) -> list[str]:
    """The node ids that a session collects."""
    result = project.run("--collect-only", "-q", *args)
    return [line for line in result.outlines if "::" in line]


def test_a_trial_is_named_by_suite_condition_and_item(project: Project) -> None:
    project.suite("arithmetic", [project.right("add-0017")])
    assert names(project) == ["suites/arithmetic.yaml::m/plain::add-0017"]


def test_a_second_repeat_is_named_point_two(project: Project) -> None:
    project.suite("arithmetic", [project.right("add-0017")], repeats=2)
    assert names(project) == [
        "suites/arithmetic.yaml::m/plain::add-0017",
        "suites/arithmetic.yaml::m/plain::add-0017.2",
    ]


def test_verbose_lines_show_node_ids_as_they_can_be_selected(project: Project) -> None:
    """Also those with a point, in which pytest would see a class and its method."""
    project.suite("arithmetic", [project.right("add-1")], repeats=2)
    result = project.run("-v", "suites/arithmetic.yaml::m/plain::add-1.2")
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml::m/plain::add-1.2 PASSED *"])


def test_an_id_with_odd_characters_becomes_a_name_that_every_shell_takes(project: Project) -> None:
    project.suite("arithmetic", [project.right("is [1::2] = 3?")])
    (name,) = names(project)
    item = name.removeprefix("suites/arithmetic.yaml::m/plain::")
    assert not set(item) & set("[]:=? ")
    result = project.run("-v", name)
    result.assert_outcomes(passed=1)


def test_a_condition_without_named_parts_is_the_model(project: Project) -> None:
    item = json.dumps(project.right("a"))
    text = f"items: [{item}]\ntarget: answer\nprompt: '{{{{ question }}}}'\nscore: exact\n"
    project.suite("arithmetic", text=text)
    assert names(project) == ["suites/arithmetic.yaml::m::a"]


def test_named_samplings_and_prompts_are_conditions(project: Project) -> None:
    project.config(sampling={"greedy": {"max_tokens": 8}, "warm": {"max_tokens": 8}})
    prompts = {"plain": "{{ question }}", "terse": "{{ question }}"}
    project.suite("arithmetic", [project.right("a")], prompts=prompts)
    assert names(project) == [
        f"suites/arithmetic.yaml::m/{sampling}/{prompt}::a"
        for sampling in ("greedy", "warm")
        for prompt in ("plain", "terse")
    ]


def test_trials_come_by_model_though_suites_are_collected_one_by_one(project: Project) -> None:
    fake = {"engine": "fake", "script": "script.json"}
    project.config(models={"z": fake, "b": fake})
    project.suite("one", [project.right("a")])
    project.suite("two", [project.right("a")])
    assert names(project) == [
        "suites/one.yaml::z/plain::a",
        "suites/two.yaml::z/plain::a",
        "suites/one.yaml::b/plain::a",
        "suites/two.yaml::b/plain::a",
    ]


def test_a_gate_is_a_node_of_its_suite(project: Project) -> None:
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.5}
    project.suite("arithmetic", [project.right("a")], gates=[gate])
    assert names(project)[-1] == "suites/arithmetic.yaml::gates::m/plain.at_least"


def test_collecting_sends_nothing_and_leaves_no_folder(project: Project) -> None:
    project.suite("arithmetic", [project.right("a")])
    result = project.run("--collect-only")
    result.stdout.fnmatch_lines(["*<SuiteFile arithmetic.yaml>", "*<ConditionNode m/plain>"])
    assert not (project.root / "runs").exists()


def test_an_item_that_looks_like_anothers_repeat_is_refused(project: Project) -> None:
    """To pytest, two tests of one name are one test."""
    project.suite("arithmetic", [project.right("a"), project.right("a.2")], repeats=2)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*arithmetic.yaml:*: the ids 'a' and 'a.2' clash: *"])
    assert not (project.root / "runs").exists()


def test_files_are_suites_where_the_ini_key_says_so(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\nllm_suites = evals/*.suite.yaml\n")
    written = project.suite("arithmetic", [project.right("a")])
    project.write("evals/sums.suite.yaml", written.read_text(encoding="utf-8"))
    project.write("evals/notes.yaml", "just: notes")
    assert names(project) == ["evals/sums.suite.yaml::m/plain::a"]


def test_a_suite_elsewhere_is_collected_when_it_is_named(project: Project) -> None:
    written = project.suite("arithmetic", [project.right("a")])
    other = project.write("drafts/new.yaml", written.read_text(encoding="utf-8"))
    assert names(project, "drafts/new.yaml") == ["drafts/new.yaml::m/plain::a"]
    assert other.is_file()


def test_a_suite_in_a_subfolder_is_collected(project: Project) -> None:
    project.suite("maths/arithmetic", [project.right("a")])
    assert names(project) == ["suites/maths/arithmetic.yaml::m/plain::a"]
