"""How a run begins: what is sent, in which turns, and what stops it before anything is sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import LlmevalError, RunError
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.records import Trial
from pytest_llmeval.results.finished import require_tables
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.run import Run, Selection, assembly, ending, owner
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.run.opening import open_ledger
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.scheduler import Scheduler
from tests.standins.nvml import Driver

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench

MODELS = Path(__file__).parents[2] / "models"
Begin = Callable[..., list[list[Lane]]]


@pytest.fixture
def begin(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Begin a run with so much free memory; the turns that the scheduler was given."""
    turns: list[list[Lane]] = []

    class Recorder:
        def __init__(self, given: list[list[Lane]], *_: object, **__: object):
            turns.extend(given)

        def start(self) -> None:
            """Send nothing."""

    monkeypatch.setattr(owner, "Scheduler", Recorder)

    def start(free: int = 2**60, *, trials: Sequence[Trial] | None = None, **options: Any) -> Any:
        monkeypatch.setattr(assembly, "free_now", lambda: Memory(free, 0))
        settings = bench.settings(**options)
        run = Run(settings, print)
        run.begin(Selection(bench.trials(settings, bench.suite()) if trials is None else [*trials]))
        assert not settings.mistakes
        return turns

    return start


def names(turns: list[list[Lane]]) -> list[list[str]]:
    return [[lane.model for lane in turn] for turn in turns]


def need(bench: Workbench) -> int:
    """The bytes of the larger of the two shipped models."""
    models = bench.settings().config.models.values()
    return max(need.ram for model in models if (need := memory_of(model)) is not None)


def test_models_that_fit_are_asked_side_by_side(bench: Workbench, begin: Begin) -> None:
    bench.config(models=bench.real("tiny-l", "tiny-s"))
    assert names(begin(3 * need(bench))) == [["tiny-l", "tiny-s"]]


def test_models_that_do_not_fit_together_take_turns(bench: Workbench, begin: Begin) -> None:
    bench.config(models=bench.real("tiny-l", "tiny-s"))
    assert names(begin(need(bench))) == [["tiny-l"], ["tiny-s"]]


@pytest.mark.parametrize(
    ("free", "turns"),
    [(16, [["a", "b"]]), (12, [["a"], ["b"]]), (4, [["a"], ["b"]]), (0, [["a"], ["b"]])],
)
def test_models_take_turns_on_a_gpu_that_has_no_room_for_both(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, free: int, turns: list[list[str]]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver(cards=1, free=free * 2**30))
    keys = {"engine": "llama-server", "gguf": str(MODELS / "tiny-s.gguf"), "memory": "8 GiB"}
    bench.config(models={"a": keys, "b": keys})
    settings = bench.settings()
    rotation = assembly.rotation_of(settings, bench.trials(settings, bench.suite()))
    assert [list(turn) for turn in rotation] == turns


def test_a_model_that_does_not_fit_at_all_gets_a_turn_too(bench: Workbench, begin: Begin) -> None:
    bench.config(models=bench.real("tiny-s"))
    assert names(begin(0)) == [["tiny-s"]]


def test_an_adopted_endpoint_needs_no_room(bench: Workbench, begin: Begin) -> None:
    adopted = {"engine": "openai", "url": "http://127.0.0.1:9/v1"}
    bench.config(models={**bench.real("tiny-s"), "adopted": adopted})
    assert names(begin(need(bench))) == [["tiny-s", "adopted"]]


def test_a_dry_run_loads_nothing_and_needs_no_turns(bench: Workbench, begin: Begin) -> None:
    bench.config(models=bench.real("tiny-l", "tiny-s"))
    assert names(begin(0, dry_run=True)) == [["tiny-l", "tiny-s"]]


def test_trials_that_were_answered_are_not_asked_again(
    bench: Workbench, begin: Begin, now: datetime, make: type[Make]
) -> None:
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    ledger = open_ledger(settings, trials, now)
    ledger.record(make.answer(trials[0].id))
    ledger.record(make.failure(trials[1].id))
    ledger.close({}, now, "interrupted")
    ((lane,),) = begin(resume="last")
    assert [trial.id for trial in lane.trials] == [trial.id for trial in trials[1:]]


@pytest.mark.parametrize(("exact", "expected"), [(True, 1), (False, 3)])
def test_one_exact_suite_makes_its_models_lane_exact(
    bench: Workbench, begin: Begin, expected: int, *, exact: bool
) -> None:
    bench.config(models=bench.real("tiny-s"))
    trials = bench.trials(bench.settings(), bench.suite("one", exact=exact), bench.suite("two"))
    ((lane,),) = begin(trials=trials)
    assert lane.in_flight() == expected


