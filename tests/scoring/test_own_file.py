"""Scorers of one's own are loaded from a file when no pytest reads the conftest.py they live in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.records import Answer, Item, ScorerSpec
from pytest_llmeval.scoring import scorer
from pytest_llmeval.scoring.own_file import load_scorers

SHOUTS = """
from dataclasses import dataclass
from typing import ClassVar

from pytest_llmeval.scoring.scorer import register, score_of
from signs_of_shouting import SIGN


@register("shouts")
@dataclass(frozen=True, slots=True)
class Shouts:
    name: ClassVar[str]
    version: ClassVar[str] = "3"
    wanted: int = 1

    def __call__(self, answer, item):
        return score_of(self.name, min(1.0, answer.text.count(SIGN) / self.wanted))
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a file registers, and where it looks for modules, is forgotten after the test."""
    monkeypatch.setattr(scorer, "_registered", dict(scorer._registered))
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def test_a_file_registers_its_scorers_and_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "signs_of_shouting.py", "SIGN = '!'\n")
    load_scorers(write(tmp_path / "conftest.py", SHOUTS))
    made = scorer.make_scorer(ScorerSpec("shouts", {"wanted": 2}))
    assert made(Answer("Hey!", "stop"), Item("a", "a", {}, None)).value == 0.5
    assert made.version == "3"


def test_a_file_that_raises_is_named_with_what_it_raised(tmp_path: Path) -> None:
    path = write(tmp_path / "conftest.py", "import not_installed_here\n")
    with pytest.raises(ScorerError) as error:
        load_scorers(path)
    assert str(error.value) == (
        f"{path}: cannot be run: ModuleNotFoundError: No module named 'not_installed_here'"
    )
    assert not [name for name in sys.modules if name.startswith("llmeval_scorers")]


def test_a_mistake_in_the_syntax_is_told_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match="cannot be run: SyntaxError"):
        load_scorers(write(tmp_path / "own.py", "def f(:\n"))


def test_what_is_no_python_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match="no such file; --scorers takes the file that registers"):
        load_scorers(tmp_path / "conftest.py")
    with pytest.raises(ScorerError, match="no such file"):
        load_scorers(tmp_path)
    with pytest.raises(ScorerError, match=r"no Python file \(\.py\)"):
        load_scorers(write(tmp_path / "suite.yaml", ""))
