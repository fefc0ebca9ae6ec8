"""Tests of nodes: names, order, collecting."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


def test_x(project: Project) -> None:
    project.suite("arithmetic", [project.right("add-0017"), project.wrong("b"), project.silent("c"), project.broken("d")])
    result = project.run("-v")
    print(project.rows("predictions"), project.manifest(), project.journal())
    assert 0
