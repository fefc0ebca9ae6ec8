"""Scorers that are not ours: from a conftest, from an installed package, and from a broken one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmeval.commands.show import Wanted, find
from pytest_llmeval.scoring import overlap
from pytest_llmeval.scoring import scorer as registry
from pytest_llmeval.scoring.scorer import BUILT_IN

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


@pytest.fixture(autouse=True)
def _only_built_in_scorers_stay_registered() -> Iterator[None]:
    yield
    for name in registry._registered.keys() - BUILT_IN.keys():
        del registry._registered[name]


SCORER = """
from dataclasses import dataclass
from typing import ClassVar

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.scorer import register, score_of

{register}
@dataclass(frozen=True, slots=True)
class Theirs:
    name: ClassVar[str]
    version: ClassVar[str] = "7"
    time_limit: float | None = 60
    wanted: str = "yes"

    def __call__(self, answer: Answer, item: Item) -> Score:
        {body}
"""


def conftest(project: Project, body: str) -> None:
    text = SCORER.format(register='@register("theirs")', body=body)
    project.write("conftest.py", text)


def install(project: Project, name: str) -> None:
    """A package with a scorer, the way pip leaves one: its code and its metadata on a path."""
    text = SCORER.format(register="", body="return score_of(self.name, answer.text == self.wanted)")
    project.write(f"site/{name}/__init__.py", text)
    folder = f"site/{name}-1.0.dist-info"
    project.write(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = f"[pytest_llmeval.scorers]\n{name}_yes = {name}:Theirs\n"
    project.write(f"{folder}/entry_points.txt", points)
    project.pytester.syspathinsert(project.root / "site")


def words_of(result: pytest.RunResult) -> str:
    return re.sub(r"\s+", " ", f"{result.stdout}\n{result.stderr}")


def test_an_installed_package_brings_a_scorer_by_its_entry_point(project: Project) -> None:
    install(project, "yessers")
    items = [project.right("a"), project.wrong("b")]
    project.suite("polite", items, score={"yessers_yes": {"wanted": "no"}})
    project.run().assert_outcomes(passed=1)
    assert [row["outcome"] for row in project.rows("per_item_scores")] == ["wrong", "right"]
    assert {row["scorer"] for row in project.rows("per_item_scores")} == {"yessers_yes"}
    (suite,) = project.manifest()["plan"]["suites"]
    assert [(each["name"], each["version"]) for each in suite["scorers"]] == [("yessers_yes", "7")]


def test_a_name_like_that_of_an_installed_scorer_is_told(project: Project) -> None:
    install(project, "noers")
    project.suite("polite", [project.right("a")], score="noers_yess")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no scorer is called 'noers_yess'. Did you mean noers_yes?" in words_of(result)


def test_a_scorer_that_runs_for_ever_costs_its_scores_and_the_run_goes_on(
    project: Project,
) -> None:
    conftest(project, "while answer.text == 'no': pass\n        return score_of(self.name, 1)")
    items = [project.right("a"), project.wrong("b"), project.right("c")]
    project.suite("polite", items, score={"theirs": {"time_limit": 0.2}})
    result = project.run()
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = [(row["outcome"], row["reason"]) for row in project.rows("per_item_scores")]
    assert outcomes == [("right", ""), ("failure", "scorer"), ("right", "")]
    assert "scorer theirs took longer than its time_limit of 0.2 s" in words_of(result)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return score_of(self.name, float('nan'))", "between 0 and 1, theirs gave nan"),
        ("return 1 // 0", "ZeroDivisionError"),
        ("return None", "a scorer gives a Score, got None"),
    ],
)
def test_what_a_scorer_raises_is_told_and_the_run_goes_on(
    project: Project, body: str, words: str
) -> None:
    conftest(project, body)
    project.suite("polite", [project.right("a")], score=["exact", "theirs"])
    result = project.run()
    outcomes = [(row["scorer"], row["outcome"]) for row in project.rows("per_item_scores")]
    assert outcomes == [("exact", "right"), ("theirs", "failure")]
    assert any(words in row["stages"] for row in project.rows("per_item_scores"))
    assert "Traceback" not in words_of(result)


def test_llmeval_show_says_why_a_scorer_failed(project: Project) -> None:
    conftest(project, "return 1 // 0")
    project.suite("polite", [project.right("a")], score="theirs")
    project.run()
    found = find(project.latest_run(), Wanted(frozenset({"failed"})))
    assert "ZeroDivisionError" in found.trials[0].error


def test_a_run_leaves_no_process_of_a_scorer(project: Project) -> None:
    item = {"id": "a", "question": r"say $\\frac{2}{4}$", "answer": "0.5"}
    project.suite("sums", [item], score={"math": {"time_limit": 120}})
    others = psutil.Process().children(recursive=True)  # fixtures of other tests
    project.run().assert_outcomes(passed=1)
    assert [row["outcome"] for row in project.rows("per_item_scores")] == ["right"]
    assert not set(psutil.Process().children(recursive=True)) - set(others)


def test_a_scorer_whose_package_is_missing_is_told_before_anything_is_sent(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    overlap._rouge.cache_clear()
    project.suite("texts", [project.right("a")], score="rouge")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    words = words_of(result)
    assert "scorer rouge needs the package rouge-score, which is not installed" in words
    assert 'pip install "pytest-llmeval-local[metrics]"' in words
    assert "llmeval: nothing was sent" in words
    assert not (project.root / "runs").exists()


TELLS = """
import os, warnings

def test_that_tells_too_much(llm_run, record_property):
    record_property("key", os.environ["JUDGE_API_KEY"])
    warnings.warn("refused: " + os.environ["JUDGE_API_KEY"])
"""


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('no judge: ' + __import__('os').environ['JUDGE_API_KEY'])",
        "return Score('theirs', 'wrong', 0.0, __import__('os').environ['JUDGE_API_KEY'])",
    ],
)
def test_a_key_in_the_words_of_a_scorer_or_of_a_test_is_in_nothing_that_a_run_leaves(
    project: Project, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "open sesame 123")
    conftest(project, body)
    project.suite("s", [project.wrong("a")], score="theirs")
    project.write("test_own.py", TELLS)
    shown = project.run("-rA", "-vv", "--junitxml=junit.xml", "suites", "test_own.py").stdout.str()
    run = project.latest_run()
    left = {
        path.name: path.read_text(encoding="utf-8")
        for path in (*run.rglob("*"), project.root / "junit.xml")
        if path.is_file()
    }
    assert not [name for name, text in left.items() if "open sesame" in text]
    assert "open sesame" not in shown
    assert "[redacted]" in left["per_item_scores.csv"]
    assert left["junit.xml"].count("[redacted]") >= 2
    assert "UserWarning: refused: [redacted]" in shown
