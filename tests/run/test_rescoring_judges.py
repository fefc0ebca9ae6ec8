"""A run judged again that had a judge: its verdicts count where the same would be asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.run.rescoring import Rescored, rescore

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

VERDICTS = [
    {"when": "\nIt is 3", "text": '{"reason": "so", "verdict": "fail"}'},
    {"when": "compare two", "text": '{"reason": "so", "verdict": "tie"}'},
    {"when": "", "text": '{"reason": "so", "verdict": "pass"}'},
]


@pytest.fixture
def asked(bench: Workbench) -> Workbench:
    says = bench.script([{"when": r"^(\d)", "text": r"It is \1."}], "says.json")
    wise = {**bench.script(VERDICTS, "wise.json"), "role": "judge"}
    bench.config(models={"m": says, "n": says, "wise": wise}, judge="wise")
    return bench


@pytest.fixture
def again(asked: Workbench, now: datetime) -> Callable[[Path], Rescored]:
    def judge(run: Path) -> Rescored:
        return rescore(run, run_dir=asked.root / "runs", root=asked.root, now=now)

    return judge


def means(done: Rescored) -> dict[tuple[str, str], Any]:
    return {(m.condition, m.scorer): m.mean for m in done.report.metrics}


def test_verdicts_that_answer_what_would_be_asked_are_taken_over(
    asked: Workbench, again: Callable[[Path], Rescored]
) -> None:
    run = asked.run(asked.suite(score="judge"))
    asked.suite(score=["includes", "judge"])  # another headline, the same question
    done = again(run)
    assert means(done)["m", "judge"] == 0.75
    assert read_run(done.folder.path) == read_run(run)
    (figures,) = done.report.judges
    assert (figures.judge, figures.answers, figures.unjudged) == ("wise", 8, 0)
    manifest = read_manifest(done.folder.path)
    assert [part.answered for part in manifest.second_wave] == [4, 4]
    assert manifest.plan.judged == read_manifest(run).plan.judged
    path = "m/parts/judge-0001.requests.jsonl"
    assert (done.folder.path / path).read_bytes() == (run / path).read_bytes()


def test_a_rescored_run_can_be_judged_again_too(
    asked: Workbench, again: Callable[[Path], Rescored]
) -> None:
    run = asked.run(asked.suite(score="judge"))
    assert means(again(again(run).folder.path))["m", "judge"] == 0.75


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("judge", {"judge": {"rubric": "It is short."}}),
        ("judge", {"judge": {"scale": "1..5"}}),
        ("judge", {"judge": {"model": "n"}}),
        ("includes", "judge"),
        ("judge", ["judge", "pairwise"]),
    ],
)
def test_a_verdict_that_was_never_given_is_not_made_up(
    asked: Workbench, again: Callable[[Path], Rescored], before: Any, after: Any
) -> None:
    run = asked.run(asked.suite(score=before))
    asked.suite(score=after)
    with pytest.raises(RunError) as caught:
        again(run)
    told = str(caught.value)
    assert f"the run {run.name} cannot be judged again without a model" in told
    assert f"pytest --llm-config CONFIG.yaml --llm-resume {run.name}" in told


def test_a_run_whose_config_names_no_judge_says_so(
    asked: Workbench, again: Callable[[Path], Rescored]
) -> None:
    asked.config(models={"m": {"engine": "fake"}})
    run = asked.run(asked.suite(score="includes"))
    asked.suite(score="judge")
    with pytest.raises(RunError, match="needs a model that judges: write judge: NAME"):
        again(run)


def test_a_verdict_on_an_answer_that_was_changed_by_hand_does_not_count(
    asked: Workbench, again: Callable[[Path], Rescored]
) -> None:
    run = asked.run(asked.suite(score="judge"))
    journal = run / "m" / "parts" / "part-0001.results.jsonl"
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text.replace("It is 3.", "It is 4."), encoding="utf-8", newline="\n")
    with pytest.raises(
        RunError, match="judge of sums asks wise what it has not been asked, for 1 "
    ):
        again(run)


def test_what_the_run_itself_has_not_come_to_stays_open(
    asked: Workbench, again: Callable[[Path], Rescored]
) -> None:
    run = asked.run(asked.suite(score="judge"))
    journal = run / "m" / "parts" / "judge-0001.results.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if json.loads(line)["custom_id"] != "sums::m::add-1@judge"]
    journal.write_text("\n".join(kept) + "\n", encoding="utf-8", newline="\n")
    done = again(run)
    metric = next(m for m in done.report.metrics if m.condition == "m")
    assert (metric.answered, dict(metric.failures)) == (3, {"judge": 1})


def test_a_suite_without_its_judge_lets_the_verdicts_go(
    asked: Workbench, again: Callable[[Path], Rescored]
) -> None:
    run = asked.run(asked.suite(score=["judge", "includes"]))
    asked.suite(score="includes")
    done = again(run)
    assert done.report.judges == ()
    assert not any("@judge" in trial_id for trial_id in read_run(done.folder.path))
