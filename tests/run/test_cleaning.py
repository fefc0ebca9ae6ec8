"""Predictions lose their secrets before anybody writes or sees them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.records import (
    Answer,
    Attempt,
    Failure,
    Prediction,
    Score,
    TokenLogprob,
    ToolCall,
)
from pytest_llmeval.redaction import REDACTED, Redactor
from pytest_llmeval.results.lines import prediction_to_line
from pytest_llmeval.run.cleaning import clean_score, cleaner_of, redactor_of

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

SECRET = "sk-proj-abc123DEF456ghi"


def cleaned(bench: Workbench, prediction: Prediction, **keys: Any) -> Prediction:
    bench.config(**keys)
    config = bench.settings().config
    return cleaner_of(config, redactor_of(config))(prediction)


def test_errors_lose_their_secrets(bench: Workbench) -> None:
    attempts = (Attempt(1.0, f"busy: {SECRET}", 429), Attempt(2.0, f"refused: {SECRET}", 401))
    failed = Prediction("a", None, Failure("wrong_key", f"no such key: {SECRET}"), attempts)
    found = cleaned(bench, failed)
    assert found.failure == Failure("wrong_key", f"no such key: {REDACTED}")
    assert [attempt.error for attempt in found.attempts] == [
        f"busy: {REDACTED}",
        f"refused: {REDACTED}",
    ]


def test_an_answer_that_took_two_attempts_keeps_no_secret_of_the_first(bench: Workbench) -> None:
    attempts = (Attempt(1.0, f"busy: {SECRET}", 429), Attempt(2.0))
    found = cleaned(bench, Prediction("a", Answer("yes", "stop"), None, attempts))
    assert found.attempts[0].error == f"busy: {REDACTED}"


def test_keys_that_the_config_names_are_known_by_their_values(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVED", "an ordinary word")
    model = {"engine": "openai", "url": "http://127.0.0.1:9", "api_key_env": "SERVED"}
    failed = Prediction("a", None, Failure("refused", "an ordinary word is no key"))
    found = cleaned(bench, failed, models={"m": model})
    assert found.failure == Failure("refused", f"{REDACTED} is no key")


ANSWER = Answer(
    f"Your key is {SECRET}.",
    "stop",
    tool_calls=(ToolCall("f", {"key": SECRET}, f'{{"key": "{SECRET}"}}'),),
    reasoning=f"They told me {SECRET}",
    logprobs=(TokenLogprob("sk-", -0.1),),
)


def test_what_a_model_writes_stays_verbatim(bench: Workbench) -> None:
    prediction = Prediction("a", ANSWER, None)
    assert cleaned(bench, prediction) == prediction


def test_with_redact_predictions_nothing_that_a_model_writes_has_a_secret(
    bench: Workbench,
) -> None:
    answer = cleaned(bench, Prediction("a", ANSWER, None), redact="predictions").answer
    assert answer is not None
    assert answer.text == f"Your key is {REDACTED}."
    assert SECRET not in repr(answer)
    assert answer.tool_calls[0].arguments == {"key": REDACTED}
    assert answer.logprobs == ()


def test_an_argument_that_is_secret_by_its_name_alone_goes_too(bench: Workbench) -> None:
    raw = '{"user": "bob", "password": "correct horse battery"}'
    call = ToolCall("login", json.loads(raw), raw)
    told = Prediction("a", replace(ANSWER, tool_calls=(call,)), None)
    answer = cleaned(bench, told, redact="predictions").answer
    assert answer is not None
    assert "correct horse" not in repr(answer)
    assert answer.tool_calls[0].arguments == {"user": "bob", "password": REDACTED}
    assert b"correct horse" not in prediction_to_line(replace(told, answer=answer))


def test_a_score_tells_no_secret_but_what_it_has_taken_out_of_an_answer_stays() -> None:
    score = Score("x", "wrong", 0.0, f"asked with {SECRET}", extracted=SECRET, stages=("said",))
    assert clean_score(score, Redactor()) == replace(score, reason=f"asked with {REDACTED}")
    failed = Score("x", "failure", None, "scorer", stages=(f"KeyError: {SECRET}",))
    assert clean_score(failed, Redactor()).stages == (f"KeyError: {REDACTED}",)
