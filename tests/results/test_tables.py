"""The tables: one row a trial, one row a score, nothing lost and nothing rounded."""

from __future__ import annotations

import csv
import dataclasses
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Answer, Attempt, Likelihood, Prediction, Score, ToolCall
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.lines import prediction_from_line
from pytest_llmeval.results.rows import (
    PREDICTION_COLUMNS,
    SCORE_COLUMNS,
    prediction_row,
    score_rows,
    target_text,
    tool_calls_text,
)
from pytest_llmeval.results.tables import (
    read_predictions,
    read_table,
    tables_of,
)

NOW = datetime(2026, 11, 23, 4, 12, tzinfo=timezone.utc)


def write_tables(*given: Any, **named: Any) -> None:
    for _, write in tables_of(*given, **named):
        write()


@pytest.fixture
def written(tmp_path: Path, samples: Any) -> RunFolder:
    """Two suites under two conditions: answered, failed, unjudged and never asked."""
    suites = [samples.suite_of(name, ["z", "a"]) for name in ("b", "a")]
    trials = [t for s in suites for t in samples.trials_of(s, ("m", "l"), repeats=2)]
    folder = RunFolder.create(tmp_path, NOW, {t.condition.name for t in trials})
    predictions = {t.id: samples.answered(t.id) for t in trials[2:]}
    predictions[trials[2].id] = samples.failed(trials[2].id)
    scores = {t.id: samples.right() + samples.wrong() for t in trials[4:]}
    write_tables(folder, trials[::-1], predictions, scores, hashes={("a", "z"): "0123456789ab"})
    return folder


def test_the_columns_are_the_contract(written: RunFolder) -> None:
    for name, columns in (
        ("predictions.csv", PREDICTION_COLUMNS),
        ("per_item_scores.csv", SCORE_COLUMNS),
    ):
        with (written.condition("m/plain") / name).open(encoding="utf-8", newline="") as handle:
            assert tuple(next(csv.reader(handle))) == columns


def test_rows_stand_by_suite_condition_item_and_repeat_whatever_order_they_came_in(
    written: RunFolder,
) -> None:
    rows = [
        (r["condition"], r["suite"], r["item_id"], r["repeat"])
        for r in read_predictions(written.path)
    ]
    assert rows == [
        (condition, suite, item, repeat)
        for condition in ("l/plain", "m/plain")
        for suite in ("a", "b")
        for item in ("z", "a")
        for repeat in ("1", "2")
    ]


def test_a_row_holds_everything_of_its_prediction(written: RunFolder) -> None:
    rows = {row["trial_id"]: row for row in read_predictions(written.path)}
    assert rows["a::m/plain::z"] == {
        "suite": "a",
        "condition": "m/plain",
        "model": "m",
        "sampling": "",
        "prompt": "plain",
        "item_id": "z",
        "repeat": "1",
        "trial_id": "a::m/plain::z",
        "text": "42",
        "tool_calls": "",
        "finish_reason": "stop",
        "outcome": "right",
        "reason": "",
        "prompt_tokens": "31",
        "completion_tokens": "9",
        "total_tokens": "40",
        "cached_tokens": "12",
        "usage_source": "server",
        "queued_ms": "0.0",
        "first_token_ms": "3.25",
        "total_ms": "21.5",
        "attempts": "1",
        "error": "",
        "likelihoods": "",
        "origin": "asked",
    }


def test_a_kept_answer_has_no_times(tmp_path: Path, samples: Any) -> None:
    (trial,) = samples.trials_of(samples.suite_of("a", ["z"]))
    asked = samples.answered(trial.id)
    kept = dataclasses.replace(asked, answer=dataclasses.replace(asked.answer, origin="cache"))
    folder = RunFolder.create(tmp_path, NOW, [trial.condition.name])
    write_tables(folder, [trial], {trial.id: kept}, {trial.id: samples.right()})
    (row,) = read_predictions(folder.path)
    assert (row["queued_ms"], row["total_ms"], row["origin"]) == ("", "", "cache")


