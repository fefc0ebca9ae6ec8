"""`llmeval show` puts question, answer and target side by side."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.results.ownership import Ownership


def show(run: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["show", *words, "--run-dir", str(run.parent)])


def test_what_was_wrong_is_shown_with_question_answer_and_target(run: Path) -> None:
    found = show(run, "last", "--wrong", "--condition", "m/plain")
    assert found.exit_code == 0
    assert found.stdout == (
        "capitals::m/plain::Spain: wrong\n"
        "  asked   Capital of Spain?\n"
        "  answer  Lisbon \\x1b[2J\n"
        "  taken   Lisbon\n"
        "  target  the capital of Spain\n"
        "\n"
        f"1 in {run.name}\n"
    )


def test_no_answer_and_failures_say_their_reason(run: Path) -> None:
    found = show(run, run.name, "--no-answer", "--failed", "--condition", "l/plain")
    assert found.stdout.splitlines() == [
        "capitals::l/plain::Italy: no answer (empty)",
        "  asked   Capital of Italy?",
        "  answer  (nothing)",
        "  target  the capital of Italy",
        "",
        "capitals::l/plain::Chile: failure (timeout)",
        "  asked   Capital of Chile?",
        "  error   no answer in 60 s",
        "",
        f"2 in {run.name}",
    ]


def test_several_lines_of_an_answer_stand_under_each_other(run: Path) -> None:
    found = show(run, "last", "--limit", "1")
    assert "  answer  Paris\n          of course\n" in found.stdout


def test_the_limit_says_how_many_there_are(run: Path) -> None:
    found = show(run, "last", "--limit", "3")
    assert found.stdout.endswith("3 of 8 shown; all of them with --limit 0\n")
    assert show(run, "last", "--limit", "0").stdout.count("asked") == 8


def test_json_is_one_object_a_line_and_complete(run: Path) -> None:
    found = show(run, "last", "--json", "--wrong")
    first, second = (json.loads(line) for line in found.stdout.splitlines())
    assert first["condition"] == "l/plain"
    assert second == {
        "trial_id": "capitals::m/plain::Spain",
        "suite": "capitals",
        "condition": "m/plain",
        "item_id": "Spain",
        "repeat": 1,
        "outcome": "wrong",
        "reason": "",
        "prompt": [{"role": "user", "content": "Capital of Spain?"}],
        "answer": "Lisbon \x1b[2J",
        "tool_calls": "",
        "extracted": "Lisbon",
        "target": "the capital of Spain",
        "error": "",
        "likelihoods": [],
        "judged": "",
        "verdict": "",
    }


def test_options_stand_with_their_likelihoods_and_how_they_were_judged(run: Path) -> None:
    found = [
        {"continuation": " Madrid", "logprob": -12.3456789, "tokens": 2},
        {"continuation": " Lisbon\n", "logprob": -0.5, "tokens": 1},
    ]
    predictions, scores = (
        run / "m--plain" / name for name in ("predictions.csv", "per_item_scores.csv")
    )
    change(predictions, "Spain", likelihoods=json.dumps(found))
    change(scores, "Spain", stages="likelihoods: A -12.35, B -0.5 > compare: B ≠ A")
    told = show(run, "last", "--wrong", "--condition", "m/plain").stdout
    assert told.splitlines()[:6] == [
        "capitals::m/plain::Spain: wrong",
        "  asked   Capital of Spain?",
        "  likely  -12.3457  Madrid",
        "           -0.5000  Lisbon",
        "  judged  likelihoods: A -12.35, B -0.5 > compare: B ≠ A",
        "  taken   Lisbon",
    ]


def change(table: Path, item: str, **cells: str) -> None:
    """Give other cells to the rows of an item."""
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows = [row | cells if row["item_id"] == item else row for row in rows]
    with table.open("w", encoding="utf-8", newline="\n") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_nothing_to_show_is_said(run: Path) -> None:
    for table in run.glob("*/predictions.csv"):
        text = table.read_text(encoding="utf-8")
        table.write_text(text.splitlines()[0] + "\n", encoding="utf-8", newline="\n")
    assert show(run, "last", "--wrong").stdout == f"none in {run.name}\n"


def test_a_suite_or_condition_that_is_not_there_gets_a_hint(run: Path) -> None:
    found = show(run, "last", "--suite", "capital")
    assert found.exit_code == 1
    assert found.output == "llmeval: this run has no suite 'capital'; did you mean capitals?\n"
    found = show(run, "last", "--condition", "zzz")
    assert "this run has no condition 'zzz'; it has l/plain, m/plain" in found.output


def test_a_run_that_is_not_there_gets_a_hint_and_no_traceback(run: Path) -> None:
    found = show(run, "2026-11-23-0413")
    assert found.exit_code == 1
    assert "did you mean 2026-11-23-0412?" in found.output
    assert "Traceback" not in found.output


def test_a_run_that_has_not_ended_says_how_to_continue_it(stopped: Path) -> None:
    found = show(stopped, "last")
    assert found.exit_code == 1
    assert f"Go on with it: the same command with --llm-resume {stopped.name}" in " ".join(
        found.output.split()
    )


def test_a_reader_that_goes_away_leaves_no_traceback(run: Path) -> None:
    table = run / "m--plain" / "predictions.csv"
    head, *rows = table.read_text(encoding="utf-8").split("\n", 1)
    table.write_text(f"{head}\n{rows[0] * 2000}", encoding="utf-8", newline="\n")
    command = [sys.executable, "-m", "pytest_llmeval.commands.llmeval", "show", "last"]
    process = subprocess.Popen(
        [*command, "--limit", "0", "--run-dir", str(run.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


def test_an_encoding_that_lacks_a_letter_does_not_stop_it(run: Path) -> None:
    table = run / "m--plain" / "predictions.csv"
    text = table.read_text(encoding="utf-8").replace("Lisbon", "里斯本")
    table.write_text(text, encoding="utf-8", newline="\n")
    found = subprocess.run(
        [
            sys.executable,
            "-X",
            "utf8=0",
            "-m",
            "pytest_llmeval.commands.llmeval",
            "show",
            "last",
            "--wrong",
            "--condition",
            "m/plain",
            "--run-dir",
            str(run.parent),
        ],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        check=True,
    )
    assert b"\\u91cc\\u65af\\u672c" in found.stdout


def test_each_part_is_told_in_a_line_with_its_first_failure(run: Path) -> None:
    found = show(run, "last", "--parts")
    assert sorted(found.stdout.splitlines()) == [
        f"{model}/plain: 4 in, 3 answered, 1 failed (1 timeout; first "
        f"capitals::{model}/plain::Chile: no answer in 60 s)"
        for model in ("l", "m")
    ]
    assert show(run, "last", "--parts", "--condition", "m/plain").stdout.startswith("m/plain: 4 in")


def test_parts_of_a_run_that_has_not_ended_are_told_by_its_journal(stopped: Path) -> None:
    (journal,) = stopped.glob("l--plain/parts/*.results.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:9])
    again = "the same command again, pytest's with --llm-resume 2026-11-24-0412"
    killed = f"it was killed, or it could write no more; go on: {again}\n"
    told = show(stopped, "last", "--parts", "--condition", "l/plain").stdout
    assert told == f"l/plain: 4 in, 2 answered, running\n{killed}"
    owner = Ownership(stopped)
    told = show(stopped, "last", "--parts", "--condition", "l/plain").stdout
    owner.give_up()
    assert told == "l/plain: 4 in, 2 answered, running\n"


def test_a_run_without_tables_tells_of_its_parts_too(stopped: Path) -> None:
    found = show(stopped, "last", "--parts", "--condition", "l/plain")
    assert found.exit_code == 0
    assert found.stdout.splitlines()[0].startswith("l/plain: 4 in, 3 answered, 1 failed")
    wrong = show(stopped, "last", "--parts", "--condition", "l/plai")
    assert (wrong.exit_code, "did you mean l/plain?" in wrong.output) == (1, True)