def test_no_request_waits_at_a_server_whose_latency_a_gate_is_about(
    bench: Workbench, begin: Begin
) -> None:
    bench.config(models=bench.real("tiny-l", "tiny-s"))
    gate = {"only": "tiny-s", "metric": "latency", "at_most": "2 s"}
    trials = bench.trials(bench.settings(), bench.suite("one", gates=[gate]), bench.suite("two"))
    lanes = {lane.model: lane for turn in begin(trials=trials) for lane in turn}
    assert (lanes["tiny-l"].in_flight(), lanes["tiny-s"].in_flight()) == (3, 2)


def test_no_request_waits_at_a_server_that_is_asked_for_likelihoods(
    bench: Workbench, begin: Begin
) -> None:
    """It would take the slot in whose cache the next option's prompt is."""
    bench.config(models=bench.real("tiny-s"))
    items = [{"id": "x", "a": 1, "options": ["1", "2"], "answer": "A"}]
    suite = bench.suite(items=items, score={"choice": "loglikelihood"})
    ((lane,),) = begin(trials=bench.trials(bench.settings(), suite))
    assert lane.in_flight() == 2


def test_mistakes_are_told_and_nothing_is_written(bench: Workbench) -> None:
    settings = bench.settings()
    run = Run(settings, print)
    trials = bench.trials(settings, bench.suite())
    run.begin(Selection(trials, mistakes=["suites/x.yaml:3: a mistake"]))
    assert settings.mistakes == ["suites/x.yaml:3: a mistake"]
    assert not (bench.root / "runs").exists()
    with pytest.raises(LlmevalError, match="the run has not begun"):
        run.wait(trials[0].id)
    run.abort()
    run.finish("")
    assert run.summary(80, colour=False, encoding="utf-8") == []


def test_a_key_that_is_missing_is_told_before_a_folder_is_made(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMEVAL_TEST_KEY", raising=False)
    adopted = {"engine": "openai", "url": "http://127.0.0.1:9", "api_key_env": "LLMEVAL_TEST_KEY"}
    bench.config(models={"m": adopted})
    settings = bench.settings()
    Run(settings, print).begin(Selection(bench.trials(settings, bench.suite())))
    assert "LLMEVAL_TEST_KEY" in settings.mistakes[0]
    assert not (bench.root / "runs").exists()


def test_a_run_of_the_fake_engine_goes_from_begin_to_summary(bench: Workbench) -> None:
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    run = Run(settings, print)
    run.begin(Selection(trials))
    run.begin(Selection(trials[:1]))  # the first worker that has collected decides
    for trial in trials:
        while run.wait(trial.id) is None:
            pass
    run.finish("")
    run.abort()  # harmless afterwards
    assert [prediction.trial_id for prediction in run.news(2)] == [t.id for t in trials[2:]]
    assert "4 trials" in run.summary(80, colour=False, encoding="utf-8")[0]


@pytest.mark.parametrize("moment", ["selected_parts", "worth_of", "report_of", "write_artifacts"])
def test_an_interrupt_while_the_run_concludes_is_told_and_the_run_can_be_continued(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before its journal is closed and after: every answer is kept, and only tables are missing."""
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    run = Run(settings, print)
    run.begin(Selection(trials))
    for trial in trials:
        while run.wait(trial.id) is None:
            pass

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ending, moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.finish("")
    folder = Path(run.describe(None)["folder"])
    assert run.summary(80, colour=False, encoding="utf-8") == [
        f"llmeval: continue with --llm-resume {folder.name}, and else the same command"
    ]
    manifest = read_manifest(folder)
    assert (manifest.exit_reason, manifest.status) == ("interrupted", "completed")
    assert not is_being_written(folder)
    run.abort()  # as pytest does when it ends
    assert read_manifest(folder) == manifest
    with pytest.raises(RunError, match=f"the same command with --llm-resume {folder.name}"):
        require_tables(folder)
    bench.run(bench.root / "suites" / "sums.yaml", resume=folder.name)
    require_tables(folder)
    assert read_manifest(folder).exit_reason == "finished"


def test_an_interrupt_while_servers_end_leaves_the_end_to_the_next_call(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = bench.settings()
    run = Run(settings, print)
    run.begin(Selection(bench.trials(settings, bench.suite())))

    def interrupt(_: Scheduler) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "stop", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.abort()
    run.abort()
    folder = Path(run.describe(None)["folder"])
    assert read_manifest(folder).exit_reason == "interrupted"
    assert not is_being_written(folder)
