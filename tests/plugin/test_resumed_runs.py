"""Going on with a run: which one, what was found, and what a changed one leaves to the next."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import write_manifest
from pytest_llmeval.results.ownership import Ownership, is_being_written
from pytest_llmeval.run import opening
from pytest_llmeval.run.going_back import Earlier, find_earlier

if TYPE_CHECKING:
    from pytest_llmeval.records import Prediction
    from tests.plugin.conftest import Project

TAKE_OVER = ("--llm-set", "resume.changed=take_over")


@pytest.fixture
def half(project: Project) -> Project:
    """A project with a run of two answered trials and a failed one; now all would be answered."""
    project.suite(items=[project.right("a"), project.right("b"), project.broken("c")])
    project.run()
    project.script([{"when": "^(say )?yes", "text": "yes"}, {"when": "", "text": "mended"}])
    return project


def ids(project: Project) -> list[str]:
    return sorted(path.name for path in (project.root / "runs").iterdir() if path.is_dir())


def texts(project: Project) -> dict[str, str]:
    return {row["item_id"]: row["text"] for row in project.rows("predictions")}


def killed(project: Project, item: str) -> None:
    """What a kill before an item's answer leaves of the newest run."""
    run = project.latest_run()
    (journal,) = run.glob("*/parts/*.results.jsonl")
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if f"::{item}" not in line), "utf-8")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"exit_reason": None, "finished": None}
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_it_says_how_much_was_answered_what_is_asked_again_and_how_it_ended(half: Project) -> None:
    killed(half, "b")
    result = half.run("--llm-resume", "last")
    (run,) = ids(half)
    words = (
        f"going on with the run {run}: 1 of 3 trials are answered, 1 failed and are asked again, "
        "1 were not asked; it ended: killed, or it could write no more"
    )
    result.stdout.fnmatch_lines([f"llmeval: {words}"])
    assert texts(half) == {"a": "yes", "b": "yes", "c": "mended"}


def test_last_passes_over_newer_runs_of_other_plans_and_finished_ones(half: Project) -> None:
    (first,) = ids(half)
    half.run("--llm-limit", "1")
    half.run()
    _, other, whole = ids(half)
    result = half.run("--llm-resume", "last")
    words = (
        f"Passed over: the run {whole} has all its answers; "
        f"the run {other} asked something else: --llm-limit was 1, is not given"
    )
    result.stdout.fnmatch_lines([f"llmeval: going on with the run {first}: 2 of 3*. {words}"])


def test_where_nothing_is_left_to_ask_the_newest_run_of_the_plan_is_written_again(
    project: Project,
) -> None:
    project.suite(items=[project.right("a")])
    project.run()
    project.run()
    newest = ids(project)[-1]
    shutil.rmtree(project.latest_run() / "reports")
    result = project.run("--llm-resume", "last")
    assert result.ret == 0
    words = (
        f"going on with the run {newest}: 1 of 1 trials are answered, so none is asked; tables and "
        "reports are written again"
    )
    result.stdout.fnmatch_lines([f"llmeval: {words}"])
    assert (project.root / "runs" / newest / "reports" / "report.md").exists()


def test_last_passes_over_a_run_that_is_being_written(half: Project) -> None:
    (first,) = ids(half)
    half.script([{"when": "", "fail": "refused"}])
    half.run()
    half.script([{"when": "", "text": "yes"}])
    newest = half.root / "runs" / ids(half)[-1]
    owner = Ownership(newest)
    result = half.run("--llm-resume", "last")
    owner.give_up()
    words = f"Passed over: the run {newest.name} is being written by another process"
    result.stdout.fnmatch_lines([f"llmeval: going on with the run {first}: *. {words}"])


def test_where_there_is_no_run_of_the_plan_each_of_the_newest_says_why_it_is_none(
    half: Project,
) -> None:
    (first,) = ids(half)
    half.run("--llm-dry-run")
    half.run("--llm-set", "sampling.max_tokens=9")
    _, second, third = ids(half)
    result = half.run("--llm-resume", "last", "--llm-set", "sampling.max_tokens=5")
    assert result.ret == 4
    words = result.stderr.str()
    assert f"the run {third} asked something else: config: sampling.max_tokens was 9, is 5" in words
    assert f". Before it: the run {second} was a dry run, and this is none" in words
    assert f". Before it: the run {first} asked something else: config: sampling" in words
    assert "let a new run take over the answers to what is still asked the same: --llm-set" in words


def test_another_limit_is_told_as_such_and_not_as_other_datasets(half: Project) -> None:
    result = half.run("--llm-resume", "last", "--llm-limit", "1")
    assert result.ret == 4
    words = result.stderr.str()
    assert "asked something else: --llm-limit was not given, is 1. Undo that" in words
    assert "dataset" not in words


