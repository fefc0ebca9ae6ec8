"""Other packages that use our names.

Packages on PyPI have a marker `llmeval` or a fixture `llm` too. Pytest lets the plugin that was
loaded last win and says nothing, so a test may get something else than it was written for.
A `conftest.py` of the user that replaces one of our fixtures is meant, and no namesake.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

#: The fixtures that tests take.
FIXTURES = (
    *("llm", "llm_server", "llm_run", "llm_item", "llm_prediction", "llm_score"),
    "llm_faults",
)


def namesake_lines(config: pytest.Config, ours: object, marker: str) -> list[str]:
    """One line for each foreign fixture or marker that is called like one of ours.

    `ours` is the plugin that has our fixtures, `marker` the line that registers our marker.
    """
    return [*_fixtures(config, ours), *_markers(config, marker)]


def _fixtures(config: pytest.Config, ours: object) -> Iterator[str]:
    for name, plugin in config.pluginmanager.list_name_plugin():
        if plugin is None or plugin is ours or _is_conftest(plugin):
            continue
        for fixture in FIXTURES:
            if _is_fixture(inspect.getattr_static(plugin, fixture, None)):
                yield (
                    f"llmeval: the plugin {name} has a fixture {fixture} too, and a test may get "
                    f"that one; switch one of the two off with -p no:{name} or -p no:llmeval"
                )


def _markers(config: pytest.Config, ours: str) -> Iterator[str]:
    for line in config.getini("markers"):
        if line != ours and line.split(":")[0].split("(")[0].strip() == "llmeval":
            yield (
                f"llmeval: the marker llmeval is registered a second time, as {line!r}: tests "
                f"marked for the other package are taken for ours"
            )


def _is_conftest(plugin: object) -> bool:
    return Path(getattr(plugin, "__file__", None) or "").name == "conftest.py"


def _is_fixture(value: object) -> bool:
    """Pytest 8.4 made fixtures objects of a class of their own; before, functions with a mark."""
    return type(value).__name__ == "FixtureFunctionDefinition" or hasattr(
        value, "_pytestfixturefunction"
    )
