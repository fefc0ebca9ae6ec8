"""`llm_snapshot`: a user's test fails when scores became worse, and not when they flicker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.records import Score
from pytest_llmeval.snapshots import LlmevalSnapshotExtension, scores_by_item

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

TEST = """
import json
import pathlib

def test_quality(llm_snapshot):
    scores = json.loads(pathlib.Path("scores.json").read_text(encoding="utf-8"))
    assert scores == llm_snapshot
"""


class Quality:
    """A user's project with one test over the scores in `scores.json`."""

    def __init__(self, project: Project):
        self.project = project
        project.write("test_own.py", TEST)

    def run(self, scores: Mapping[str, Any], *args: str) -> pytest.RunResult:
        """Run the test on these scores."""
        self.project.write("scores.json", json.dumps(scores))
        return self.project.pytest(*args, plugins=["syrupy"])

    def accept(self, scores: Mapping[str, Any], *args: str) -> pytest.RunResult:
        """Run it with --snapshot-update."""
        return self.run(scores, "--snapshot-update", *args)

    @property
    def snapshot(self) -> Path:
        return self.project.root / "__snapshots__" / "test_own" / "test_quality.scores"


@pytest.fixture
def quality(project: Project, monkeypatch: pytest.MonkeyPatch) -> Quality:
    # Where these tests themselves run in a worker, syrupy would take the inner session for one.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return Quality(project)


def right(count: int, wrong: Sequence[int] = ()) -> dict[str, int]:
    return {f"i{n:02}": int(n not in wrong) for n in range(count)}


# A user's test ------------------------------------------------------------------------------------


def test_scores_are_accepted_as_canonical_json(quality: Quality) -> None:
    result = quality.accept({"b": 1.0, "a": 0, "c": 0.25})
    result.assert_outcomes(passed=1)
    assert quality.snapshot.read_text(encoding="utf-8") == (
        '{\n  "scores": {\n    "a": 0,\n    "b": 1,\n    "c": 0.25\n  }\n}\n'
    )


def test_without_accepted_scores_the_test_fails_and_says_how(quality: Quality) -> None:
    result = quality.run(right(4, wrong=[1]))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*Snapshot 'test_quality' does not exist!*",
            "*accept these scores with --snapshot-update: 75.0 % of 4 items*",
        ]
    )
    assert not quality.snapshot.exists()


def test_the_same_scores_and_better_ones_match(quality: Quality) -> None:
    quality.accept(right(20, wrong=range(8)))
    quality.run(right(20, wrong=range(8))).assert_outcomes(passed=1)
    quality.run(right(20)).assert_outcomes(passed=1)


def test_what_chance_explains_matches_and_the_snapshot_stays(quality: Quality) -> None:
    quality.accept(right(20))
    before = quality.snapshot.read_bytes()
    quality.run(right(20, wrong=[3, 4])).assert_outcomes(passed=1)
    quality.accept(right(20, wrong=[3, 4])).assert_outcomes(passed=1)
    assert quality.snapshot.read_bytes() == before


def test_a_significant_decline_fails_with_difference_interval_p_and_items(
    quality: Quality,
) -> None:
    quality.accept(right(20, wrong=[19]))
    result = quality.run(right(20, wrong=range(9)))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*then 95.0 % of 20 items, now 55.0 % of 20 items*",
            "*difference -40.0 * points (90 %, Tango), one-sided p 0.006 (McNemar*): signi*",
            "*worse: i00, i01, i02, i03, i04, i05, i06, i07, i08*",
            "*better: i19*",
        ]
    )


def test_a_decline_that_is_accepted_is_the_new_measure(quality: Quality) -> None:
    quality.accept(right(20))
    quality.accept(right(20, wrong=range(9))).assert_outcomes(passed=1)
    quality.run(right(20, wrong=range(9))).assert_outcomes(passed=1)
    assert json.loads(quality.snapshot.read_text(encoding="utf-8"))["scores"]["i00"] == 0


