"""What a suite that may stop wants to know, model rotation included, and what is made of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.records import Prediction, Trial, Unneeded
from pytest_llmeval.results.journal import read_journal
from pytest_llmeval.results.manifest import DRY_RUN, read_manifest
from pytest_llmeval.run import Run, Selection, assembly
from pytest_llmeval.run.conclusion import worth_of
from pytest_llmeval.run.opening import open_ledger
from pytest_llmeval.run.stopping import stopping_of, wishes_of
from pytest_llmeval.run.verdicts import Grounds, decide
from pytest_llmeval.statistics.gates import Decision

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench

STOP = {"when": "decided"}
TWENTY = [{"id": f"i{n:02}", "a": n, "answer": "right"} for n in range(20)]
#: The model l answers all of them, s none.
SCRIPTS = {"l": '[{"text": "right"}]', "s": '[{"text": "wrong"}]'}


@pytest.fixture
def two(bench: Workbench) -> Workbench:
    """Two models that differ in everything."""
    for name, script in SCRIPTS.items():
        bench.write(f"{name}.json", script)
    models = {name: {"engine": "fake", "script": f"{name}.json", "slots": 2} for name in SCRIPTS}
    bench.config(models=models)
    return bench


def trials_of(bench: Workbench, **keys: Any) -> list[Trial]:
    made = {"items": TWENTY, "stop": STOP, **keys}
    return bench.trials(bench.settings(), bench.suite(**made))


# What is asked for --------------------------------------------------------------------------------


def test_a_condition_is_asked_for_its_gates_and_without_any_for_those_of_the_suite(
    two: Workbench,
) -> None:
    gates = [
        {"only": "l", "metric": "exact", "at_least": 0.5},
        {"only": "l", "metric": "exact", "at_least": 0.9},
    ]
    two.config(models={name: {"engine": "fake"} for name in ("l", "s", "t")})
    gates[1]["only"] = "t"
    wishes = wishes_of(trials_of(two, gates=gates), [["l", "s", "t"]])
    asked = {name: [q.conditions for q in wish.questions] for name, wish in wishes.items()}
    assert asked == {"l": [("l",)], "t": [("t",)], "s": [("l",), ("t",)]}
    assert not any(wish.fully for wish in wishes.values())


def test_under_rotation_who_is_asked_first_is_asked_in_full(two: Workbench) -> None:
    two.config(models={name: {"engine": "fake"} for name in ("l", "s", "t")})
    trials = trials_of(two)
    for rotation, fully in (
        ([["l", "s", "t"]], []),
        ([["l"], ["s", "t"]], ["l"]),
        ([["l"], ["s"], ["t"]], ["l", "s"]),
    ):
        wishes = wishes_of(trials, rotation)
        assert [name for name, wish in wishes.items() if wish.fully] == fully


def test_a_gate_of_its_own_lets_the_first_model_of_a_rotation_stop(two: Workbench) -> None:
    gates = [{"only": "l", "metric": "exact", "at_least": 0.5}]
    wishes = wishes_of(trials_of(two, gates=gates), [["l"], ["s"]])
    assert [wish.fully for wish in wishes.values()] == [False, False]
    gates[0]["only"] = "s"  # and now l waits for what s will be asked
    wishes = wishes_of(trials_of(two, gates=gates), [["l"], ["s"]])
    assert [wish.fully for wish in wishes.values()] == [True, False]


def test_a_suite_without_stop_is_not_followed(two: Workbench, now: datetime) -> None:
    trials = trials_of(two, stop=None)
    settings = two.settings()
    ledger = open_ledger(settings, trials, now)
    warned: list[str] = []
    stopping = stopping_of(settings, trials, ledger, warned.append)
    ledger.close({}, now, "")
    assert (stopping.suites, warned, ledger.manifest.rotation) == (frozenset(), [], ())
    assert ledger.manifest.stopping == ()


def test_the_manifest_names_the_suites_that_may_stop(two: Workbench, now: datetime) -> None:
    trials, settings = trials_of(two), two.settings()
    ledger = open_ledger(settings, trials, now)
    stopping_of(settings, trials, ledger, print)
    ledger.close({}, now, "")
    assert read_manifest(ledger.folder.path).stopping == ("sums",)


def test_a_session_warns_of_itself_and_of_a_dry_run_only(two: Workbench, now: datetime) -> None:
    """What an earlier session has warned of is said again where it still holds."""
    for resume in (None, "last", "last"):
        trials, settings = trials_of(two), two.settings(resume=resume, dry_run=True)
        ledger = open_ledger(settings, trials, now)
        ledger.settle({}, ended=False, warnings=["a server was started again"])
        ledger.finish(now, "interrupted")
        ledger.give_up()
    assert ledger.manifest.warnings == (DRY_RUN, "a server was started again")


# A whole run --------------------------------------------------------------------------------------


def finished(bench: Workbench, trials: list[Trial], **options: Any) -> Run:
    """A run to its end, every trial waited for as its test would."""
    run = Run(bench.settings(**options), print)
    run.begin(Selection(trials))
    assert not run.settings.mistakes
    for trial in trials:
        while run.wait(trial.id) is None:
            pass
    run.finish("")
    return run


def needed(run: Run) -> dict[str, int]:
    """How many items each condition needed, of those that were settled."""
    counts: dict[str, int] = {}
    for settled in run.news(0):
        name = settled.trial_id.split("::")[1]
        counts[name] = counts.get(name, 0) + (not isinstance(settled, Unneeded))
    return counts


def turns_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model take up all memory there is."""
    monkeypatch.setattr(assembly, "free_now", lambda: Memory(1, 0))
    monkeypatch.setattr(assembly, "memory_of", lambda *_, **__: Memory(1, 0))


