"""Other packages that use our fixture and marker names are noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

FOREIGN = "import pytest\n\n@pytest.fixture\ndef llm():\n    return 'another one'\n"


def test_a_plugin_with_a_fixture_of_our_name_is_named(project: Project) -> None:
    project.write("foreign_plugin.py", FOREIGN)
    project.pytester.syspathinsert()
    result = project.run(plugins=["foreign_plugin"])
    said = "llmeval: the plugin foreign_plugin has a fixture llm too, and a test may get that one; "
    way_out = "switch one of the two off with -p no:foreign_plugin or -p no:llmeval"
    result.stdout.fnmatch_lines([said + way_out])


def test_a_plugin_with_anything_else_of_our_names_is_not(project: Project) -> None:
    project.write("foreign_plugin.py", "llm = 'no fixture'\n\ndef llm_run():\n    pass\n")
    project.pytester.syspathinsert()
    assert "foreign_plugin has" not in str(project.run(plugins=["foreign_plugin"]).stdout)


def test_a_conftest_that_replaces_a_fixture_is_meant(project: Project) -> None:
    project.write("conftest.py", FOREIGN)
    project.write("test_own.py", "def test_own(llm):\n    assert llm == 'another one'\n")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "has a fixture llm too" not in str(result.stdout)


def test_a_second_registration_of_the_marker_is_shown(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\nmarkers =\n    llmeval(path): of another package\n")
    project.run().stdout.fnmatch_lines(
        ["llmeval: the marker llmeval is registered a second time, as 'llmeval(path): of another*"]
    )
