"""What README.md lists is all there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_llmeval.inputs.engine_keys import ENGINES
from pytest_llmeval.scoring.scorer import BUILT_IN

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The first cells of the tables under a heading."""
    text = README.split(f"\n{heading}\n", 1)[1].split("\n## ")[0]
    return re.findall(r"(?m)^\| `([^`]+)` \|", text)


def test_the_table_of_options_is_what_pytest_help_says(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    said = pytester.runpytest_subprocess("-p", "pytest_llmeval.plugin", "--help").stdout.str()
    ours = re.findall(r"(?m)^\s+(--llm-[a-z-]+)(?:=(\S+))?", said)
    told = sorted(first_cells("## Options"))
    assert told == sorted(" ".join(filter(None, option)) for option in ours)


def test_the_table_of_engines_names_every_engine() -> None:
    assert set(first_cells("## Your own model")) == set(ENGINES)


def test_the_suite_names_every_scorer() -> None:
    lines = re.search(r"(?m)^score: .*\n(?: +#.*\n)*", README)
    assert lines
    assert set(re.findall(r"\w+", lines[0])) - {"score", "or"} == set(BUILT_IN)
