"""What a run writes down while it lives, and how it goes on with what it has written."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.engine import EndpointFacts
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Doubt, Trial
from pytest_llmeval.results.journal import read_journal, read_run
from pytest_llmeval.results.manifest import Manifest, read_manifest
from pytest_llmeval.results.strays import Strays
from pytest_llmeval.run import Settings
from pytest_llmeval.run.backing import fake_backing
from pytest_llmeval.run.batch_build import build
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.opening import _set_as_before, open_ledger

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench


@contextmanager
def ledger_of(
    bench: Workbench, now: datetime, *suites: Path, reason: str = "interrupted", **options: Any
) -> Iterator[tuple[Ledger, list[Trial]]]:
    """A session's ledger, closed at its end as one that was cut short."""
    settings = bench.settings(**options)
    trials = bench.trials(settings, *(suites or (bench.suite(),)))
    ledger = open_ledger(settings, trials, now)
    try:
        yield ledger, trials
    finally:
        ledger.close(read_run(ledger.folder.path), now, reason)


def request_ids(ledger: Ledger) -> dict[str, list[str]]:
    return {
        path.name.removesuffix(".requests.jsonl"): [
            json.loads(line)["custom_id"] for line in path.read_text("utf-8").splitlines()
        ]
        for path in sorted(ledger.folder.path.glob("*/parts/*.requests.jsonl"))
    }


def test_everything_is_written_down_before_anything_is_asked(
    bench: Workbench, now: datetime
) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        manifest = read_manifest(ledger.folder.path)
        assert manifest == ledger.manifest
        assert (manifest.status, manifest.finished, manifest.exit_reason) == ("pending", None, None)
        assert manifest.started == now.isoformat()
        assert manifest.plan.trials == 4
        assert manifest.plan.seeds == {"sampling": 7}
        assert request_ids(ledger) == {"part-0001": [trial.id for trial in trials]}
        assert (ledger.folder.path / "environment.json").is_file()
        assert not list(ledger.folder.path.glob("*/parts/*.results.jsonl"))


