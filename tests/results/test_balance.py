"""In and out, as files say it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Answer, Failure, Prediction
from pytest_llmeval.results.balance import balance, read_custom_ids, read_results
from pytest_llmeval.results.lines import prediction_to_line
from pytest_llmeval.results.strays import Strays


def answered(id_: str, text: str = "42") -> Prediction:
    return Prediction(id_, Answer(text, "stop"), None)


def failed(id_: str, message: str = "no") -> Prediction:
    return Prediction(id_, None, Failure("error", message))


def test_an_answer_after_failures_is_one_outcome() -> None:
    found = balance(["a"], [failed("a"), failed("a"), answered("a"), failed("a", "later")])
    assert (found.odd, found.of(["a"])) == (Strays(), [answered("a")])


def test_of_failures_the_last_one_counts() -> None:
    found = balance(["a"], [failed("a", "first"), failed("a", "last")])
    assert found.of(["a"]) == [failed("a", "last")]
    assert not found.odd


def test_missing_doubled_and_unknown_are_named_and_the_first_answer_counts() -> None:
    found = balance(["a", "b"], [answered("b", "1"), answered("b", "2"), answered("x")])
    assert found.odd == Strays(("a",), ("b",), ("x",))
    assert found.of(["a", "b"]) == [answered("b", "1")]


ids = st.sampled_from("abcd")


@given(
    st.lists(ids, unique=True),
    st.lists(st.builds(answered, ids) | st.builds(failed, ids)),
)
def test_in_is_out_exactly_when_each_has_one_outcome(
    asked: list[str], results: list[Prediction]
) -> None:
    found = balance(asked, results)
    answers = [p.trial_id for p in results if p.answer]
    fits = {p.trial_id for p in results} == set(asked) and len(answers) == len(set(answers))
    assert bool(found.odd) is not fits
    assert len(found.of(asked)) + len(found.odd.missing) == len(asked)


def test_results_are_read_up_to_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "a.results.jsonl"
    path.write_bytes(prediction_to_line(answered("a")) + prediction_to_line(failed("b"))[:-5])
    assert list(read_results([path])) == [answered("a")]


def test_lines_that_are_no_results_or_requests_are_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.results.jsonl"
    path.write_bytes(prediction_to_line(answered("a")) + b'{"custom_id": "b"}\n')
    with pytest.raises(RunError, match=r"a\.results\.jsonl:2: this is no result: it has no"):
        list(read_results([path]))
    requests = tmp_path / "a.jsonl"
    requests.write_text('{"custom_id": "a"}\n\n{"custom_id": 7}\n', "utf-8", newline="\n")
    with pytest.raises(RunError, match=r"a\.jsonl:3: this is no request: its custom_id"):
        read_custom_ids(requests)
    requests.write_text(json.dumps({"custom_id": "a"}) + "\n", "utf-8", newline="\n")
    assert read_custom_ids(requests) == ["a"]
