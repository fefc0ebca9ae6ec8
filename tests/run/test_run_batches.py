"""A run whose model is asked in batches: each part a job, found again after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.records import Trial
from pytest_llmeval.results.jobs import BatchJob, read_jobs, write_jobs
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import Manifest, read_manifest
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.run import Run, Selection
from pytest_llmeval.run.batch_combine import combine
from pytest_llmeval.run.batch_lanes import split_by_job
from pytest_llmeval.run.rescoring import rescore
from tests.standins.fireworks import ACCOUNT, KEY, MODEL, FireworksStandIn

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench


def add_one(body: Any) -> str:
    """The sums of the workbench: `3 + 1 =`; what the preflight asks is no sum."""
    first = body["messages"][-1]["content"].split()[0]
    return str(int(first) + 1) if first.isdecimal() else "no sum"


@pytest.fixture
def service(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStandIn]:
    """The stand-in, with the workbench's model m asked by it in batches."""
    monkeypatch.setenv("FW_KEY", KEY)
    with FireworksStandIn(add_one, polls=1).serving() as standin:
        bench.config(models={"m": model(standin)})
        yield standin


def model(service: FireworksStandIn, **keys: Any) -> dict[str, Any]:
    return {
        "engine": "fireworks",
        "url": service.url,
        "api_key_env": "FW_KEY",
        "account": ACCOUNT,
        "name": MODEL,
        "batch": True,
        **keys,
    }


def jobs_in(run: Path) -> list[list[BatchJob]]:
    return [list(read_jobs(path)) for path in sorted(run.glob("*/parts/*.jobs.json"))]


def manifest_of(run: Path) -> Manifest:
    return read_manifest(run)


def test_each_part_is_one_job_and_every_result_is_journaled(
    bench: Workbench, service: FireworksStandIn
) -> None:
    run = bench.run(bench.suite(), parts=2)
    texts = {id_: p.text for id_, p in read_run(run).items()}
    assert texts == {f"sums::m::add-{n}": str(n + 1) for n in range(1, 5)}
    assert len(service.jobs) == 2
    assert service.did("chat") == 0
    parts = manifest_of(run).parts
    assert [(p.job_status, p.answered) for p in parts] == [("completed", 2), ("completed", 2)]
    names = [job.name for jobs in jobs_in(run) for job in jobs]
    assert sorted(names) == sorted(service.jobs)
    assert all(job.outcome == "completed" for jobs in jobs_in(run) for job in jobs)
    labels = sorted(job.label for job in service.jobs.values())
    assert labels == [f"{run.name} m part {n}" for n in (1, 2)]


def test_without_batch_the_same_model_is_asked_request_by_request(
    bench: Workbench, service: FireworksStandIn
) -> None:
    bench.config(models={"m": model(service, batch=False)})
    run = bench.run(bench.suite())
    assert service.did("chat") > 4  # more by the preflight
    assert not service.jobs
    assert {p.text for p in read_run(run).values()} == {"2", "3", "4", "5"}


def test_the_requests_in_the_folder_are_those_that_are_asked(
    bench: Workbench, service: FireworksStandIn
) -> None:
    run = bench.run(bench.suite())
    (path,) = run.glob("*/parts/*.requests.jsonl")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    (uploaded,) = [dataset.lines for dataset in service.datasets.values() if dataset.lines]
    assert [line["custom_id"] for line in lines] == [line["custom_id"] for line in uploaded]
    asked = [{k: v for k, v in line["body"].items() if k != "model"} for line in lines]
    assert asked == [line["body"] for line in uploaded]


def test_what_did_not_come_back_is_a_failure_with_its_reason_and_is_told_in_the_part(
    bench: Workbench, service: FireworksStandIn
) -> None:
    service.faults.missing = frozenset({"sums::m::add-1"})
    service.faults.errors = {"sums::m::add-2": {"message": "too long", "code": 400}}
    service.faults.doubled = frozenset({"sums::m::add-3"})
    service.faults.unknown = ("who::is::this",)
    run = bench.run(bench.suite())
    failures = {id_: p.failure for id_, p in read_run(run).items() if p.failure}
    assert {id_: f.reason for id_, f in failures.items()} == {
        "sums::m::add-1": "missing",
        "sums::m::add-2": "refused",
    }
    assert failures["sums::m::add-2"].message == "HTTP 400: too long"
    words = failures["sums::m::add-1"].message
    assert words.endswith("ended (completed, 4 answered of 4) without a result for it")
    (part,) = manifest_of(run).parts
    assert part.job_status == "completed"
    assert part.discrepancy == "twice sums::m::add-3; unknown who::is::this"
    assert part.failures == {"missing": 1, "refused": 1}
    assert "NOT IN = OUT: twice sums::m::add-3" in (run / "reports/report.md").read_text("utf-8")