def test_a_prediction_is_in_its_file_as_soon_as_it_is_recorded(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        prediction = make.answer(trials[0].id)
        ledger.record(prediction)
        assert read_run(ledger.folder.path) == {trials[0].id: prediction}


def test_a_condition_is_cut_into_parts_as_even_as_can_be(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now, parts=3) as (ledger, trials):
        assert [len(ids) for ids in request_ids(ledger).values()] == [1, 1, 2]
        for trial in trials:
            ledger.record(make.answer(trial.id))
        written = sorted(ledger.folder.path.glob("*/parts/*.results.jsonl"))
        assert [len(path.read_bytes().splitlines()) for path in written] == [1, 1, 2]


def test_parts_are_settled_at_the_end(bench: Workbench, now: datetime, make: type[Make]) -> None:
    with ledger_of(bench, now, parts=2, reason="") as (ledger, trials):
        ledger.record(make.answer(trials[0].id))
        ledger.record(make.failure(trials[1].id))
        ledger.record(make.answer(trials[2].id))
    manifest = read_manifest(ledger.folder.path)
    assert manifest.exit_reason == "finished"
    first, second = manifest.parts
    assert (first.job_status, first.answered, first.failed) == ("completed", 1, 1)
    assert (second.job_status, second.discrepancy) == (
        "failed",
        f"2 trials in, 1 predictions out: missing {trials[3].id}",
    )
    assert (first.failures, first.first_failure) == (
        {"unreachable": 1},
        f"{trials[1].id}: refused",
    )


def test_what_came_back_twice_or_for_nobody_is_named_in_the_part(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now, reason="") as (ledger, trials):
        for trial in trials:
            ledger.record(make.answer(trial.id))
        ledger.note_strays("m", 1, "job", Strays(doubled=(trials[0].id,), unknown=("a::b::c",)))
    (part,) = read_manifest(ledger.folder.path).parts
    assert part.job_status == "completed"
    assert part.discrepancy == f"twice {trials[0].id}; unknown a::b::c"


def statuses(ledger: Ledger) -> list[str]:
    return [part.job_status for part in read_manifest(ledger.folder.path).parts]


def becomes(ledger: Ledger, *expected: str) -> bool:
    """Whether the manifest on the disk comes to say so while the run lives."""
    deadline = time.monotonic() + 60
    while statuses(ledger) != list(expected) and time.monotonic() < deadline:
        time.sleep(0.01)
    return statuses(ledger) == list(expected)


def test_a_part_is_pending_until_its_first_request_and_completed_with_its_last_answer(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now, parts=2) as (ledger, trials):
        assert statuses(ledger) == ["pending", "pending"]
        ledger.sending(trials[0])
        assert becomes(ledger, "running", "pending")
        for trial in trials[:2]:
            ledger.record(make.answer(trial.id))
        ledger.sending(trials[2])
        assert becomes(ledger, "completed", "running")
        assert read_manifest(ledger.folder.path).status == "running"
        for trial in trials[2:]:
            ledger.record(make.failure(trial.id))
        assert becomes(ledger, "completed", "failed")
        assert [p.answered for p in read_manifest(ledger.folder.path).parts] == [2, 0]


def test_a_part_that_was_answered_before_is_completed_from_the_start(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now, parts=2) as (ledger, trials):
        for trial in trials[:2]:
            ledger.record(make.answer(trial.id))
    with ledger_of(bench, now, resume="last") as (resumed, _):
        assert statuses(resumed) == ["completed", "pending"]


def test_a_run_has_one_writer(bench: Workbench, now: datetime) -> None:
    with (
        ledger_of(bench, now),
        pytest.raises(RunError, match="is being written by another process"),
        ledger_of(bench, now, resume="last"),
    ):
        pass


# Going on -----------------------------------------------------------------------------------------


def test_a_built_folder_is_gone_on_with_unless_its_requests_were_edited(
    bench: Workbench, now: datetime
) -> None:
    suite, out = bench.suite(), bench.root / "out"
    build(bench.settings(), [suite], out, now)
    (requests,) = out.glob("*/parts/part-0001.requests.jsonl")
    as_built = requests.read_bytes()
    requests.write_bytes(as_built.replace(b"3 + 1", b"3 - 1"))
    with (
        pytest.raises(RunError, match=r"part-0001\.requests\.jsonl is not as llmeval batch build"),
        ledger_of(bench, now, suite, resume=str(out)),
    ):
        pass
    requests.write_bytes(as_built)
    with ledger_of(bench, now, suite, resume=str(out)) as (resumed, trials):
        assert len(trials) == resumed.manifest.parts[0].trials


def test_a_resumed_run_knows_what_was_answered_and_keeps_its_lines(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        ledger.record(make.answer(trials[0].id))
        ledger.record(make.failure(trials[1].id))
    (journal,) = ledger.folder.path.glob("*/parts/*.results.jsonl")
    before = journal.read_bytes()
    with ledger_of(bench, now, resume="last") as (resumed, _):
        assert resumed.folder.path == ledger.folder.path
        assert {id_: p.answer is not None for id_, p in resumed.known.items()} == {
            trials[0].id: True,
            trials[1].id: False,
        }
        resumed.record(make.answer(trials[1].id))
    assert journal.read_bytes().startswith(before)
    assert all(p.answer for p in read_run(ledger.folder.path).values())


def test_a_resumed_run_is_running_again_until_it_ends(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        ledger.record(make.answer(trials[0].id))
    with ledger_of(bench, now, resume="last") as (resumed, _):
        manifest = read_manifest(resumed.folder.path)
        assert (manifest.status, manifest.finished, manifest.exit_reason) == ("running", None, None)


def test_a_resumed_run_keeps_the_parts_it_began_with(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    with ledger_of(bench, now, parts=2) as (ledger, trials):
        ledger.record(make.answer(trials[3].id))
    with ledger_of(bench, now, resume=ledger.folder.id) as (resumed, _):
        assert [part.number for part in resumed.parts] == [1, 2]
        assert list(resumed.known) == [trials[3].id]


def refusal_of_resume(bench: Workbench, now: datetime, *suites: Path, **options: Any) -> str:
    """The words with which going on is refused; the run is left as it was."""
    (run,) = (bench.root / "runs").glob("*/manifest.json")
    before = run.read_bytes()
    with (
        pytest.raises(RunError) as refusal,
        ledger_of(bench, now, *suites, resume="last", **options),
    ):
        pass
    assert run.read_bytes() == before
    words = str(refusal.value)
    assert words.startswith(f"--llm-resume: the run {run.parent.name} asked something else: ")
    assert words.endswith(
        "Undo that, start a new run without --llm-resume, or let a new run take over the answers "
        "to what is still asked the same: --llm-set resume.changed=take_over"
    )
    return words


def test_going_on_with_another_config_is_refused_with_the_key_and_both_values(
    bench: Workbench, now: datetime
) -> None:
    with ledger_of(bench, now):
        pass
    bench.config(sampling={"max_tokens": 32, "temperature": 0, "seed": 7})
    assert "max_tokens was 16, is 32" in refusal_of_resume(bench, now)


def test_going_on_with_another_dataset_is_refused(bench: Workbench, now: datetime) -> None:
    with ledger_of(bench, now):
        pass
    changed = bench.suite(items=[{"id": "add-1", "a": 1, "answer": "2"}])
    assert "suite sums: its dataset has changed" in refusal_of_resume(bench, now, changed)


def test_going_on_with_other_items_is_refused(bench: Workbench, now: datetime) -> None:
    with ledger_of(bench, now):
        pass
    words = refusal_of_resume(bench, now, limit=2)
    assert "asked something else: --llm-limit was not given, is 2. Undo that" in words


def test_going_on_with_another_prompt_is_refused(bench: Workbench, now: datetime) -> None:
    with ledger_of(bench, now):
        pass
    changed = bench.suite(prompt="What is {{ a }} + 1?")
    assert "its prompt has changed" in refusal_of_resume(bench, now, changed)


def test_a_dry_run_does_not_go_on_as_a_real_one(bench: Workbench, now: datetime) -> None:
    with ledger_of(bench, now, dry_run=True):
        pass
    with (
        pytest.raises(RunError, match=r"was a dry run, and this is none.*Start a new run"),
        ledger_of(bench, now, resume="last"),
    ):
        pass


def test_going_on_with_another_scorer_is_allowed_since_scoring_comes_after(
    bench: Workbench, now: datetime
) -> None:
    with ledger_of(bench, now):
        pass
    changed = bench.suite(score="includes")
    with ledger_of(bench, now, changed, resume="last") as (resumed, _):
        assert resumed.manifest.plan.trials == 4


def test_a_run_that_goes_on_under_other_versions_tells_both(
    bench: Workbench, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        before = ledger.manifest.versions
    package = "pytest-llmeval-local"
    told = [before[package]]
    for version in ("9.1", "9.2", "9.2"):
        monkeypatch.setattr("pytest_llmeval.run.ledger.__version__", version)
        resumed = open_ledger(bench.settings(resume="last"), trials, now)
        told.append(resumed.manifest.versions[package])
        assert resumed.manifest.versions["pytest"] == before["pytest"]
        resumed.close({}, now, "interrupted")
    first = before[package]
    both = f"{first}, then 9.1, then 9.2"
    assert told == [first, f"{first}, then 9.1", both, both]


# What the model is --------------------------------------------------------------------------------


def opened(ledger: Ledger, settings: Settings, digest: str | None) -> Manifest:
    """The manifest after the model m has said what it is."""
    config = settings.config.models["m"]
    model = LiveModel("m", fake_backing(config), ledger.folder.path, print, "local.yaml:2")
    model.digest = digest
    model.facts = EndpointFacts(slots=4, context=256, build="b1234", template_sha256="t" * 64)
    ledger.model_opened(model, config)
    return read_manifest(ledger.folder.path)


def test_a_model_is_in_the_manifest_as_soon_as_it_is_open(bench: Workbench, now: datetime) -> None:
    with ledger_of(bench, now) as (ledger, _):
        (facts,) = opened(ledger, bench.settings(), "d" * 64).models
        assert (facts.name, facts.engine, facts.digest) == ("m", "fake", "d" * 64)
        assert (facts.server, facts.slots, facts.context) == ("b1234", 4, 256)
        assert facts.template_digest == "t" * 64
        assert facts.computes == "fake: no model at all"
        assert len(opened(ledger, bench.settings(), "d" * 64).models) == 1


def test_going_on_with_other_weights_is_refused_with_both_digests(
    bench: Workbench, now: datetime
) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        opened(ledger, bench.settings(), "d" * 64)
    settings = bench.settings(resume="last")
    with pytest.raises(RunError) as refusal:
        open_ledger(settings, trials, now, digests=lambda: dict.fromkeys(settings.models, "e" * 64))
    assert f"was {'d' * 64}, is {'e' * 64}" in str(refusal.value)
    assert read_manifest(ledger.folder.path).models[0].digest == "d" * 64


@pytest.mark.parametrize(
    ("digest", "changed", "words"),
    [
        (None, {"model_path": "/other/b.gguf"}, "model a.gguf and b.gguf"),
        (None, {"model_path": "C:\\models\\a.gguf"}, ""),
        (None, {"model_name": "y"}, ""),
        (None, {"model_path": None, "served": ("y", "z")}, "models x and y, z"),
        (None, {"model_path": None, "served": ("y", "x")}, ""),
        (None, {"model_path": None, "served": ()}, ""),
        ("d" * 64, {"model_path": "b.gguf", "model_name": "y"}, ""),
        ("d" * 64, {"build": "b1300"}, "build b1234 and b1300"),
        ("d" * 64, {"template_sha256": "u"}, "chat template t and u"),
        ("d" * 64, {"context": 128, "slots": 1}, ""),
    ],
)
def test_a_model_that_is_served_otherwise_is_refused_in_words(
    bench: Workbench, now: datetime, digest: str | None, changed: dict[str, Any], words: str
) -> None:
    settings = bench.settings()
    config = settings.config.models["m"]
    said = EndpointFacts(4, 256, "models/a.gguf", "x", "b1234", "t", served=("x",))
    with ledger_of(bench, now) as (ledger, _):
        model = LiveModel("m", fake_backing(config), ledger.folder.path, print, "local.yaml:2")
        model.digest, model.facts = digest, said
        ledger.model_opened(model, config)
        model.facts = replace(said, **changed)
        if not words:
            ledger.model_opened(model, config)
            return
        with pytest.raises(RunError) as refused:
            ledger.model_opened(model, config)
    assert str(refused.value) == (
        f"the run has answers of m as something else: {words}. Have the same served again, or "
        "start a new run"
    )


def test_what_is_known_of_a_model_that_is_set_otherwise_now_is_forgotten(
    bench: Workbench, now: datetime
) -> None:
    """As a judge may be, whose verdicts carry the hash of its settings."""
    with ledger_of(bench, now) as (ledger, _):
        before = opened(ledger, bench.settings(), "d" * 64)
    assert [model.name for model in _set_as_before(before, before.plan)] == ["m"]
    models = {"m": {**before.plan.config["models"]["m"], "name": "another"}}
    plan = replace(before.plan, config={**before.plan.config, "models": models})
    assert [*_set_as_before(before, plan)] == []


def test_weights_that_nobody_knows_are_no_reason_to_refuse(bench: Workbench, now: datetime) -> None:
    with ledger_of(bench, now) as (ledger, trials):
        opened(ledger, bench.settings(), "d" * 64)
    resumed = open_ledger(bench.settings(resume="last"), trials, now, digests=lambda: {"m": None})
    assert resumed.manifest.models[0].digest == "d" * 64
    resumed.close({}, now, "interrupted")


def test_parts_stay_what_they_were_when_suites_are_named_in_another_order(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    one, two = bench.suite("one"), bench.suite("two")
    with ledger_of(bench, now, one, two, parts=2) as (ledger, trials):
        ledger.record(make.answer(trials[0].id))
    asked = request_ids(ledger)
    with ledger_of(bench, now, two, one, resume="last") as (resumed, _):
        for trial in trials[1:]:
            resumed.record(make.answer(trial.id))
    assert {f"part-{p.number:04}": [t.id for t in p.trials] for p in resumed.parts} == asked
    for number, ids in asked.items():
        (path,) = resumed.folder.path.glob(f"*/parts/{number}.results.jsonl")
        assert sorted(read_journal(path)) == sorted(ids)


def test_a_run_can_be_listed_and_gone_on_with_from_its_first_file_on(
    bench: Workbench, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of many trials take seconds to write, and in these it may be killed."""
    seen = []

    def look(ledger: Ledger, *_: object) -> None:
        seen.append(read_manifest(ledger.folder.path).exit_reason)

    monkeypatch.setattr(Ledger, "write_what_is_asked", look)
    with ledger_of(bench, now):
        assert seen == [None]


def test_a_disk_that_once_did_not_confirm_an_answer_is_told_of_although_it_does_so_now(
    bench: Workbench, now: datetime, make: type[Make], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells of pages that it could not write once, and never again."""
    sync = os.fsync
    failed: list[int] = []

    def once(handle: int) -> None:
        if not failed:
            failed.append(handle)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(handle)

    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    ledger = open_ledger(settings, trials, now)
    monkeypatch.setattr(os, "fsync", once)
    ledger.record(make.answer(trials[0].id))
    while not failed:
        time.sleep(0.01)
    ledger.close(read_run(ledger.folder.path), now, "interrupted")
    why = os.strerror(errno.EIO)
    words = f"the disk did not confirm all answers at once ({why}): it may have lost some"
    assert ledger.manifest.warnings == (words,)


def test_a_run_that_has_finished_is_left_as_it_is_by_an_interrupt_after_its_end(
    bench: Workbench, now: datetime, make: type[Make]
) -> None:
    """Such as one while its folder is zipped; by then another process may go on with it."""
    with ledger_of(bench, now, reason="") as (ledger, trials):
        for trial in trials:
            ledger.record(make.answer(trial.id))
        doubt = Doubt("sums", "m", "all_right", 4, 4, trials[0].id, "all are right")
        ledger.settle(read_run(ledger.folder.path), ended=True, doubts=[doubt])
        ledger.finish(now, "")
        ledger.give_up()
        before = read_manifest(ledger.folder.path)
        ledger.close({}, now, "interrupted")
    assert before.doubts == (doubt,)
    assert read_manifest(ledger.folder.path) == before
