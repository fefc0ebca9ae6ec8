"""A recorded run is played again: scored and held to gates, and no model is asked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.results.manifest import read_manifest, write_manifest
from pytest_llmeval.results.ownership import Ownership
from tests.plugin.conftest import SCRIPT

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

#: What a model says that must not be asked.
UNREACHABLE = [{"when": "", "fail": "refused"}]

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

TIMES = ("queued_ms", "first_token_ms", "total_ms")


@pytest.fixture
def recorded(project: Project) -> Project:
    """A project with a run of three right, one wrong and one failed trial, and its cassette.

    Afterwards nobody answers any more: whatever is asked is refused.
    """
    items = [*map(project.right, ("a", "b", "c")), project.wrong("d"), project.broken("e")]
    gate = {"only": "m/plain", "metric": "exact", "at_least": 0.1}
    project.suite(items=items, gates=[gate])
    assert project.run().ret == 1  # a failed trial is an error
    cassette(project, "last", "smoke.jsonl")
    project.script(UNREACHABLE)
    return project


def cassette(project: Project, run: str, file: str) -> str:
    """`llmeval cassette RUN FILE` in the project's folder."""
    done = CliRunner().invoke(
        app, ["cassette", run, str(project.root / file), "--run-dir", str(project.root / "runs")]
    )
    return done.output


def outcomes(project: Project) -> dict[str, tuple[str, str]]:
    return {row["item_id"]: (row["outcome"], row["reason"]) for row in project.rows("predictions")}


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: row[key] for key in row if key not in (*TIMES, "origin")} for row in rows]


@pytest.mark.parametrize("replay", ["smoke.jsonl", "last"])
def test_a_recording_is_scored_and_gated_as_the_run_was(recorded: Project, replay: str) -> None:
    before = recorded.rows("predictions")
    first = recorded.latest_run().name
    result = recorded.run("--llm-set", f"replay={replay}", "-v")
    assert result.ret == 1
    after = recorded.rows("predictions")
    assert without_times(after) == without_times(before)
    assert {row["origin"] for row in after} == {"recording", ""}
    assert [row["total_ms"] for row in after] == [row["total_ms"] for row in before]
    result.stdout.fnmatch_lines(
        [
            f"*no model is asked: recorded answers of {replay}",
            "*suites/arithmetic.yaml::gates::m/plain.at_least PASSED*",
            "*3/4 *75.0*",
        ]
    )
    assert recorded.manifest()["replayed_from"] == first


def test_last_is_the_newest_run_that_has_asked_not_one_that_played_a_part_of_it(
    recorded: Project,
) -> None:
    first = recorded.latest_run().name
    recorded.run("--llm-set", "replay=last", "--llm-limit", "2")
    recorded.run("--llm-dry-run")
    recorded.run("--llm-set", "replay=last")
    assert outcomes(recorded)["a"] == ("right", "")
    assert "not_recorded" not in {reason for _, reason in outcomes(recorded).values()}
    said = cassette(recorded, "last", "again.jsonl")
    assert f"5 predictions of the run {first}, 1 of them failures" in said


def test_last_is_no_run_that_is_still_being_asked(recorded: Project) -> None:
    first = recorded.latest_run().name
    recorded.run("--llm-limit", "1")
    owner = Ownership(recorded.latest_run())
    recorded.run("--llm-set", "replay=last")
    owner.give_up()
    played = max(recorded.root.glob("runs/*/manifest.json"))
    assert read_manifest(played.parent).replayed_from == first


def test_a_replay_that_was_cut_short_is_played_again_and_not_resumed(recorded: Project) -> None:
    result = recorded.run("--llm-set", "replay=last", "-x")
    words = "play the recording again with the same command"
    result.stdout.fnmatch_lines([f"llmeval: {words}"])
    result.stdout.no_fnmatch_line("*--llm-resume*")


def test_a_reader_of_the_report_learns_that_no_model_was_asked(recorded: Project) -> None:
    first = recorded.latest_run().name
    recorded.run("--llm-set", "replay=smoke.jsonl")
    words = f"the answers are those of the run {first}: no model was asked"
    assert words in recorded.manifest()["warnings"]
    report = (recorded.latest_run() / "reports" / "report.md").read_text(encoding="utf-8")
    assert words in report


def test_other_gates_and_scorers_judge_the_same_answers(recorded: Project) -> None:
    items = [*map(recorded.right, ("a", "b", "c")), recorded.wrong("d"), recorded.broken("e")]
    gate = {"only": "m/plain", "metric": "includes", "at_least": 0.99}
    recorded.suite(items=items, score="includes", gates=[gate])
    result = recorded.run("--llm-set", "replay=smoke.jsonl")
    result.stdout.fnmatch_lines(["FAIL * arithmetic m/plain at least 0.99: upper bound 0.955*"])
    assert {row["scorer"] for row in recorded.rows("per_item_scores")} == {"includes"}


