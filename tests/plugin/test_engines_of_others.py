"""Engines that are not ours: from an installed package, named in a config like any other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.engines import engine as registry

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

ENGINE = """
from pytest_llmeval.engines.engine import EndpointFacts, Refusing
from pytest_llmeval.records import Answer


class Theirs(Refusing):
    kind = "theirs"

    def __init__(self, endpoint):
        self.endpoint = endpoint

    @staticmethod
    def refuse(request):
        from pytest_llmeval.errors import Unsupported

        if request.grammar is not None:
            raise Unsupported("The engine theirs knows no grammar.")

    async def describe(self):
        return EndpointFacts(slots=1, build="7")

    async def complete(self, request):
        return Answer(self.endpoint.settings["says"], "stop")

    async def close(self):
        pass
"""

MODELS = {"m": {"engine": "theirs", "options": {"says": "yes"}}}


@pytest.fixture(autouse=True)
def _only_known_engines_stay_registered() -> Iterator[None]:
    before = set(registry._registered)
    yield
    for name in registry._registered.keys() - before:
        del registry._registered[name]


@pytest.fixture
def installed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with an engine, the way pip leaves one: its code and its metadata on a path."""
    project.write("site/their_engine/__init__.py", ENGINE)
    folder = "site/their_engine-1.0.dist-info"
    project.write(f"{folder}/METADATA", "Metadata-Version: 2.1\nName: their_engine\nVersion: 1.0\n")
    points = "[pytest_llmeval.engines]\ntheirs = their_engine:Theirs\n"
    project.write(f"{folder}/entry_points.txt", points)
    site = str(project.root / "site")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("their_engine", None)


@pytest.mark.usefixtures("installed")
def test_an_installed_engine_answers_with_the_options_that_the_config_gives_it(
    project: Project,
) -> None:
    project.config(models=MODELS)
    project.suite(items=[project.right("one")])
    result = project.run()
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    assert "m: theirs, an engine of another package" in result.stdout.str()


@pytest.mark.usefixtures("installed")
def test_what_it_refuses_is_told_before_anything_is_asked(project: Project) -> None:
    project.config(models=MODELS)
    project.suite(items=[project.right("one")], grammar='root ::= "yes"')
    result = project.run()
    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert "m/plain in suite arithmetic: The engine theirs knows no grammar." in told


@pytest.mark.usefixtures("installed")
def test_a_misspelt_engine_is_told_with_it(project: Project) -> None:
    project.config(models={"m": {"engine": "thiers"}})
    project.suite(items=[project.right("one")])
    result = project.run()
    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert "unknown engine 'thiers'; did you mean 'theirs'?" in told