def test_likelihoods_are_json_in_the_order_in_which_they_were_asked(
    tmp_path: Path, samples: Any
) -> None:
    (trial,) = samples.trials_of(samples.suite_of("a", ["z"]))
    found = (Likelihood(" Rome", (-1.5, -2.0)), Likelihood(" Zürich", (-0.25,)))
    answer = Answer(" Zürich", "stop", likelihoods=found)
    folder = RunFolder.create(tmp_path, NOW, [trial.condition.name])
    write_tables(folder, [trial], {trial.id: Prediction(trial.id, answer, None)}, {})
    (row,) = read_predictions(folder.path)
    assert json.loads(row["likelihoods"]) == [
        {"continuation": " Rome", "logprob": -3.5, "tokens": 2},
        {"continuation": " Zürich", "logprob": -0.25, "tokens": 1},
    ]


def test_what_was_not_asked_not_judged_or_failed_is_never_wrong(written: RunFolder) -> None:
    rows = {row["trial_id"]: row for row in read_predictions(written.path)}
    outcomes = {i: (rows[i]["outcome"], rows[i]["reason"], rows[i]["error"]) for i in rows}
    assert outcomes["b::m/plain::z"] == ("", "not_asked", "")
    assert outcomes["b::m/plain::a"] == ("failure", "timeout", "no answer in 60 s")
    assert outcomes["b::m/plain::a.2"] == ("", "not_scored", "")


def test_each_scorer_has_a_row_and_the_first_is_the_headline(written: RunFolder) -> None:
    rows = list(read_table(written.condition("l/plain") / "per_item_scores.csv"))
    assert [row["outcome"] for row in rows[:2]] == ["right", "wrong"]
    assert rows[0] == {
        "suite": "a",
        "condition": "l/plain",
        "item_id": "z",
        "repeat": "1",
        "scorer": "exact",
        "outcome": "right",
        "value": "1.0",
        "reason": "",
        "extracted": "42",
        "stages": "strip > compare",
        "target": "target of z",
        "item_hash": "0123456789ab",
    }
    assert [row["item_hash"] for row in rows[4:6]] == ["", ""]  # of an item without one


def test_the_combined_results_hold_one_line_a_prediction_in_the_order_of_the_rows(
    written: RunFolder,
) -> None:
    path = written.condition("m/plain") / "results_combined.jsonl"
    with path.open("rb") as handle:
        ids = [prediction_from_line(line).trial_id for line in handle]
    asked = [
        row["trial_id"]
        for row in read_table(path.with_name("predictions.csv"))
        if row["reason"] != "not_asked"
    ]
    assert ids == asked


def test_the_order_of_arrival_changes_no_byte(tmp_path: Path, samples: Any) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["b", "a", "c"]), ("m",))
    predictions = {t.id: samples.answered(t.id) for t in trials}
    texts = []
    for order in (trials, trials[::-1]):
        folder = RunFolder.create(tmp_path, NOW, ["m/plain"])
        write_tables(folder, order, predictions, {})
        texts.append((folder.condition("m/plain") / "predictions.csv").read_bytes())
    assert texts[0] == texts[1]
    assert b"\r" not in texts[0]


def round_trip(folder: RunFolder, samples: Any, text: str) -> dict[str, str]:
    (trial,) = samples.trials_of(samples.suite_of("s", ["a"]))
    prediction = Prediction(
        trial.id, Answer(text, "stop"), None, (Attempt(0.1),), total_ms=0.1 + 0.2
    )
    write_tables(folder, [trial], {trial.id: prediction}, {})
    (row,) = read_predictions(folder.path)
    return row


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_comes_back_from_its_cell(
    text: str, samples: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = RunFolder.create(tmp_path_factory.mktemp("cell"), NOW, ["tiny-l/plain"])
    assert round_trip(folder, samples, text)["text"] == text


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "-1+2", "'=x", "\t@A1", "\uff1d1", "-5"])
def test_no_table_holds_a_formula_and_every_reader_gets_the_text(
    tmp_path: Path, samples: Any, text: str
) -> None:
    item = dataclasses.replace(samples.suite_of("s", ["a"]).items[0], id=text, target=text)
    suite = dataclasses.replace(samples.suite_of("s", ["a"]), items=(item,))
    (trial,) = samples.trials_of(suite)
    prediction = Prediction(trial.id, Answer(text, "stop"), None, total_ms=1.5)
    score = Score("exact", "wrong", -0.5, reason=text, extracted=text, stages=(text,))
    folder = RunFolder.create(tmp_path, NOW, ["tiny-l/plain"])
    write_tables(folder, [trial], {trial.id: prediction}, {trial.id: (score,)})
    (row,) = read_predictions(folder.path)
    assert (row["text"], row["item_id"], row["total_ms"]) == (text, text, "1.5")
    path = folder.condition("tiny-l/plain") / "per_item_scores.csv"
    (row,) = read_table(path)
    assert {row[name] for name in ("item_id", "reason", "extracted", "stages", "target")} == {text}
    assert row["value"] == "-0.5"
    for table in (path, path.with_name("predictions.csv")):
        with table.open(encoding="utf-8", newline="") as handle:
            cells = [cell for row in csv.reader(handle) for cell in row]
        assert [c for c in cells if c.strip()[:1] in set("=@\uff1d")] == []
        assert {c for c in cells if c[:1] in set("+-\t\r")} <= {"-5", "-0.5"}