def test_an_answer_of_a_job_that_cannot_be_one_is_a_failure_as_anywhere(
    bench: Workbench, service: FireworksStandIn
) -> None:
    run = bench.run(bench.suite(prompt="{{ a }} + 1 =" + " and so on" * 100))  # 47 tokens, it says
    failures = [p.failure for p in read_run(run).values()]
    assert [failure and failure.reason for failure in failures] == ["prompt_truncated"] * 4
    assert "the endpoint has read 47 tokens" in str(failures[0])


def test_a_job_that_failed_fails_its_part_with_the_services_words(
    bench: Workbench, service: FireworksStandIn
) -> None:
    service.faults.end, service.faults.why = "JOB_STATE_FAILED", "invalid role bananas"
    run = bench.run(bench.suite())
    (part,) = manifest_of(run).parts
    assert (part.job_status, part.failures) == ("failed", {"missing": 4})
    assert part.first_failure is not None
    assert "invalid role bananas" in part.first_failure
    assert jobs_in(run)[0][0].outcome == "failed"


def test_failures_are_asked_again_by_a_new_job_when_the_run_is_resumed(
    bench: Workbench, service: FireworksStandIn
) -> None:
    service.faults.missing = frozenset({"sums::m::add-1"})
    suite = bench.suite()
    run = bench.run(suite)
    service.faults.missing = frozenset()
    assert bench.run(suite, resume="last") == run
    assert all(p.answer for p in read_run(run).values())
    first, second = jobs_in(run)[0]
    assert (len(first.trials), second.trials) == (4, ("sums::m::add-1",))
    assert len(service.jobs) == 2