def test_graded_scores_are_compared_by_sign_flips(quality: Quality) -> None:
    quality.accept({f"i{n}": 0.8 for n in range(10)})
    quality.run({f"i{n}": 0.8 + (-1) ** n * 0.1 for n in range(10)}).assert_outcomes(passed=1)
    result = quality.run({f"i{n}": 0.6 - n / 100 for n in range(10)})
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*(90 %, paired t), one-sided p < 0.001 (sign-flip): sig*"])


def test_other_items_are_another_snapshot(quality: Quality) -> None:
    quality.accept(right(4))
    result = quality.run({**right(3), "new": 1})
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*not the same items as in the snapshot; accept them with --snapshot-update*",
            "*new: new*",
            "*gone: i03*",
        ]
    )
    quality.accept({**right(3), "new": 1}).assert_outcomes(passed=1)


def test_a_file_that_holds_no_scores_can_be_replaced(quality: Quality) -> None:
    quality.accept(right(4))
    quality.snapshot.write_text("{", encoding="utf-8", newline="\n")
    result = quality.run(right(4))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the snapshot holds no scores*", "*accept these scores with*"])
    quality.accept(right(4)).assert_outcomes(passed=1)
    quality.run(right(4)).assert_outcomes(passed=1)


def test_a_failure_is_no_score_and_accepts_nothing(quality: Quality) -> None:
    result = quality.accept({"a": 1, "b": "failure"})
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: item b has no score: a failure says nothing*"])
    assert not quality.snapshot.exists()


def test_workers_find_the_same(quality: Quality) -> None:
    quality.accept(right(20), "-n2").assert_outcomes(passed=1)
    quality.run(right(20, wrong=[3]), "-n2").assert_outcomes(passed=1)
    result = quality.run(right(20, wrong=range(9)), "-n2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*(McNemar mid-p): significantly worse*"])


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["alone", "workers"])
def test_a_margin_is_chosen_with_the_extension(quality: Quality, args: tuple[str, ...]) -> None:
    quality.project.write(
        "test_own.py",
        "from pytest_llmeval.snapshots import LlmevalSnapshotExtension\n"
        + TEST.replace(
            "== llm_snapshot",
            "== llm_snapshot.use_extension(LlmevalSnapshotExtension.with_margin(0.1))",
        ),
    )
    quality.accept(right(100), *args).assert_outcomes(passed=1)
    quality.run(right(100, wrong=range(8)), *args).assert_outcomes(passed=1)
    result = quality.run(right(100, wrong=range(20)), *args)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*significantly worse than the margin of 10.0 points*"])
    result.stdout.fnmatch_lines(["*worse: i00, i01, *, i19"])


def test_syrupys_own_fixture_takes_the_extension_too(quality: Quality) -> None:
    quality.project.write(
        "test_own.py",
        "from pytest_llmeval.snapshots import LlmevalSnapshotExtension\n"
        "def test_quality(snapshot):\n"
        "    assert {'a': 1} == snapshot(extension_class=LlmevalSnapshotExtension)\n"
        "    assert {'text': 'as ever'} == snapshot\n",
    )
    quality.accept({}).assert_outcomes(passed=1)
    quality.run({}).assert_outcomes(passed=1)
    assert quality.snapshot.exists()


def test_it_lives_beside_syrupys_json_snapshots_and_neither_takes_the_others_for_unused(
    quality: Quality,
) -> None:
    quality.project.write(
        "test_own.py",
        "from syrupy.extensions.json import JSONSnapshotExtension\n"
        "def test_quality(snapshot, llm_snapshot):\n"
        "    assert {'a': 1} == snapshot.use_extension(JSONSnapshotExtension)\n"
        "    assert {'a': 1, 'b': 0} == llm_snapshot\n",
    )
    quality.accept({}).assert_outcomes(passed=1)
    result = quality.accept({})
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*snapshot* unused*")
    names = sorted(path.name for path in quality.snapshot.parent.iterdir())
    assert names == ["test_quality.json", "test_quality.scores"]