def test_of_many_differences_some_are_told_and_the_rest_counted(half: Project) -> None:
    changes = [f"sampling.{key}" for key in ("max_tokens=9", "top_p=0.5", "top_k=3", "min_p=0.1")]
    result = half.run("--llm-resume", "last", *(x for c in changes for x in ("--llm-set", c)))
    assert result.ret == 4
    assert re.search(r"asked something else: .*; .*; .*; and \d more\. Undo", result.stderr.str())


# Taking over --------------------------------------------------------------------------------------


def test_a_new_run_takes_over_what_is_still_asked_the_same_and_asks_the_rest(
    half: Project,
) -> None:
    (first,) = ids(half)
    before = {path: path.read_bytes() for path in files(half.root / "runs" / first)}
    half.script([{"when": "", "text": "new"}])
    half.suite(items=[half.right("a"), half.wrong("b"), half.broken("c"), half.right("d")])
    result = half.run("--llm-resume", "last", *TAKE_OVER)
    words = (
        f"the run {first} asked something else: suite arithmetic: its dataset has changed*. A new "
        "run takes over its answers to 1 of 4 trials, and asks the others"
    )
    result.stdout.fnmatch_lines([f"llmeval: {words}"])
    assert texts(half) == {"a": "yes", "b": "new", "c": "new", "d": "new"}
    assert half.manifest()["taken_over_from"] == first
    assert {path: path.read_bytes() for path in files(half.root / "runs" / first)} == before


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("key", ["sampling.max_tokens=9", "sampling.seed=3", "models.m.slots=3"])
def test_no_answer_is_taken_over_from_another_sampling_or_another_setting_of_the_model(
    half: Project, key: str
) -> None:
    half.script([{"when": "", "text": "new"}])
    result = half.run("--llm-resume", "last", *TAKE_OVER, "--llm-set", key)
    result.stdout.fnmatch_lines(["*takes over its answers to 0 of 3 trials*"])
    assert set(texts(half).values()) == {"new"}


def test_who_waits_longer_keeps_the_answers_that_came_in_time(half: Project) -> None:
    half.script([{"when": "", "text": "new"}])
    result = half.run("--llm-resume", "last", *TAKE_OVER, "--llm-set", "models.m.timeout=99")
    result.stdout.fnmatch_lines(["*takes over its answers to 2 of 3 trials*"])
    assert list(texts(half).values()) == ["yes", "yes", "new"]


def test_another_build_of_the_server_goes_on_in_a_new_run_only(half: Project) -> None:
    half.script([{"when": "", "text": "new"}])
    (run,) = ids(half)
    path = half.root / "runs" / run / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["models"][0]["server"] = "fake of last week"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    words = "the run has answers of m as something else: build fake of last week and fake."
    refused = half.run("--llm-resume", "last")
    assert refused.ret == pytest.ExitCode.TESTS_FAILED
    assert words in " ".join(refused.stdout.str().split())
    half.suite(items=[half.right("a"), half.right("d")])
    assert half.run("--llm-resume", "last", *TAKE_OVER).ret == pytest.ExitCode.OK
    assert texts(half) == {"a": "yes", "d": "new"}
    assert half.manifest()["models"][0]["server"] == "fake"


def test_a_run_that_was_renamed_is_told_by_the_name_that_it_has(half: Project) -> None:
    killed(half, "b")
    (run,) = ids(half)
    (half.root / "runs" / run).rename(half.root / "runs" / "before-lunch")
    result = half.run("--llm-resume", "last")
    result.stdout.fnmatch_lines(["llmeval: going on with the run before-lunch: 1 of 3 trials*"])


def test_a_suite_that_stops_early_takes_nothing_over_when_its_rule_has_changed(
    half: Project,
) -> None:
    half.script([{"when": "", "text": "yes"}])
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.5}
    half.suite(
        items=[half.right("a"), half.right("b"), half.right("c")],
        stop={"when": "decided"},
        gates=[gate],
    )
    result = half.run("--llm-resume", "last", *TAKE_OVER)
    result.stdout.fnmatch_lines(["*takes over its answers to 0 of 3 trials*"])


def test_a_run_that_took_over_is_resumed_as_any_other(half: Project) -> None:
    half.suite(items=[half.right("a"), half.broken("c"), half.right("d")])
    half.run("--llm-resume", "last", *TAKE_OVER)
    killed(half, "d")
    second = half.latest_run().name
    result = half.run("--llm-resume", "last")
    result.stdout.fnmatch_lines([f"llmeval: going on with the run {second}: 2 of 3 trials are*"])
    assert texts(half) == {"a": "yes", "c": "mended", "d": "yes"}


def test_with_nothing_changed_the_run_itself_goes_on(half: Project) -> None:
    (first,) = ids(half)
    half.run("--llm-resume", "last", *TAKE_OVER)
    assert ids(half) == [first]


