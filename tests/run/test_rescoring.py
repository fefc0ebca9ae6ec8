"""A run judged again: new scores for the same answers, and nothing for any others."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import RunError, ScorerError, SuiteError
from pytest_llmeval.records import Metric
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import Journal, read_run
from pytest_llmeval.results.manifest import read_manifest, write_manifest
from pytest_llmeval.results.tables import read_predictions, read_table
from pytest_llmeval.run import Run, Selection, rescoring
from pytest_llmeval.run.rescoring import Rescored, rescore

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

ITEMS = [
    {"id": "right", "ask": "say 42", "answer": "42"},
    {"id": "wordy", "ask": "say It is 42.", "answer": "42"},
    {"id": "wrong", "ask": "say 41", "answer": "42"},
    {"id": "silent", "ask": "say", "answer": "42"},
    {"id": "broken", "ask": "break", "answer": "42"},
]
SCRIPT = [{"when": "^break", "fail": "refused"}, {"when": "^say ?(.*)", "text": r"\1"}]

Again = Callable[..., Rescored]


@pytest.fixture
def asked(bench: Workbench) -> Workbench:
    """A user's folder with a model that says what it is told to say, and fails when told to."""
    bench.config(models={"m": bench.script(SCRIPT), "n": bench.script([{"text": "42"}], "n.json")})
    return bench


@pytest.fixture
def again(asked: Workbench, now: datetime) -> Again:
    """Judge a run of that folder again."""

    def judge(run: Path, **options: Any) -> Rescored:
        given: dict[str, Any] = {"run_dir": asked.root / "runs", "root": asked.root, "now": now}
        return rescore(run, **(given | options))

    return judge


def suite(bench: Workbench, **keys: Any) -> Path:
    given = {"items": ITEMS, "prompt": "{{ ask }}", "score": "exact"}
    return bench.suite("sums", **(given | keys))


def outcomes(run: Path, condition: str = "m") -> dict[str, str]:
    rows = read_predictions(run)
    return {row["item_id"]: row["outcome"] for row in rows if row["condition"] == condition}


def metric(done: Rescored, scorer: str, condition: str = "m") -> Metric:
    found = {(m.scorer, m.condition): m for m in done.report.metrics}
    return found[scorer, condition]