def test_side_by_side_both_stop_and_in_turns_the_second_does(
    two: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert needed(finished(two, trials_of(two))) == {"l": 7, "s": 7}
    turns_by_turns(monkeypatch)
    assert needed(finished(two, trials_of(two))) == {"l": 20, "s": 7}


def test_the_rotation_of_the_first_session_holds_for_the_next(
    two: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns_by_turns(monkeypatch)
    run = finished(two, trials_of(two))
    (path,) = [path for path in (two.root / "runs").iterdir() if path.is_dir()]
    assert read_manifest(path).rotation == (("l",), ("s",))
    monkeypatch.undo()
    again = finished(two, trials_of(two), resume="last")
    assert needed(again) == needed(run)


def test_failures_that_nobody_needs_any_more_are_not_asked_again_and_stay_counted(
    two: Workbench, now: datetime, make: type[Make]
) -> None:
    settings, trials = two.settings(), trials_of(two)
    ledger = open_ledger(settings, trials, now)
    stopping_of(settings, trials, ledger, print)
    last = {trial.item.id for trial in trials[-2:]}
    for trial in trials:
        in_vain = trial.item.id in last
        text = "right" if trial.condition.model == "l" else "wrong"
        ledger.record(make.failure(trial.id) if in_vain else make.answer(trial.id, text))
    ledger.close({}, now, "interrupted")
    finished(two, trials, resume="last")
    manifest = read_manifest(ledger.folder.path)
    assert [(part.answered, part.failed) for part in manifest.parts] == [(18, 2), (18, 2)]
    assert len(read_journal(ledger.folder.results("l"))) == 20


def test_a_model_without_a_gate_is_asked_as_many_items_as_the_gates_took(
    two: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a later turn too, when the gates are decided before it is loaded."""
    turns_by_turns(monkeypatch)
    gates = [{"only": "l", "metric": "exact", "at_least": 0.5}]
    assert needed(finished(two, trials_of(two, gates=gates))) == {"l": 8, "s": 8}


def no_baseline(*_: object) -> Decision:
    raise AssertionError("this gate has no baseline")


def test_a_gate_of_another_kind_needs_everything(two: Workbench) -> None:
    gates = [
        {"only": "s", "metric": "exact", "at_least": 0.5},
        {"only": "l", "metric": "tokens", "at_most": 64},
    ]
    (question,) = wishes_of(trials_of(two, gates=gates), [["l", "s"]])["l"].questions
    assert question.needs_all


def test_stop_is_refused_where_no_gate_can_be_decided_early(two: Workbench) -> None:
    gates = [{"only": "l", "metric": "tokens", "at_most": 64}]
    with pytest.raises(SuiteError, match="none of the suite's gates can be decided early; only at"):
        trials_of(two, gates=gates)


# What it is worth ---------------------------------------------------------------------------------


def test_figures_of_a_suite_that_might_stop_hold_at_any_item(
    two: Workbench, make: type[Make]
) -> None:
    gates = [{"only": "l", "metric": "exact", "at_least": 0.5}]
    trials = trials_of(two, gates=gates)
    scores = {t.id: (make.score(1.0 if t.condition.model == "l" else 0.0),) for t in trials}
    stopped = worth_of(trials, scores, {"sums"})
    fixed = worth_of(trials, scores)
    assert [m.interval.method for m in stopped.metrics] == ["robbins", "robbins"]
    assert [m.interval.method for m in fixed.metrics] == ["wilson", "wilson"]
    assert [c.test for c in stopped.comparisons] == ["e-process"]
    assert [c.test for c in fixed.comparisons] == ["mcnemar mid-p"]
    suite, gate = trials[0].suite, trials[0].suite.gates[0]
    early, late = (
        decide(suite, gate, Grounds(trials, {}, scores, worth, no_baseline), stopped="").message
        for worth in (stopped, fixed)
    )
    assert early.endswith("decided after 8 items")
    assert "decided after" not in late


def test_the_order_of_the_suite_decides_whatever_order_the_trials_are_in(
    two: Workbench, make: type[Make]
) -> None:
    """--ff and --nf of pytest turn the tests round."""
    trials = trials_of(two)
    place = {item.id: place for place, item in enumerate(trials[0].suite.items)}
    scores = {
        t.id: (make.score(1.0 if t.condition.model == "l" and place[t.item.id] < 8 else 0.0),)
        for t in trials
    }
    (comparison,) = worth_of(trials, scores, {"sums"}).comparisons
    assert comparison.real
    assert worth_of(trials[::-1], scores, {"sums"}).comparisons == (comparison,)


def test_of_a_run_that_was_cut_short_what_came_before_the_first_gap_counts(
    two: Workbench, make: type[Make]
) -> None:
    """What came in beyond it was answered more quickly, and is no random sample."""
    trials = trials_of(two)
    scores = {t.id: (make.score(1.0),) for t in trials}
    del scores[trials[12].id]
    first, second = worth_of(trials, scores, {"sums"}).metrics
    assert (first.answered, first.trials, first.incomplete) == (12, 20, True)
    assert (second.answered, second.incomplete) == (20, False)
    assert worth_of(trials, scores).metrics[0].answered == 19


def test_graded_scores_are_told_by_betting(two: Workbench, make: type[Make]) -> None:
    trials = trials_of(two)
    worth = worth_of(trials, {t.id: (make.score(0.5),) for t in trials}, {"sums"})
    assert {m.interval.method for m in worth.metrics} == {"betting"}
    (comparison,) = worth.comparisons
    assert (comparison.test, comparison.only_first, comparison.p) == ("e-process", None, 1.0)


def test_the_alpha_of_the_suite_is_that_of_its_figures(two: Workbench, make: type[Make]) -> None:
    trials = trials_of(two, stop={"when": "decided", "alpha": 0.2})
    scores = {t.id: (make.score(float(t.condition.model == "l")),) for t in trials}
    worth = worth_of(trials, scores, {"sums"})
    assert {m.interval.level for m in worth.metrics} == {0.8}
    assert {c.alpha for c in worth.comparisons} == {0.2}


def test_a_part_counts_what_was_never_asked(two: Workbench, now: datetime) -> None:
    settings = two.settings()
    trials = trials_of(two)
    ledger = open_ledger(settings, trials, now)
    answered = {t.id: Prediction(t.id, None, None) for t in trials[:15]}
    unneeded = {t.id for t in trials[10:]}  # five of them were under way
    ledger.close(answered, now, "", unneeded=unneeded)
    first, second = ledger.manifest.parts
    assert (first.not_needed, second.not_needed) == (5, 20)
    assert (first.job_status, second.job_status) == ("completed", "completed")


def test_a_pair_that_might_stop_says_what_its_failures_could_do(
    two: Workbench, make: type[Make]
) -> None:
    """Missing are those that both were asked; an item that only one was asked is not dropped."""
    trials = trials_of(two)
    first, second = trials[:20], trials[20:]
    scores = {t.id: (make.score(1.0),) for t in first}
    scores |= {t.id: (make.score(0.0),) for t in second[:7]}
    (whole,) = worth_of([*first, *second[:7]], scores, {"sums"}).comparisons
    assert (whole.items, whole.dropped, whole.sensitivity, whole.real) == (7, 0, None, True)
    failed = {second[0].id: (make.score(None),)}
    (found,) = worth_of([*first, *second[:7]], scores | failed, {"sums"}).comparisons
    assert (found.items, found.dropped, found.real) == (6, 1, False)
    told = found.sensitivity
    assert told is not None
    assert (told.missing, told.tipping_count, told.best_for_first.significant) == (1, 1, True)
    assert told.complete_case.test == "e-process"


def test_an_item_counts_whole_or_not_at_all(two: Workbench, make: type[Make]) -> None:
    """Of a run that was cut short: a repeat that came in early is the quick one."""
    trials = trials_of(two, repeats=2)
    scores = {t.id: (make.score(1.0),) for t in trials[:9]}
    metric, _ = worth_of(trials, scores, {"sums"}).metrics
    assert (metric.answered, metric.items) == (8, 4)