def test_a_word_that_the_key_does_not_know_is_told_with_those_it_knows(half: Project) -> None:
    result = half.run("--llm-resume", "last", "--llm-set", "resume.changed=takeover")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*resume.changed: unknown value 'takeover'; did you mean 'take_over'? (*"]
    )


def test_what_a_kill_left_half_written_beside_the_tables_is_swept_away(half: Project) -> None:
    run = half.latest_run()
    for stray in (run / ".manifest.json.0123abcd.tmp", run / "m--plain" / ".x.csv.0123abcd.tmp"):
        stray.write_text("half", encoding="utf-8")
    mine = run / ".mine.tmp"
    mine.write_text("not of ours", encoding="utf-8")
    half.run("--llm-resume", "last")
    assert [path.name for path in run.rglob("*.tmp")] == [mine.name]


def test_a_run_is_not_gone_on_with_where_secrets_are_now_taken_out_of_answers(
    half: Project,
) -> None:
    result = half.run("--llm-resume", "last", "--llm-set", "redact=predictions")
    assert result.ret == 4
    result.stderr.fnmatch_lines(['*asked something else: config: redact is new: "predictions"*'])


def test_answers_that_are_taken_over_lose_their_secrets_where_predictions_are_redacted(
    project: Project,
) -> None:
    item = {"id": "a", "question": "say sk-proj-abc123DEF456ghi", "answer": "yes"}
    project.suite(items=[item])
    project.run()
    project.run("--llm-resume", "last", *TAKE_OVER, "--llm-set", "redact=predictions")
    assert texts(project) == {"a": "[redacted]"}
    assert "abc123DEF456ghi" not in str(project.journal())


def test_answers_whose_secrets_were_taken_out_are_not_taken_over_as_if_they_were_whole(
    project: Project,
) -> None:
    item = {"id": "a", "question": "say sk-proj-abc123DEF456ghi", "answer": "yes"}
    project.suite(items=[item])
    project.run("--llm-set", "redact=predictions")
    result = project.run("--llm-resume", "last", *TAKE_OVER)
    result.stdout.fnmatch_lines(["*takes over its answers to 0 of 1 trials*"])
    assert texts(project) == {"a": "sk-proj-abc123DEF456ghi"}


def test_a_run_that_was_killed_while_it_took_answers_over_leaves_them_to_the_next(
    half: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not all of them, and must not be taken for the run to go on with."""
    seen = []

    def look(run: Path) -> dict[str, Prediction]:
        seen.append((run / "manifest.json").exists())
        return read_run(run)

    monkeypatch.setattr("pytest_llmeval.run.opening.read_run", look)
    half.suite(items=[half.right("a"), half.wrong("b"), half.broken("c"), half.right("d")])
    half.run("--llm-resume", "last", *TAKE_OVER)
    assert seen == [False]


def test_tests_that_were_not_selected_then_are_another_plan_although_there_are_as_many(
    project: Project,
) -> None:
    project.suite(items=[project.right("first"), project.right("second")])
    project.run("-k", "first")
    result = project.run("-k", "second", "--llm-resume", "last")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*as many trials are selected as then (1), but not the same*"])
    assert list(texts(project)) == ["first"]
    project.run("-k", "first", "--llm-resume", "last").assert_outcomes(passed=1, deselected=1)


def test_a_run_that_another_process_has_just_written_is_not_gone_on_with(
    half: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended while its lock was waited for: what was read of it before does not hold."""
    (name,) = ids(half)

    def meanwhile(*arguments: Any) -> Earlier:
        earlier = find_earlier(*arguments, take_over=False)
        manifest = replace(earlier.manifest, exit_reason="finished", doubts=())
        write_manifest(earlier.path, replace(manifest, rotation=(("m",),)))
        return earlier

    monkeypatch.setattr(opening, "find_earlier", lambda *a, **_: meanwhile(*a))
    result = half.run("--llm-resume", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*another process has written the run {name} in this very*"])
    assert not is_being_written(half.root / "runs" / name)


def test_what_a_judge_said_that_is_no_longer_asked_does_not_count_among_the_trials(
    project: Project,
) -> None:
    config = {
        "models": {
            "m": {"engine": "fake", "script": "script.json", "slots": 4},
            "wise": {"engine": "fake", "script": "wise.json", "role": "judge"},
        },
        "judge": "wise",
        "failures": {"at_most": 0.3},
    }
    project.config(**config)
    project.write("wise.json", json.dumps([{"text": '{"verdict": "pass"}'}]))
    items = [project.right("a"), project.right("b"), project.broken("c")]
    project.suite(items=items, score=["exact", "judge"])
    project.run()
    project.suite(items=items, score="exact")
    result = project.run("--llm-resume", "last")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 of 3 trials failed*"])
