"""A cassette holds a run's answers, and is not believed when it is damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Answer, Failure, Prediction, Usage
from pytest_llmeval.results.cassettes import (
    Recording,
    question_hash,
    read_recording,
    write_cassette,
)
from pytest_llmeval.results.manifest import AdapterFacts, ModelFacts


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    answer = Answer("42 \u202e", "stop", usage=Usage(3, 1, 0, "server"), origin="recording")
    return Recording(
        run="2026-11-23-0412",
        place=tmp_path / "a.jsonl",
        models=(ModelFacts("m", "embedded", "f" * 64, adapters=(AdapterFacts("a", "b", 1.0),)),),
        rotation=(("m",), ("n",)),
        predictions={
            "s::m::a": Prediction("s::m::a", answer, None, started=1.5, total_ms=20.0),
            "s::m::b": Prediction("s::m::b", None, Failure("timeout", "no answer in 5 s")),
            "s::m::a::judge": Prediction("s::m::a::judge", answer, None, asked="c" * 64),
        },
        questions={"s::m::a": "1" * 64, "s::m::b": "2" * 64},
    )


def test_what_is_recorded_comes_back_equal(recording: Recording) -> None:
    assert write_cassette(recording, recording.place) == 3
    assert read_recording(recording.place) == recording


def test_a_cassette_is_the_same_bytes_whatever_order_its_answers_came_in(
    recording: Recording, tmp_path: Path
) -> None:
    other = dict(reversed(list(recording.predictions.items())))
    write_cassette(recording, tmp_path / "a")
    write_cassette(dataclasses.replace(recording, predictions=other), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def damaged(recording: Recording, old: bytes, new: bytes) -> str:
    write_cassette(recording, recording.place)
    content = recording.place.read_bytes()
    assert old in content
    recording.place.write_bytes(content.replace(old, new, 1))
    with pytest.raises(RunError) as caught:
        read_recording(recording.place)
    return str(caught.value)


def test_a_broken_line_is_named_with_its_number(recording: Recording) -> None:
    assert "a.jsonl:2: this line of the cassette is broken" in damaged(
        recording, b'"custom_id":"s::m::a",', b""
    )


def test_a_cassette_that_was_cut_short_is_not_played(recording: Recording) -> None:
    write_cassette(recording, recording.place)
    lines = recording.place.read_bytes().splitlines(keepends=True)
    assert "2 trials are there and 3 were written" in damaged(recording, lines[-1], b"")


def test_a_trial_that_stands_there_twice_is_named(recording: Recording) -> None:
    assert "the trial s::m::a stands there twice" in damaged(recording, b"s::m::b", b"s::m::a")


def test_a_newer_cassette_is_refused_with_the_way_out(recording: Recording) -> None:
    words = damaged(recording, b'{"llmeval_cassette":1', b'{"llmeval_cassette":2')
    assert "written by a newer version (format 2, this one reads up to 1); upgrade" in words


@pytest.mark.parametrize("content", [b"", b"[]\n", b"no json\n", b'{"custom_id": "a"}\n'])
def test_what_is_no_cassette_is_refused_with_the_way_to_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"is no cassette\. One is written by llmeval cassette RUN"):
        read_recording(path)


def test_the_hash_of_a_question_knows_every_value_and_the_order_inside() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "seed": 7}
    assert question_hash(body) == question_hash(dict(reversed(body.items())))
    assert question_hash(body) != question_hash({**body, "seed": 8})
    schema = {"properties": {"a": 1, "b": 2}}
    turned = {"properties": {"b": 2, "a": 1}}
    assert json.dumps(schema, sort_keys=True) == json.dumps(turned, sort_keys=True)
    assert question_hash({"schema": schema}) != question_hash({"schema": turned})
