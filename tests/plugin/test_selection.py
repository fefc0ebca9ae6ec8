"""Choosing trials: by name, expression, tag, and by what happened last time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

SUITE = "suites/arithmetic.yaml::m/plain::"


@pytest.fixture
def sums(project: Project) -> Project:
    """A project with one suite of three right items: add-1, add-2 (a carry), sub.1."""
    project.suite(
        "arithmetic",
        [
            project.right("add-1"),
            project.right("add-2", tags=["carry"]),
            project.right("sub.1", tags=["multi-step"]),
        ],
        tags=["maths"],
    )
    return project


def asked(project: Project) -> list[str]:
    """The items that the newest run asked a model."""
    return sorted(row["item_id"] for row in project.rows("predictions"))


def test_one_trial_can_be_named_on_the_command_line(sums: Project) -> None:
    sums.run(SUITE + "add-2").assert_outcomes(passed=1)
    assert asked(sums) == ["add-2"]


def test_a_condition_can_be_named_on_the_command_line(sums: Project) -> None:
    sums.run("suites/arithmetic.yaml::m/plain").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("expression", "items"),
    [
        ("add-1", ["add-1"]),
        ("m/plain and sub.1", ["sub.1"]),
        ("not add", ["sub.1"]),
        ("arithmetic.yaml and 2", ["add-2"]),
        ("carry", ["add-2"]),
    ],
)
def test_dash_k_selects_by_parts_of_names_and_tags(
    sums: Project, expression: str, items: list[str]
) -> None:
    deselected = 3 - len(items)
    sums.run("-k", expression).assert_outcomes(passed=len(items), deselected=deselected)
    assert asked(sums) == items


@pytest.mark.parametrize(
    ("expression", "items"),
    [
        ("maths and not carry", ["add-1", "sub.1"]),
        ("carry", ["add-2"]),
        ("multi-step", ["sub.1"]),
    ],
)
def test_dash_m_selects_by_tags_of_suite_and_items(
    sums: Project, expression: str, items: list[str]
) -> None:
    sums.run("--strict-markers", "-m", expression).assert_outcomes(
        passed=len(items), deselected=3 - len(items)
    )
    assert asked(sums) == items


def test_tags_are_known_as_markers_only_while_their_suite_is(sums: Project) -> None:
    """They pass --strict-markers and do not make a typing error in a test pass too."""
    sums.write("test_own.py", "import pytest\n@pytest.mark.carri\ndef test_one(): pass\n")
    result = sums.run("--strict-markers")
    result.stdout.fnmatch_lines(["*'carri' not found in `markers` configuration option*"])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("evals/*.yaml", ["a"]),
        ("evals/**/*.yaml", ["a", "b", "c"]),
        ("evals/*/?.yaml", ["b"]),
        ("evals/[!a].yaml", []),
        ("**/[bc].yaml", ["b", "c"]),
    ],
)
def test_in_the_ini_keys_globs_a_star_stops_at_a_slash(
    project: Project, pattern: str, found: list[str]
) -> None:
    text = project.suite("one", [project.right("x")]).read_text(encoding="utf-8")
    for name in ("a", "deep/b", "deep/er/c"):
        project.write(f"evals/{name}.yaml", text)
    project.write("pytest.ini", f"[pytest]\nllm_suites = {pattern}\n")
    result = project.run("--collect-only", "-q")
    names = [line.split(".yaml")[0].rpartition("/")[2] for line in result.outlines if "::" in line]
    assert names == found


PASSED_OVER = (
    "llmeval: nothing was collected from more: suites are the files that llm_suites matches "
    "(suites/**/*.yaml) and files named on the command line, as in: "
    "pytest --llm-config local.yaml more/deep/a.yaml"
)


@pytest.fixture
def more(sums: Project) -> Project:
    """The project with a suite elsewhere too."""
    text = (sums.root / SUITE.partition("::")[0]).read_text(encoding="utf-8")
    sums.write("more/deep/a.yaml", text)
    sums.write("more/deep/b.yaml", text)
    return sums


@pytest.mark.parametrize(
    "args", [["more"], ["more", "suites"], ["more", "--collect-only"], ["more", "-n", "1"]]
)
def test_a_folder_whose_files_are_no_suites_is_told(more: Project, args: list[str]) -> None:
    assert more.run(*args).outlines.count(PASSED_OVER) == 1


@pytest.mark.parametrize(
    "args",
    [[], ["suites"], ["suites", "-k", "multiplication"], ["more/deep/a.yaml"], ["more", "plain"]],
)
def test_where_there_is_nothing_to_tell_nothing_is(more: Project, args: list[str]) -> None:
    """The test in `more` is collected with that folder, whose other files may be what they like."""
    more.write("plain/notes.txt", "no suite")
    if "more" in args:
        more.write("more/test_own.py", "def test_passes(): pass")
    assert "nothing was collected" not in more.run(*args).stdout.str()


def test_configs_are_not_taken_for_suites(project: Project) -> None:
    project.write("config/other.yaml", "models: {}")
    assert "nothing was collected" not in project.run(".").stdout.str()


def test_deselect_leaves_a_trial_unasked(sums: Project) -> None:
    sums.run("--deselect", SUITE + "add-2").assert_outcomes(passed=2, deselected=1)
    assert asked(sums) == ["add-1", "sub.1"]


def test_nothing_selected_is_exit_status_5_and_no_run(sums: Project) -> None:
    assert sums.run("-k", "multiplication").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not (sums.root / "runs").exists()


@pytest.fixture
def mixed(project: Project) -> Project:
    """A project whose trials end in every way, and an ordinary test that fails."""
    project.suite("arithmetic", [project.right("a"), project.wrong("b"), project.broken("c")])
    project.suite("strict", [project.right("d"), project.wrong("e")], each_item="must_pass")
    project.write("test_own.py", "def test_fails(): assert 0\ndef test_passes(): pass\n")
    project.run().assert_outcomes(passed=3, failed=2, errors=1)
    return project


def test_lf_runs_what_failed_and_not_what_was_wrong(mixed: Project) -> None:
    result = mixed.run("--lf", "-v")
    result.assert_outcomes(failed=2, errors=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            SUITE + "c ERROR*",
            "suites/strict.yaml::m/plain::e FAILED*",
            "test_own.py::test_fails FAILED*",
        ]
    )
    assert asked(mixed) == ["c", "e"]


def test_ff_runs_what_failed_first(mixed: Project) -> None:
    result = mixed.run("--ff", "-v")
    result.assert_outcomes(passed=3, failed=2, errors=1)
    ran = [line.split()[0] for line in result.outlines if "::" in line and "%]" in line]
    assert ran[:3] == [SUITE + "c", "suites/strict.yaml::m/plain::e", "test_own.py::test_fails"]


def test_nf_runs_new_suites_first(project: Project) -> None:
    project.suite("a", [project.right("old")])
    project.run("--nf").assert_outcomes(passed=1)
    project.suite("b", [project.right("new")])
    result = project.run("--nf", "-v")
    result.stdout.fnmatch_lines(["suites/b.yaml::*PASSED*", "suites/a.yaml::*PASSED*"])


def test_sw_stops_at_a_failing_trial_and_continues_from_it(mixed: Project) -> None:
    stopped = mixed.run("--sw", "-v")
    assert stopped.ret == pytest.ExitCode.INTERRUPTED
    stopped.stdout.fnmatch_lines([SUITE + "b WRONG*", SUITE + "c ERROR*"])
    again = mixed.run("--sw", "-v")
    again.stdout.no_fnmatch_line(SUITE + "b*")
    again.stdout.fnmatch_lines([SUITE + "c ERROR*"])
