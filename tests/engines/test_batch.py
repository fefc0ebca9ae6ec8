"""What a batch brings back, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.engines.batch import BatchStatus, read_results, result_of_line
from pytest_llmeval.errors import BadAnswer, RequestRefused
from pytest_llmeval.records import Answer, Usage


def completion(text: str = "Paris") -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


def line(custom_id: Any, **rest: Any) -> bytes:
    return json.dumps({"custom_id": custom_id, **rest}).encode() + b"\n"


PARIS = Answer("Paris", "stop", usage=Usage(3, 1, None, "server"))


@pytest.mark.parametrize(
    "rest",
    [
        {"response": completion()},
        {"response": {"status_code": 200, "body": completion()}, "error": None},
        {"id": "batch_req_1", "response": {"status_code": 200, "body": completion()}},
    ],
    ids=["by itself", "wrapped as OpenAI does it", "with an id of the service's own"],
)
def test_an_answer_is_read_whether_it_is_wrapped_or_not(rest: dict[str, Any]) -> None:
    assert result_of_line(line("a", **rest)) == ("a", PARIS)


@pytest.mark.parametrize(
    ("rest", "status", "words"),
    [
        ({"error": {"message": "too long", "code": 400}}, 400, "HTTP 400: too long"),
        ({"error": {"message": "too long", "code": "bad"}}, None, "too long"),
        ({"error": "no"}, None, "no"),
        ({"response": {"status_code": 429, "body": {"error": {"message": "later"}}}}, 429, "later"),
        ({"response": {"status_code": 500, "body": None}, "error": None}, 500, "HTTP 500: null"),
    ],
)
def test_an_error_stands_in_the_place_of_an_answer_with_the_services_words(
    rest: dict[str, Any], status: int | None, words: str
) -> None:
    custom_id, outcome = result_of_line(line("a", **rest))
    assert custom_id == "a"
    assert isinstance(outcome, RequestRefused)
    assert outcome.status == status
    assert words in str(outcome)


def test_a_response_that_is_no_answer_is_an_error_of_its_request_only() -> None:
    found = read_results([line("a", response={"choices": []}), line("b", response=completion())])
    assert isinstance(found.outcomes["a"], BadAnswer)
    assert found.outcomes["b"] == PARIS
    assert found.unreadable == ()


@pytest.mark.parametrize(
    "broken",
    [b"{torn", b"[]", b"7", b"\xff\xfe", line(7, response=completion()), line("a"), b'{"x": 1}'],
)
def test_a_line_that_is_no_result_is_kept_apart_by_its_beginning(broken: bytes) -> None:
    found = read_results([broken, b"\n", line("b", response=completion())])
    assert list(found.outcomes) == ["b"]
    assert len(found.unreadable) == 1


def test_a_result_that_came_twice_counts_once_and_is_named() -> None:
    found = read_results([line("a", response=completion())] * 2)
    assert found.outcomes == {"a": PARIS}
    assert found.doubled == ("a",)


def test_of_two_results_that_differ_none_counts() -> None:
    lines = [line("a", response=completion()), line("a", response=completion("Rome"))]
    found = read_results(lines)
    assert str(found.outcomes["a"]) == "the batch brought two results that differ"
    assert found.doubled == ("a",)


def test_a_key_that_a_service_repeats_is_taken_out() -> None:
    _, outcome = result_of_line(line("a", error={"message": "bad key sk-1"}), secret="sk-1")
    assert str(outcome) == "bad key [redacted]"
    assert "sk-1" not in "".join(read_results([b"{sk-1"], secret="sk-1").unreadable)


@given(st.lists(st.binary()))
def test_nothing_that_a_service_may_send_breaks_the_reading(lines: list[bytes]) -> None:
    read_results(lines)


def test_a_status_says_its_words_and_the_counts_it_has() -> None:
    assert BatchStatus("pending", "validating").told() == "validating"
    assert BatchStatus("running", "running", 50, 12, 1).told() == (
        "running, 12 answered, 1 failed of 50"
    )
    assert [BatchStatus(state, "").has_ended for state in ("pending", "running")] == [False, False]
    assert BatchStatus("failed", "").has_ended
    assert BatchStatus("completed", "").has_ended