def files(run: Path) -> dict[str, bytes]:
    paths = [path for path in run.rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


# New scores ---------------------------------------------------------------------------------------


def test_doubts_are_those_of_the_new_scores(asked: Workbench, again: Again) -> None:
    items = [{"id": f"i{n}", "ask": f"say It is {n}.", "answer": str(n)} for n in range(20)]
    run = asked.run(suite(asked, items=items, only="m"))
    assert [doubt.kind for doubt in read_manifest(run).doubts] == ["all_wrong"]
    suite(asked, items=items, only="m", score="numeric")
    done = again(run)
    assert [doubt.kind for doubt in read_manifest(done.folder.path).doubts] == ["all_right"]
    assert not any("not one of 20 items" in warning for warning in done.report.warnings)
    assert any("all 20 items are right" in warning for warning in done.report.warnings)


def test_a_new_scorer_judges_the_old_answers(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    assert outcomes(run)["wordy"] == "wrong"
    suite(asked, score=["numeric", "exact"])
    done = again(run)
    assert outcomes(done.folder.path) == {
        "right": "right",
        "wordy": "right",
        "wrong": "wrong",
        "silent": "no_answer",
        "broken": "failure",
    }
    assert metric(done, "numeric").right == 2
    assert metric(done, "exact").right == 1
    assert done.notes == (
        "sums: was scored by exact, version 1; now by numeric, version 1; exact, version 1",
    )


def test_a_failure_stays_a_failure_and_is_no_score(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    suite(asked, score="includes")
    found = metric(again(run), "includes")
    assert found.failures == {"refused": 1}
    assert (found.answered, found.trials) == (4, 5)


def test_comparisons_and_gates_are_made_of_the_new_scores(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    gates = [{"only": "n", "metric": "includes", "at_least": 0.3}]
    suite(asked, score="includes", gates=gates)
    done = again(run)
    (comparison,) = done.report.comparisons
    assert (comparison.scorer, comparison.only_first, comparison.only_second) == ("includes", 0, 2)
    assert [(gate.verdict, gate.gate.limit) for gate in done.report.gates] == [("pass", 0.3)]
    written = json.loads((done.folder.path / "significance.json").read_text(encoding="utf-8"))
    assert written["run"] == done.folder.id
    assert [gate["verdict"] for gate in written["gates"]] == ["pass"]


def test_the_same_scorers_give_the_same_tables(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    done = again(run)
    before, after = files(run), files(done.folder.path)
    same = [n for n in before if n.endswith((".csv", "combined.jsonl", "requests.jsonl"))]
    assert len(same) == 8
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["environment.json"] == before["environment.json"]
    assert read_run(run) == read_run(done.folder.path)
    assert done.notes == ()


def test_the_first_run_is_left_as_it_was(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    before = files(run)
    suite(asked, score="numeric")
    again(run)
    assert files(run) == before


def test_the_manifest_says_where_the_answers_come_from_and_by_what_they_are_judged(
    asked: Workbench, again: Again, now: datetime
) -> None:
    run = asked.run(suite(asked))
    suite(asked, score={"numeric": {"tolerance": 1}})
    done = again(run)
    first, second = read_manifest(run), read_manifest(done.folder.path)
    assert (first.rescored_from, second.rescored_from) == (None, run.name)
    (planned,) = second.plan.suites
    assert [(s.name, s.version, s.options) for s in planned.scorers] == [
        ("numeric", "1", {"tolerance": 1})
    ]
    assert second.models == first.models
    assert second.started == now.isoformat()
    assert second.status == "completed"
    assert f"the answers are those of the run {run.name}, judged again" in done.report.warnings


def test_a_rescored_run_can_be_rescored_and_names_the_first_one(
    asked: Workbench, again: Again
) -> None:
    run = asked.run(suite(asked))
    first = again(run)
    suite(asked, score="includes")
    second = again(first.folder.path)
    assert metric(second, "includes").right == 2
    assert read_manifest(second.folder.path).rescored_from == run.name
    assert second.report.warnings == first.report.warnings


def test_it_has_asked_nothing_itself_and_cannot_be_resumed(asked: Workbench, again: Again) -> None:
    path = suite(asked)
    run = asked.run(path)
    second = again(run, now=datetime.now(timezone.utc))
    settings = asked.settings(resume=second.folder.id)
    owner = Run(settings, print)
    owner.begin(Selection(asked.trials(settings, path)))
    owner.abort()
    (mistake,) = settings.mistakes
    assert mistake == (
        f"--llm-resume: the run {second.folder.id} was made by llmeval rescore and has asked "
        f"nothing itself; resume {run.name}, whose answers it has judged again"
    )


def test_repeats_and_a_limit_are_those_of_the_run(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked, repeats=2), limit=3)
    suite(asked, repeats=2, score="includes")
    done = again(run)
    assert metric(done, "includes").trials == 6
    assert read_manifest(done.folder.path).plan.limit == 3
    rows = read_table(done.folder.path / "m" / "per_item_scores.csv")
    assert [row["repeat"] for row in rows] == ["1", "2"] * 3


def test_several_samplings_are_taken_from_the_run_and_not_from_a_config(
    asked: Workbench, again: Again
) -> None:
    named = {"cold": {"max_tokens": 8, "stop": "x"}, "warm": {"max_tokens": 9, "repeats": 2}}
    asked.config(models={"m": asked.script(SCRIPT)}, sampling=named)
    run = asked.run(suite(asked))
    (asked.root / "local.yaml").unlink()
    done = again(run)
    assert {m.condition: m.trials for m in done.report.metrics} == {"m/cold": 5, "m/warm": 10}


# What was not asked -------------------------------------------------------------------------------


def test_what_was_not_asked_stays_unjudged_and_its_gate_undecided(
    asked: Workbench, again: Again
) -> None:
    gates = [{"only": "m", "metric": "exact", "at_least": 0.1}]
    path = suite(asked, gates=gates)
    run = asked.run(path, only=["sums::m::right", "sums::m::wordy"])
    done = again(run)
    assert set(outcomes(done.folder.path)) == {"right", "wordy"}
    (gate,) = done.report.gates
    assert (gate.verdict, gate.message) == (
        "inconclusive",
        "only 2 of its 5 trials were selected",
    )
    assert any("2 of 5 trials were selected" in warning for warning in done.report.warnings)


def test_a_run_that_stopped_is_judged_as_far_as_it_came(asked: Workbench, again: Again) -> None:
    gates = [{"only": "m", "metric": "exact", "at_least": 0.1}]
    run = asked.run(suite(asked, gates=gates), stopped="Ctrl-C")
    journal = run / "m" / "parts" / "part-0001.results.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    done = again(run)
    found = metric(done, "exact")
    assert (found.trials, found.answered) == (5, 2)
    assert found.incomplete
    assert done.report.gates[0].message == "the run stopped: Ctrl-C"
    assert read_manifest(done.folder.path).status == "running"


def test_a_dry_run_decides_no_gate_the_second_time_either(asked: Workbench, again: Again) -> None:
    gates = [{"only": "m", "metric": "exact", "at_least": 0.1}]
    run = asked.run(suite(asked, gates=gates), dry_run=True)
    assert again(run).report.gates[0].message == "a dry run measures nothing"


def test_a_run_that_is_being_written_is_left_alone(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    folder = RunFolder.open(run, ["m", "n"])
    with closing(Journal(folder)), pytest.raises(RunError, match="is being written"):
        again(run)
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == [run.name]


@pytest.mark.parametrize(("gone", "count"), [(["m", "n"], 10), (["n"], 5)])
def test_a_run_whose_requests_are_gone_says_so_and_leaves_no_folder(
    asked: Workbench, again: Again, gone: list[str], count: int
) -> None:
    run = asked.run(suite(asked))
    for condition in gone:
        (run / condition / "parts" / "part-0001.requests.jsonl").unlink()
    with pytest.raises(RunError) as refused:
        again(run)
    assert str(refused.value) == (
        f"the run {run.name} cannot be judged again: its requests are gone ({count} of 10), and "
        "they say what its answers are to. Put <condition>/parts/*.requests.jsonl back, or ask "
        "again"
    )
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == [run.name]


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("full"), RunError)]
)
def test_what_breaks_off_while_it_writes_leaves_no_half_made_run(
    asked: Workbench,
    again: Again,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    run = asked.run(suite(asked))

    def break_off(*_: object) -> None:
        raise error

    monkeypatch.setattr(rescoring, "write_artifacts", break_off)
    with pytest.raises(raised):
        again(run)
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == [run.name]


# Other questions ----------------------------------------------------------------------------------


def test_a_table_that_has_no_room_is_told_and_leaves_no_run_without_it(
    asked: Workbench, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    first = asked.run(suite(asked))
    monkeypatch.setattr("pytest_llmeval.results.tables._write_scores", full)
    with pytest.raises(RunError, match=r"per_item_scores.csv could not be written: No space left"):
        again(first)
    assert [path.name for path in (asked.root / "runs").iterdir() if path.is_dir()] == [first.name]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"items": ITEMS[:4]}, "suite sums: its dataset has changed"),
        (
            {"items": [{**ITEMS[0], "answer": "43"}, *ITEMS[1:]]},
            "suite sums: its dataset has changed",
        ),
        ({"prompt": "{{ ask }}!"}, "condition m in suite sums: its prompt has changed"),
        ({"sampling": {"max_tokens": 3}}, "sampling max_tokens was 16, is 3"),
        ({"repeats": 2}, "condition m in suite sums: repeats was 1, is 2"),
        ({"exact": True}, "condition m in suite sums: exact was false, is true"),
        ({"prompt": None, "prompts": {"a": "{{ ask }}"}}, "condition m in suite sums is gone"),
        ({"only": "n"}, "condition m in suite sums is gone"),
    ],
    ids=["an item less", "a target", "prompt", "sampling", "repeats", "exact", "name", "only"],
)
def test_answers_to_other_questions_are_refused_by_name(
    asked: Workbench, again: Again, changed: dict[str, Any], words: str
) -> None:
    run = asked.run(suite(asked))
    suite(asked, **changed)
    with pytest.raises(RunError) as refused:
        again(run)
    assert words in str(refused.value)
    assert f"the answers of the run {run.name} are to other questions" in str(refused.value)
    assert "Only scorers, gates and a suite's tags may change" in str(refused.value)
    assert len([path for path in run.parent.iterdir() if path.is_dir()]) == 1


PICKS = [{"id": "a", "ask": "say x", "options": ["x", "y"], "answer": "A"}]


def test_answers_are_no_likelihoods_and_likelihoods_of_some_texts_none_of_others(
    asked: Workbench, again: Again
) -> None:
    run = asked.run(suite(asked, items=PICKS, score="choice"))
    suite(asked, items=PICKS, score={"choice": "loglikelihood"})
    with pytest.raises(RunError, match="sums: it asked for answers, it asks for likelihoods"):
        again(run)
    run = asked.run(asked.root / "suites" / "sums.yaml")
    suite(asked, items=PICKS, score="choice_per_byte")
    assert metric(again(run), "choice_per_byte").right == 1
    suite(asked, items=PICKS, score={"choice_per_byte": {"options_as": "label"}})
    with pytest.raises(
        RunError, match="it asked for likelihoods, it asks for likelihoods of other"
    ):
        again(run)


def test_a_suites_tags_may_change(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    suite(asked, tags=["maths"])
    assert again(run).notes == ()


def test_another_suite_file_may_take_the_place_of_the_first(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    other = asked.write(
        "strict/sums.yaml", suite(asked, score="includes").read_text(encoding="utf-8")
    )
    suite(asked, items=ITEMS[:1])
    done = again(run, suite_files=[other])
    assert metric(done, "includes").right == 2
    assert read_manifest(done.folder.path).plan.suites[0].origin == "strict/sums.yaml"


def test_a_suite_file_of_another_name_is_refused_with_the_names_there_are(
    asked: Workbench, again: Again
) -> None:
    run = asked.run(suite(asked))
    with pytest.raises(RunError, match=r"sum\.yaml: unknown suite 'sum'; did you mean 'sums'"):
        again(run, suite_files=[asked.root / "sum.yaml"])


def test_a_suite_that_is_not_where_it_was_says_where_to_run_the_command(
    asked: Workbench, again: Again, tmp_path: Path
) -> None:
    run = asked.run(suite(asked))
    with pytest.raises(SuiteError, match=r"no such file; run this where the suites were run"):
        again(run, root=tmp_path / "elsewhere")


def test_marked_functions_are_left_out_and_named(asked: Workbench, again: Again) -> None:
    run = asked.run(suite(asked))
    manifest = read_manifest(run)
    (planned,) = manifest.plan.suites
    function = replace(planned, name="test_x.test_y", origin="tests/test_x.py::test_y")
    both = replace(manifest.plan, suites=(planned, function))
    write_manifest(run, replace(manifest, plan=both))
    note = "left out: tests/test_x.py::test_y is a function, judged by pytest itself"
    assert again(run).notes == (note,)
    write_manifest(run, replace(manifest, plan=replace(manifest.plan, suites=(function,))))
    with pytest.raises(RunError, match="only marked functions, which are judged by pytest itself"):
        again(run)


# Scorers ------------------------------------------------------------------------------------------


def test_a_scorer_that_nobody_knows_names_the_conftest_that_may_have_it(
    asked: Workbench, again: Again
) -> None:
    run = asked.run(suite(asked))
    path = suite(asked, score="shouts")
    line = path.read_text(encoding="utf-8").splitlines().index(' "score": "shouts"') + 1
    with pytest.raises(ScorerError) as refused:
        again(run)
    assert str(refused.value).startswith(f"suites/sums.yaml:{line}: no scorer is called 'shouts'")
    assert str(refused.value).endswith("One of your own is loaded with --scorers FILE.py")
    asked.write("conftest.py", "")
    with pytest.raises(ScorerError, match=r"--scorers conftest\.py$"):
        again(run)
    asked.write("suites/conftest.py", "")
    with pytest.raises(ScorerError, match=r"--scorers suites/conftest\.py$"):
        again(run)


def test_a_mistake_in_an_option_of_ours_sends_nobody_to_a_conftest(
    asked: Workbench, again: Again
) -> None:
    run = asked.run(suite(asked))
    suite(asked, score={"exact": {"ignore_cas": True}})
    with pytest.raises(ScorerError) as refused:
        again(run)
    assert "--scorers" not in str(refused.value)


def test_a_gate_on_a_metric_that_no_scorer_gives_any_more_is_a_mistake(
    asked: Workbench, again: Again
) -> None:
    gates = [{"only": "m", "metric": "exact", "at_least": 0.1}]
    run = asked.run(suite(asked, gates=gates))
    suite(asked, gates=gates, score="includes")
    with pytest.raises(SuiteError, match="exact"):
        again(run)


def test_a_run_that_stopped_early_is_judged_by_what_it_needed(
    bench: Workbench, now: datetime
) -> None:
    """The same figures, which hold at any item; nothing is incomplete and nothing asked in vain."""
    bench.config(models={"m": bench.script([{"text": "42"}])})
    items = [{"id": f"i{n:02}", "ask": f"{n}", "answer": "42"} for n in range(60)]
    keys = {
        "items": items,
        "stop": {"when": "decided"},
        "gates": [{"only": "m", "metric": "exact", "at_least": 0.5}],
    }
    run = bench.run(suite(bench, **keys))
    first = json.loads((run / "significance.json").read_text(encoding="utf-8"))
    done = rescore(run, run_dir=bench.root / "runs", root=bench.root, now=now)
    again = json.loads((done.folder.path / "significance.json").read_text(encoding="utf-8"))
    assert first["metrics"][0]["trials"] < 60
    assert again["metrics"][0]["interval"]["method"] == "robbins"
    assert not again["metrics"][0]["incomplete"]
    (part,) = read_manifest(done.folder.path).parts
    assert (part.job_status, part.not_needed + part.answered) == ("completed", 60)


SLOW_START: list[dict[str, Any]] = [
    {"when": "^3", "text": "wrong"},
    {"when": "[05]$", "text": "42", "latency": 0.02},
    {"text": "42"},
]


def stopped(bench: Workbench, **keys: Any) -> Path:
    """A run with many slots, whose answers come in any order, so that some are asked in vain."""
    fast = bench.script(SLOW_START)
    fast["slots"] = 16
    other = bench.script([{"text": "41"}], "n.json")
    bench.config(models={"m": fast, "n": other})
    items = [{"id": f"i{n:02}", "ask": f"{n}", "answer": "42"} for n in range(60)]
    return bench.run(suite(bench, items=items, stop={"when": "decided"}, **keys))


def judged(run: Path) -> dict[str, Any]:
    """What the tables and the figures of a run say, without its name and the selected gates."""
    content: dict[str, Any] = json.loads((run / "significance.json").read_text(encoding="utf-8"))
    del content["run"], content["gates"]
    rows = [(row["trial_id"], row["outcome"], row["reason"]) for row in read_predictions(run)]
    return content | {"rows": rows}


@pytest.mark.parametrize(
    "gates", [[], [{"only": "m", "metric": "exact", "at_least": 0.4}]], ids=["pair", "gate"]
)
def test_a_stopped_run_judged_again_by_the_same_scorers_says_the_same(
    bench: Workbench, again: Again, gates: list[Any]
) -> None:
    """Whatever was under way when it was decided, even where that joined on without a gap."""
    run = stopped(bench, gates=gates)
    first = judged(run)
    condition, unneeded = next(
        (row["condition"], row["trial_id"])
        for row in read_predictions(run)
        if row["reason"] == "not_needed"
    )
    known = read_run(run)
    if unneeded not in known:  # the first one that was not needed has an answer as well
        answer = next(p for i, p in known.items() if i.split("::")[1] == condition)
        with closing(Journal(RunFolder.open(run, ["m", "n"]))) as journal:
            journal.append(replace(answer, trial_id=unneeded))
    assert judged(again(run).folder.path) == first


def test_where_new_scorers_would_ask_for_more_what_was_asked_counts(
    bench: Workbench, again: Again
) -> None:
    """What comes behind the first gap counts nowhere, and nothing is incomplete for it."""
    run = stopped(bench, gates=[{"only": "m", "metric": "exact", "at_least": 0.4}])
    gates = [{"only": "m", "metric": "includes", "at_least": 0.99}]
    items = [{"id": f"i{n:02}", "ask": f"{n}", "answer": "42"} for n in range(60)]
    suite(bench, items=items, stop={"when": "decided"}, gates=gates, score="includes")
    done = again(run)
    found = metric(done, "includes")
    assert 0 < found.answered == found.trials < 60


def test_a_stopped_run_may_lose_its_gates(bench: Workbench, again: Again) -> None:
    run = stopped(bench, gates=[{"only": "m", "metric": "exact", "at_least": 0.4}], only="m")
    items = [{"id": f"i{n:02}", "ask": f"{n}", "answer": "42"} for n in range(60)]
    suite(bench, items=items, stop={"when": "decided"}, only="m")
    found = metric(again(run), "exact")
    assert found.interval.method == "robbins"
    assert not found.incomplete


def test_a_suite_that_was_asked_in_full_is_judged_as_such(bench: Workbench, again: Again) -> None:
    """It says `stop`, but only some of its trials were selected: nothing was followed."""
    bench.config(models={"m": bench.script([{"text": "42"}])})
    keys = {"stop": {"when": "decided"}}
    gates = [{"only": "m", "metric": "exact", "at_least": 0.4}]
    path = suite(bench, gates=gates, **keys)
    settings = bench.settings()
    trials = bench.trials(settings, path)[1:]
    run = Run(settings, print)
    run.begin(Selection(trials))
    for trial in trials:
        while run.wait(trial.id) is None:
            pass
    run.finish("")
    (folder,) = [path for path in (bench.root / "runs").iterdir() if path.is_dir()]
    assert read_manifest(folder).stopping == ()
    assert metric(again(folder), "exact").interval.method == "wilson"


@pytest.mark.parametrize("origin", ["../../elsewhere.yaml", "/etc/elsewhere.yaml"])
def test_a_run_of_somebody_else_does_not_say_which_file_is_read(
    asked: Workbench, again: Again, origin: str
) -> None:
    run = asked.run(suite(asked))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["plan"]["suites"][0]["origin"] = origin
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8", newline="")
    with pytest.raises(RunError) as caught:
        again(run)
    assert f"says that its suite sums is {origin!r}, which is outside of {asked.root}" in str(
        caught.value
    )
    assert "name the file yourself with --suite-file FILE" in str(caught.value)
