"""Perplexity and bits per byte of suites of texts."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.records import Answer, Likelihood, Prediction
from pytest_llmeval.run.corpora import corpora_of

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench

TEXTS = [{"id": f"t{n}", "start": "Once", "text": "upon a time " * n} for n in (1, 2, 5)]


def suite(**keys: Any) -> dict[str, Any]:
    given = {"items": TEXTS, "target": "text", "prompt": "{{ start }}", "score": "token_likelihood"}
    return {**given, **keys}


def likely(trial_id: str, text: str, *logprobs: float) -> Prediction:
    return Prediction(trial_id, Answer("", "stop", likelihoods=(Likelihood(text, logprobs),)), None)


def test_texts_are_summed_up_by_suite_and_condition_without_what_failed(
    bench: Workbench, make: type[Make]
) -> None:
    bench.config(models={"m": {"engine": "fake"}, "n": {"engine": "fake"}})
    trials = bench.trials(
        bench.settings(), bench.suite("a", **suite()), bench.suite("b", **suite(score="exact"))
    )
    first, second, third = (trial.id for trial in trials[:3])
    predictions = {
        first: likely(first, TEXTS[0]["text"], -1.0, -2.0),
        second: make.failure(second),
        third: likely(third, TEXTS[2]["text"], -3.0),
    }
    of_m, of_n = corpora_of(trials, predictions)
    assert (of_m.suite, of_m.condition, of_n.condition) == ("a", "m", "n")
    assert (of_m.items, of_m.tokens, of_m.bytes) == (2, 3, 12 + 60)
    assert of_m.perplexity == pytest.approx(math.exp(6 / 3))
    assert of_m.bits_per_byte == pytest.approx(6 / 72 / math.log(2))
    assert (of_n.items, of_n.perplexity) == (0, None)


def test_a_run_says_them_everywhere(bench: Workbench) -> None:
    asked = bench.suite("texts", **suite(score=["byte_likelihood", "token_likelihood"]))
    folder = bench.run(asked)
    (corpus,) = json.loads((folder / "significance.json").read_text(encoding="utf-8"))["corpora"]
    assert (corpus["suite"], corpus["condition"], corpus["items"]) == ("texts", "m", 3)
    assert corpus["tokens"] == 3 + 6 + 15  # of the fake engine a token is a word
    assert corpus["bits_per_byte_interval"]["low"] < corpus["bits_per_byte"]
    report = (folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "| texts | m | " in report.split("## All texts together")[1]
    page = (folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert 'id="texts">All texts together' in page
    with (folder / "m" / "per_item_scores.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["scorer"] for row in rows] == ["byte_likelihood", "token_likelihood"] * 3
    assert rows[0]["stages"].partition(":")[0].endswith(" bits per byte")


def test_a_run_of_answers_says_none(bench: Workbench) -> None:
    folder = bench.run(bench.suite())
    assert json.loads((folder / "significance.json").read_text(encoding="utf-8"))["corpora"] == []
    assert "All texts" not in (folder / "reports" / "report.md").read_text(encoding="utf-8")