def killed(run: Path, *, job: BatchJob, keep: int) -> None:
    """Make a run look as one that was killed: so much of its journal, its job as far as this."""
    (journal,) = run.glob("*/parts/*.results.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:keep]))
    (path,) = run.glob("*/parts/*.jobs.json")
    write_jobs(path, [job])


@pytest.mark.parametrize("moment", ["named", "submitted", "fetched"])
def test_a_killed_run_goes_on_with_its_job_and_makes_no_second_one(
    bench: Workbench, service: FireworksStandIn, moment: str
) -> None:
    suite = bench.suite()
    run = bench.run(suite)
    (job,) = jobs_in(run)[0]
    states = {
        "named": BatchJob(job.name, job.trials),
        "submitted": BatchJob(job.name, job.trials, job.id),
        "fetched": BatchJob(job.name, job.trials, job.id, "completed"),
    }
    killed(run, job=states[moment], keep=2 if moment == "fetched" else 0)
    bench.run(suite, resume="last")
    assert len(service.jobs) == 1
    assert service.did("upload") == 1
    assert {p.text for p in read_run(run).values()} == {"2", "3", "4", "5"}


def test_a_job_whose_name_was_written_but_that_was_never_made_is_made(
    bench: Workbench, service: FireworksStandIn
) -> None:
    suite = bench.suite()
    run = bench.run(suite)
    (job,) = jobs_in(run)[0]
    killed(run, job=BatchJob("llmeval-never-made", job.trials), keep=0)
    bench.run(suite, resume="last")
    assert list(service.jobs) == [job.name, "llmeval-never-made"]
    assert len(read_run(run)) == 4


def test_a_job_that_is_gone_is_asked_anew_and_that_is_told(
    bench: Workbench, service: FireworksStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = bench.suite()
    run = bench.run(suite)
    (job,) = jobs_in(run)[0]
    killed(run, job=BatchJob(job.name, job.trials, job.id), keep=0)
    del service.jobs[job.name]
    capsys.readouterr()
    bench.run(suite, resume="last")
    assert f"m part 1: the batch job {job.id} is gone; asking anew" in capsys.readouterr().out
    assert [each.outcome for each in jobs_in(run)[0]] == ["gone", "completed"]
    assert len(read_run(run)) == 4


def test_how_a_job_gets_on_is_told(
    bench: Workbench, service: FireworksStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bench.run(bench.suite())
    ((job,),) = jobs_in(run)
    told = capsys.readouterr().out
    assert f"llmeval: m part 1: batch job {job.id} asks 4" in told
    assert f"llmeval: m part 1: batch job {job.id}: completed, 4 answered of 4" in told


def test_a_dry_run_goes_the_same_way_without_the_service(
    bench: Workbench, service: FireworksStandIn
) -> None:
    run = bench.run(bench.suite(), dry_run=True, parts=2)
    assert service.seen == []
    parts = manifest_of(run).parts
    assert [p.job_status for p in parts] == ["completed", "completed"]
    assert [len(jobs) for jobs in jobs_in(run)] == [1, 1]
    assert len(read_run(run)) == 4


def mistakes(bench: Workbench, suite: Path) -> list[str]:
    settings = bench.settings()
    run = Run(settings, print)
    run.begin(Selection(bench.trials(settings, suite)))
    run.abort()
    return settings.mistakes


def test_a_gate_on_the_latency_of_batches_is_refused_before_anything_is_sent(
    bench: Workbench, service: FireworksStandIn
) -> None:
    gates = [{"only": "m", "metric": "latency", "at_most": "2 s"}]
    (told,) = mistakes(bench, bench.suite(gates=gates))
    assert "m in suite sums has a gate on latency, and models.m is asked in batches" in told
    assert service.seen == []


def test_what_the_service_cannot_be_asked_is_refused_before_anything_is_sent(
    bench: Workbench, service: FireworksStandIn
) -> None:
    (told,) = mistakes(bench, bench.suite(exact=True))
    assert "The engine fireworks has no way of turning the prompt cache off" in told
    assert service.seen == []


def test_a_suite_that_may_stop_is_asked_in_full_and_says_why(
    bench: Workbench, service: FireworksStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = [{"only": "m", "metric": "exact", "at_least": 0.5}]
    run = bench.run(bench.suite(gates=gates, stop={"when": "decided"}))
    assert len(read_run(run)) == 4
    assert "m is asked in batches, whole parts at once" in capsys.readouterr().out


def test_a_job_is_gone_on_with_for_what_it_still_asks(bench: Workbench, make: type[Make]) -> None:
    trials = bench.trials(bench.settings(), bench.suite())
    ids = tuple(trial.id for trial in trials)

    def split(job: BatchJob | None, *known: Any) -> tuple[list[str], list[str]]:
        left = [t for t in trials if not any(p.trial_id == t.id and p.answer for p in known)]
        jobs = [job] if job else []
        both = split_by_job(jobs, left, {p.trial_id: p for p in known})
        return _items(both[0]), _items(both[1])

    answered, failed = make.answer(ids[0]), make.failure(ids[1])
    everything = ["add-1", "add-2", "add-3", "add-4"]
    assert split(None) == ([], everything)
    assert split(BatchJob("j", ids)) == (everything, [])
    assert split(BatchJob("j", ids), answered, failed) == (everything[1:], [])
    assert split(BatchJob("j", ids, "j", "completed"), answered, failed) == (
        ["add-3", "add-4"],
        ["add-2"],
    )
    assert split(BatchJob("j", ids[:2]), answered) == (["add-2"], ["add-3", "add-4"])
    assert split(BatchJob("j", ids, "j", "gone"), answered) == ([], everything[1:])


def _items(trials: list[Trial]) -> list[str]:
    return [trial.item.id for trial in trials]


def test_what_a_job_brought_for_nobody_is_told_of_its_part_in_every_session(
    bench: Workbench, service: FireworksStandIn
) -> None:
    service.faults.missing = frozenset({"sums::m::add-1"})
    service.faults.doubled = frozenset({"sums::m::add-3"})
    service.faults.unknown = ("who::is::this",)
    suite = bench.suite()
    run = bench.run(suite)
    service.faults.missing = service.faults.doubled = frozenset()
    service.faults.unknown = ()
    for _ in range(2):  # one that asks again, and one with nothing to ask
        bench.run(suite, resume="last")
        (part,) = manifest_of(run).parts
        assert (part.answered, part.discrepancy) == (
            4,
            "twice sums::m::add-3; unknown who::is::this",
        )
    assert not combine(run, datetime.now(timezone.utc)).is_balanced
    assert manifest_of(run).parts == (part,)
    again = rescore(
        run, run_dir=bench.root / "runs", root=bench.root, now=datetime.now(timezone.utc)
    )
    assert [each.discrepancy for each in manifest_of(again.folder.path).parts] == [part.discrepancy]


def test_a_run_whose_jobs_cannot_be_read_is_refused_and_stays_as_it_is(
    bench: Workbench, service: FireworksStandIn
) -> None:
    service.faults.missing = frozenset({"sums::m::add-1"})
    suite = bench.suite()
    run = bench.run(suite)
    (path,) = run.glob("*/parts/*.jobs.json")
    path.write_text("{", encoding="utf-8")
    before = read_manifest(run), sorted(run.rglob("*.csv"))
    settings = bench.settings(resume="last")
    refused = Run(settings, print)
    refused.begin(Selection(bench.trials(settings, suite)))
    (words,) = settings.mistakes
    assert words.startswith(f"{path}: holds no batch jobs")
    assert (read_manifest(run), sorted(run.rglob("*.csv"))) == before
    assert not is_being_written(run)