def test_one_that_no_test_uses_any_more_is_told_and_deleted_on_request(quality: Quality) -> None:
    quality.accept(right(4))
    quality.project.write("test_own.py", "def test_other(llm_snapshot): assert True\n")
    result = quality.run({})
    result.stdout.fnmatch_lines(["1 snapshot unused."])
    quality.accept({})
    assert not quality.snapshot.exists()


def test_a_mistake_before_anything_ran_deletes_no_snapshot(quality: Quality) -> None:
    """Every snapshot looks unused then, and was accepted by somebody."""
    quality.accept(right(4))
    quality.project.config()
    quality.project.suite("sums", [quality.project.right("a")], score="exacto")
    quality.project.write("scores.json", json.dumps(right(4)))
    result = quality.project.run("--snapshot-update", plugins=["syrupy"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert quality.snapshot.exists()


def test_without_syrupy_it_says_what_is_missing(quality: Quality) -> None:
    quality.project.write("scores.json", "{}")
    result = quality.project.pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*llm_snapshot needs the plugin syrupy, which is switched off*"])


def test_scores_of_a_run_are_compared_as_they_are(quality: Quality) -> None:
    project = quality.project
    project.write(
        "test_own.py",
        "def test_quality(llm, llm_snapshot):\n"
        "    answers = {n: llm.chat(f'say {n}').text for n in ('one', 'two')}\n"
        "    assert {n: answer == n for n, answer in answers.items()} == llm_snapshot\n",
    )
    accepted = project.run("--snapshot-update", plugins=["syrupy"])
    accepted.assert_outcomes(passed=1)
    project.run(plugins=["syrupy"]).assert_outcomes(passed=1)
    scores = json.loads(quality.snapshot.read_text(encoding="utf-8"))["scores"]
    assert scores == {"one": 1, "two": 1}


# What is a score ----------------------------------------------------------------------------------


class Half:
    """A number of some library."""

    def __float__(self) -> float:
        return 0.5

    def __repr__(self) -> str:
        return "half"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, 1),
        (0.0, 0),
        ("right", 1),
        ("no_answer", 0),
        (Score("exact", "graded", 0.25), 0.25),
        (Score("exact", "no_answer", 0.0, "empty"), 0),
        ([1, 0, "right", 0.5], 0.625),
        (Half(), 0.5),
    ],
    ids=repr,
)
def test_what_can_be_a_score(given: object, expected: float) -> None:
    assert scores_by_item({"a": given}) == {"a": expected}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "item a has no score: a failure says nothing about the answer"),
        (Score("exact", "failure", None, "timeout"), "item a has no score"),
        (float("nan"), "item a: a score is from 0 to 1, or right, wrong, no_answer; got nan"),
        (1.01, "item a: a score is from 0 to 1, or right, wrong, no_answer; got 1.01"),
        ("Right", "got 'Right'"),
        ("0.5", "got '0.5'"),
        ({}, "got {}"),
        ([], "item a: an empty list is no score"),
        ([1, None], "item a has no score"),
    ],
    ids=repr,
)
def test_what_cannot_be_a_score_is_named(given: object, words: str) -> None:
    with pytest.raises(ValueError, match="item a") as refused:
        scores_by_item({"a": given})
    assert words in str(refused.value)


def test_scores_without_ids_are_refused() -> None:
    with pytest.raises(TypeError, match="maps item ids to scores, got list: without ids nobody"):
        scores_by_item([1, 0, 1])
    with pytest.raises(ValueError, match="at least one item"):
        scores_by_item({})
    with pytest.raises(ValueError, match="two items have the same id"):
        scores_by_item({1: 1, "1": 0})


@pytest.mark.parametrize("margin", [-0.1, 1, 2])
def test_a_margin_that_is_none_is_refused_where_it_is_written(margin: float) -> None:
    with pytest.raises(ValueError, match="a margin is a share from 0 to below 1"):
        LlmevalSnapshotExtension.with_margin(margin)