@pytest.mark.parametrize(
    ("text", "cell"),
    [("a\0b", "a\\x00b"), ("a\ud800b", "a\\ud800b"), ("x" * 200_000, "x" * 200_000)],
)
def test_what_no_cell_can_hold_is_written_as_its_escape(
    tmp_path: Path, samples: Any, text: str, cell: str
) -> None:
    folder = RunFolder.create(tmp_path, NOW, ["tiny-l/plain"])
    row = round_trip(folder, samples, text)
    assert row["text"] == cell
    assert float(row["total_ms"]) == 0.1 + 0.2


def test_tool_calls_have_a_column_with_the_raw_text_where_it_was_no_object(
    tmp_path: Path, samples: Any
) -> None:
    (trial,) = samples.trials_of(samples.suite_of("s", ["a"]))
    calls = (ToolCall("add", {"a": 1}, '{"a": 1}'), ToolCall("add", None, "{oops"))
    prediction = Prediction(trial.id, Answer("", "tool_calls", calls), None)
    folder = RunFolder.create(tmp_path, NOW, ["tiny-l/plain"])
    scores = {trial.id: (Score("tool_call", "wrong", 0.0),)}
    write_tables(folder, [trial], {trial.id: prediction}, scores)
    (row,) = read_predictions(folder.path)
    assert json.loads(row["tool_calls"]) == [
        {"name": "add", "arguments": {"a": 1}},
        {"name": "add", "arguments": "{oops"},
    ]


@pytest.mark.parametrize(
    ("target", "text"),
    [("42", "42"), (None, ""), (42, "42"), (["é", 1], '["é", 1]'), ({"a": None}, '{"a": null}')],
)
def test_a_target_is_itself_or_its_json(target: object, text: str) -> None:
    assert target_text(target) == text


def test_a_table_that_is_gone_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"predictions\.csv: cannot be read"):
        list(read_table(tmp_path / "predictions.csv"))


def test_an_argument_that_json_does_not_have_is_written_as_the_model_wrote_it() -> None:
    calls = (ToolCall("add", {"a": float("inf")}, '{"a": 1e999}'), ToolCall("add", {"a": 1}, ""))
    text = tool_calls_text(Answer("", "tool_calls", calls))
    assert "Infinity" not in text
    assert json.loads(text) == [
        {"name": "add", "arguments": '{"a": 1e999}'},
        {"name": "add", "arguments": {"a": 1}},
    ]


def test_a_nul_in_the_message_of_a_scorer_is_written_as_its_escape(samples: Any) -> None:
    (trial,) = samples.trials_of(samples.suite_of("s", ["a"]))
    score = Score("exact", "failure", None, reason="scorer", stages=("strip", "bad \0 byte"))
    (row,) = score_rows(trial, [score])
    assert row[SCORE_COLUMNS.index("stages")] == "strip > bad \\x00 byte"


def test_what_was_not_needed_has_no_outcome_even_where_it_was_answered(samples: Any) -> None:
    (trial,) = samples.trials_of(samples.suite_of("s", ["a"]))
    for prediction in (None, samples.answered(trial.id)):
        row = prediction_row(trial, prediction, None, needed=False)
        cells = dict(zip(PREDICTION_COLUMNS, row, strict=True))
        assert (cells["outcome"], cells["reason"]) == ("", "not_needed")
        assert cells["text"] == ("42" if prediction else None)