def test_a_trial_that_was_not_recorded_is_a_failure_of_that_name(recorded: Project) -> None:
    recorded.suite(items=[recorded.right("a"), recorded.right("new")])
    result = recorded.run("--llm-set", "replay=smoke.jsonl")
    assert result.ret == 1
    assert outcomes(recorded) == {"a": ("right", ""), "new": ("failure", "not_recorded")}
    result.stdout.fnmatch_lines(
        ["*has no prediction of this trial. Run it with its models, and record that: *"]
    )


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("prompt", {"prompts": {"plain": "Please: {{ question }}"}}),
        ("sampling", {"sampling": {"max_tokens": 15}}),
        ("tools", {"tools": [TOOL]}),
    ],
)
def test_no_answer_is_given_to_another_question(
    recorded: Project, what: str, keys: dict[str, Any]
) -> None:
    recorded.suite(items=[recorded.right("a")], **keys)
    result = recorded.run("--llm-set", "replay=smoke.jsonl")
    assert outcomes(recorded) == {"a": ("failure", "not_recorded")}, what
    result.stdout.fnmatch_lines(["*answers another question: what this trial asks has changed*"])


def test_neither_the_model_files_nor_the_keys_need_to_be_there(
    recorded: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    absent = {"engine": "openai", "url": "http://127.0.0.1:9", "api_key_env": "NO_SUCH_KEY"}
    recorded.config(models={"m": absent})
    path = recorded.root / "smoke.jsonl"
    record_for_openai(path, recorded)
    recorded.suite(items=[recorded.right("a")])
    recorded.run("--llm-set", "replay=smoke.jsonl")
    assert outcomes(recorded) == {"a": ("right", "")}


def record_for_openai(path: Path, project: Project) -> None:
    """Record the same answers for an endpoint whose requests have another form."""
    from pytest_llmeval.results.cassettes import question_hash

    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    run = next(p for p in (project.root / "runs").iterdir() if p.is_dir())
    requests = next(run.glob("*/parts/*.requests.jsonl")).read_text(encoding="utf-8").splitlines()
    bodies = {r["custom_id"]: r["body"] for r in map(json.loads, requests)}
    for line in lines[1:]:
        body = dict(bodies[line["custom_id"]])
        body.pop("cache_prompt", None)
        line["question"] = question_hash(body)
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8", newline="\n")


def test_workers_of_xdist_play_it_too(recorded: Project) -> None:
    before = without_times(recorded.rows("predictions"))
    result = recorded.run("--llm-set", "replay=smoke.jsonl", "-n", "2")
    assert result.ret == 1
    assert without_times(recorded.rows("predictions")) == before


def test_what_a_judge_said_is_told_again_and_what_it_did_not_say_is_missing(
    project: Project,
) -> None:
    judge = {"engine": "fake", "script": "judge.json", "role": "judge"}
    project.config(models={"m": {"engine": "fake", "script": "script.json"}, "j": judge}, judge="j")
    project.write("judge.json", json.dumps([{"when": "", "text": '{"verdict": "right"}'}]))
    rubric = "It says yes."
    project.suite(items=[project.right("a")], score={"judge": {"rubric": rubric}})
    project.run()
    before = without_times(project.rows("predictions"))
    cassette(project, "last", "judged.jsonl")
    project.write("judge.json", json.dumps(UNREACHABLE))
    project.run("--llm-set", "replay=judged.jsonl")
    assert without_times(project.rows("predictions")) == before
    project.suite(items=[project.right("a")], score={"judge": {"rubric": "It is polite."}})
    result = project.run("--llm-set", "replay=judged.jsonl")
    assert outcomes(project) == {"a": ("failure", "judge")}
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*has no verdict on this answer by these words*"])


def test_a_suite_that_stops_early_stops_at_the_same_item(project: Project) -> None:
    project.config(
        models={
            "good": {"engine": "fake", "script": "script.json"},
            "bad": {"engine": "fake", "script": "bad.json"},
        }
    )
    project.write("bad.json", json.dumps([{"when": "", "text": "no"}]))
    items = [project.right(f"i{number:02}") for number in range(60)]
    project.suite(items=items, stop={"when": "decided"})
    project.run()
    before = without_times(project.rows("predictions"))
    assert {row["reason"] for row in before} >= {"not_needed"}
    cassette(project, "last", "stopped.jsonl")
    project.script(UNREACHABLE)
    project.write("bad.json", json.dumps(UNREACHABLE))
    assert project.run("--llm-set", "replay=stopped.jsonl").ret == 0
    assert {
        row["trial_id"]: (row["outcome"], row["reason"]) for row in project.rows("predictions")
    } == {row["trial_id"]: (row["outcome"], row["reason"]) for row in before}


def test_a_test_that_asks_a_model_itself_says_why_it_cannot(recorded: Project) -> None:
    recorded.write("test_own_chat.py", "def test_chat(llm):\n    llm.chat('say yes')\n")
    result = recorded.run("--llm-set", "replay=smoke.jsonl", "test_own_chat.py")
    result.stdout.fnmatch_lines(["*a recording is played (replay), so no model is there*"])


def test_a_played_run_is_not_resumed_and_names_the_one_that_asked(recorded: Project) -> None:
    first = recorded.latest_run().name
    recorded.run("--llm-set", "replay=smoke.jsonl")
    recorded.script(SCRIPT)
    result = recorded.run("--llm-resume", recorded.latest_run().name)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*has played recorded answers*resume {first}, which asked*"])


@pytest.mark.parametrize("option", [("--llm-dry-run",), ("--llm-resume", "last")])
def test_options_that_make_no_sense_beside_it_are_refused(
    recorded: Project, option: tuple[str, ...]
) -> None:
    result = recorded.run("--llm-set", "replay=smoke.jsonl", *option)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*so {option[0]} has nothing to do beside it*"])


def test_a_recording_that_is_not_there_is_named_with_all_places(recorded: Project) -> None:
    result = recorded.run("--llm-set", "replay=smok.jsonl")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*replay: no cassette at *smok.jsonl, and there is no run*"])


def test_a_recording_is_found_from_where_pytest_is_called(
    recorded: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = recorded.root / "below"
    below.mkdir()
    (recorded.root / "smoke.jsonl").rename(below / "smoke.jsonl")
    monkeypatch.chdir(below)
    recorded.run("--rootdir", "..", "..", "--llm-set", "replay=smoke.jsonl")
    assert outcomes(recorded)["a"] == ("right", "")


def test_a_dry_run_is_no_recording(project: Project) -> None:
    project.suite(items=[project.right("a")])
    project.run("--llm-dry-run")
    run = project.latest_run().name
    assert "a dry run has nothing to be played again" in cassette(project, run, "dry.jsonl")
    assert not (project.root / "dry.jsonl").exists()


def test_the_command_says_what_is_on_the_cassette_and_how_to_play_it(recorded: Project) -> None:
    run = recorded.latest_run().name
    assert "no cassette: it is not overwritten" in cassette(recorded, run, "local.yaml")
    assert "models" in (recorded.root / "local.yaml").read_text(encoding="utf-8")
    words = f"again.jsonl: 5 predictions of the run {run}, 1 of them failures, "
    said = cassette(recorded, run, "new/again.jsonl")
    assert words in said
    assert "in the place of" not in said
    said = cassette(recorded, run, "new/again.jsonl")
    assert f"{words}in the place of the one that was there, " in said
    assert "--llm-set replay=" in said
    shutil.rmtree(recorded.root / "runs" / run)
    assert "there is no run" in cassette(recorded, run, "never.jsonl")


def test_a_run_that_was_cut_short_is_recorded_with_a_word_about_what_is_not_there(
    recorded: Project,
) -> None:
    (journal,) = recorded.latest_run().glob("*/parts/part-0001.results.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))
    said = cassette(recorded, "last", "part.jsonl")
    assert "2 predictions" in said
    assert "(3 of its 5 trials have none, and fail when played)" in said


def test_a_run_whose_requests_are_gone_is_not_recorded(recorded: Project) -> None:
    for requests in recorded.latest_run().glob("*/parts/*.requests.jsonl"):
        requests.unlink()
    said = cassette(recorded, "last", "never.jsonl")
    assert "cannot be recorded: its requests are gone (5 of 5)" in said
    assert not (recorded.root / "never.jsonl").exists()


def test_a_shortened_cassette_is_refused_with_the_way_to_write_it_where_it_is(
    recorded: Project,
) -> None:
    path = recorded.root / "smoke.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    run = recorded.latest_run().name
    result = recorded.run("--llm-set", "replay=smoke.jsonl")
    assert f"Write it again with llmeval cassette {run} {path}" in result.stderr.str()


def test_recorded_answers_lose_their_secrets_where_predictions_are_redacted(
    project: Project,
) -> None:
    item = {"id": "a", "question": "say sk-proj-abc123DEF456ghi", "answer": "yes"}
    project.suite(items=[item])
    project.run()
    project.run("--llm-set", "replay=last", "--llm-set", "redact=predictions")
    assert [row["text"] for row in project.rows("predictions")] == ["[redacted]"]
    assert "abc123DEF456ghi" not in str(project.journal())


def test_last_is_no_run_that_was_judged_again_and_none_at_all_where_none_has_asked(
    recorded: Project,
) -> None:
    asked = recorded.latest_run()
    again = asked.with_name("2099-01-01-0000")
    shutil.copytree(asked, again)
    write_manifest(again, replace(read_manifest(again), id=again.name, rescored_from=asked.name))
    assert f"5 predictions of the run {asked.name}" in cassette(recorded, "last", "again.jsonl")
    shutil.rmtree(asked)
    result = recorded.run("--llm-set", "replay=last")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*none of the 1 runs in * has asked models itself*"])
