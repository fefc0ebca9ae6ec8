"""manifest.json: what was asked, by which weights, and how far it came."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import ScorerSpec
from pytest_llmeval.results.manifest import Manifest, ModelFacts, read_manifest, write_manifest
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.results.plan import ScorerPlan, plan_hash, plan_of


@pytest.fixture
def manifest(samples: Any) -> Manifest:
    suite = samples.suite_of("arithmetic", ["a", "b"], ("plain", "terse"))
    plan = plan_of(
        {"models": {"tiny-l": {"gguf": "é.gguf"}}}, samples.trials_of(suite), {"sampling": 7}
    )
    return Manifest(
        id="2026-11-23-0412",
        started="2026-11-23T03:12:00+00:00",
        plan=plan,
        plan_hash=plan_hash(plan),
        versions={"pytest": "9.2.0", "xllamacpp": None},
        parts=(PartFacts("tiny-l/plain", 1, 2), PartFacts("tiny-l/terse", 1, 2)),
        models=(ModelFacts("tiny-l", "embedded", "ab" * 32, 12, slots=4, context=1024),),
    )


def test_a_manifest_comes_back_equal(manifest: Manifest, tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest)
    read = read_manifest(tmp_path)
    assert dataclasses.asdict(read) == dataclasses.asdict(
        dataclasses.replace(manifest, plan=read.plan)
    )
    assert plan_hash(read.plan) == manifest.plan_hash


def test_the_plan_counts_what_each_suite_asks_of_each_condition(manifest: Manifest) -> None:
    asked = [(a.suite, a.condition, a.prompt_hash, a.trials) for a in manifest.plan.asked]
    assert asked == [
        ("arithmetic", "tiny-l/plain", "hash-plain", 2),
        ("arithmetic", "tiny-l/terse", "hash-terse", 2),
    ]
    assert manifest.plan.trials == 4
    assert manifest.plan.asked[0].sampling["seed"] == 7


def test_the_plan_does_not_depend_on_the_order_of_the_trials(samples: Any) -> None:
    trials = [
        trial
        for name in ("b", "a")
        for trial in samples.trials_of(samples.suite_of(name, ["1"]), ("m", "l"))
    ]
    assert plan_hash(plan_of({}, trials, {})) == plan_hash(plan_of({}, trials[::-1], {}))


@pytest.mark.parametrize(
    ("answered", "failed", "ended", "status", "discrepancy"),
    [
        (0, 0, False, "pending", None),
        (1, 0, False, "running", None),
        (1, 1, False, "completed", None),
        (2, 0, True, "completed", None),
        (1, 0, True, "failed", "2 trials in, 1 predictions out"),
        (2, 1, False, "failed", "2 trials in, 3 predictions out"),
    ],
)
def test_a_part_is_completed_when_as_many_came_out_as_went_in(
    samples: Any, answered: int, failed: int, ended: bool, status: str, discrepancy: str | None
) -> None:
    predictions = [samples.answered(f"s::c::{n}") for n in range(answered)]
    predictions += [samples.failed(f"s::c::{n + answered}") for n in range(failed)]
    part = settle_part(PartFacts("c", 1, 2), predictions, ended=ended)
    assert (part.job_status, part.discrepancy) == (status, discrepancy)
    assert (part.answered, part.failed) == (answered, failed)


def test_a_part_of_which_nothing_was_answered_has_failed_and_says_by_what(samples: Any) -> None:
    predictions = [samples.failed(f"s::c::{n}", "server", "it\n never started") for n in (1, 2)]
    part = settle_part(PartFacts("c", 1, 2), predictions, ended=True)
    assert (part.job_status, part.discrepancy) == ("failed", None)
    assert (part.failures, part.first_failure) == ({"server": 2}, "s::c::1: it never started")


def test_a_failure_with_many_words_is_kept_on_a_short_line(samples: Any) -> None:
    part = settle_part(
        PartFacts("c", 1, 1), [samples.failed("s::c::1", "x", "y" * 999)], ended=True
    )
    assert part.first_failure is not None
    assert len(part.first_failure) == 300
    assert part.first_failure.startswith("s::c::1: yyy")
    assert part.first_failure.endswith("y...")


@pytest.mark.parametrize(
    ("not_needed", "ended", "status", "discrepancy"),
    [
        (3, True, "completed", None),
        (3, False, "completed", None),
        (2, False, "running", None),
        (2, True, "failed", "5 trials in, 2 predictions out, 2 not needed"),
        (4, True, "failed", "5 trials in, 2 predictions out, 4 not needed"),
    ],
)
def test_what_was_not_needed_makes_up_for_what_did_not_come(
    samples: Any, not_needed: int, ended: bool, status: str, discrepancy: str | None
) -> None:
    predictions = [samples.answered("s::c::1"), samples.failed("s::c::2")]
    part = settle_part(PartFacts("c", 1, 5), predictions, not_needed=not_needed, ended=ended)
    assert (part.job_status, part.discrepancy, part.not_needed) == (
        *(status, discrepancy, not_needed),
    )


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["completed", "completed"], "completed"),
        (["completed", "failed", "running"], "failed"),
        (["completed", "running"], "running"),
        (["completed", "pending"], "running"),
        (["pending", "pending"], "pending"),
    ],
)
def test_a_run_is_complete_only_when_every_part_is(
    manifest: Manifest, statuses: list[Any], status: str
) -> None:
    parts = tuple(PartFacts("c", n, 1, job_status=s) for n, s in enumerate(statuses, 1))
    assert dataclasses.replace(manifest, parts=parts).status == status


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{torn", "[]", "{}", '{"schema": 1}', "\ud800"])
def test_a_broken_manifest_is_an_error_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunError, match=r"manifest\.json: is no manifest"):
        read_manifest(tmp_path)


def test_a_wrong_value_is_named_by_its_place(manifest: Manifest, tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["parts"][1]["job_status"] = "done"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RunError, match=r"parts\.1\.job_status: Input should be 'pending'"):
        read_manifest(tmp_path)


def test_a_manifest_of_a_newer_version_says_upgrade(manifest: Manifest, tmp_path: Path) -> None:
    write_manifest(tmp_path, dataclasses.replace(manifest, schema=2))
    with pytest.raises(RunError, match=r"written by a newer version .*upgrade"):
        read_manifest(tmp_path)


def test_the_plan_tells_how_answers_are_judged_and_what_chance_has_chosen(samples: Any) -> None:
    scorers = (ScorerSpec("numeric", {"tolerance": 0.01}), ScorerSpec("own", {"shape": object()}))
    suite = dataclasses.replace(
        samples.suite_of("s", ["a"]), scorers=scorers, seeds={"items": 3, "few_shot": 4}
    )
    trials = samples.trials_of(suite)
    plan = plan_of({}, trials, {}, limit=5, scorer_versions={"numeric": "2"})
    assert plan.suites[0].scorers == (
        ScorerPlan("numeric", {"tolerance": 0.01}, "2"),
        ScorerPlan("own", {"shape": "<object>"}, ""),
    )
    assert plan.suites[0].seeds == {"items": 3, "few_shot": 4}
    assert plan.limit == 5
    assert plan_hash(plan) != plan_hash(plan_of({}, trials, {}))
