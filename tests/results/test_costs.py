"""costs.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.records import Answer, Prediction
from pytest_llmeval.results.costs import write_costs
from pytest_llmeval.results.report import JudgeFigures, condition_figures
from pytest_llmeval.results.telemetry import PartLoad


@pytest.fixture
def written(tmp_path: Path, samples: Any) -> Any:
    """The file that `write_costs` makes of two conditions with these arguments."""
    trials = samples.trials_of(samples.suite_of("s", ["a", "b"]), ("m", "l"))
    predictions = {t.id: samples.answered(t.id, started=i * 0.5) for i, t in enumerate(trials)}
    figures = condition_figures(trials, predictions, {"m": 0.9})

    def write(**arguments: Any) -> Any:
        write_costs(tmp_path / "costs.json", figures, **arguments)
        return json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))

    return write


def test_costs_name_tokens_and_seconds_of_each_condition_and_their_sum(written: Any) -> None:
    costs = written()
    assert costs["total"] == {
        "prompt_tokens": 124,
        "completion_tokens": 36,
        "cached_tokens": 48,
        "tokens": 160,
        "price": None,
        "joules": None,
    }
    first = costs["conditions"][0]
    assert (first["suite"], first["condition"], first["tokens"]) == ("s", "m/plain", 80)
    assert first["seconds"] == pytest.approx(0.043)
    assert first["tokens_per_second"] == pytest.approx(18 / 0.043)
    assert (first["cache_hit"], first["slots_busy"]) == (pytest.approx(24 / 62), 0.9)
    assert first["usage_sources"] == {"server": 2}
    assert costs["conditions"][1]["slots_busy"] is None


def test_a_price_is_told_where_one_is_configured_and_is_null_elsewhere(written: Any) -> None:
    costs = written(prices={"m/plain": (0.5, 2.0)})
    priced, free = costs["conditions"]
    assert priced["price"] == pytest.approx((62 * 0.5 + 18 * 2.0) / 1e6)
    assert free["price"] is None
    assert costs["total"]["price"] is None  # of one of two: that would look like all
    costs = written(prices={"m/plain": (0.5, 2.0), "l/plain": (0, 1)})
    assert costs["total"]["price"] == sum(row["price"] for row in costs["conditions"])


def test_tokens_of_a_judge_are_in_every_sum_and_one_without_a_price_leaves_the_total_unknown(
    written: Any,
) -> None:
    judge = JudgeFigures("s", "judge", "wise", "4f" * 32, 4, 4, 4, 0)
    judge = replace(judge, prompt_tokens=1000, completion_tokens=10, cached_tokens=900)
    prices = {"m/plain": (0.5, 2.0), "l/plain": (0.5, 2.0)}
    costs = written(prices=prices, judges=[judge])
    assert costs["judges"][0]["cached_tokens"] == 900
    assert costs["total"] == {
        "prompt_tokens": 1124,
        "completion_tokens": 46,
        "cached_tokens": 948,
        "tokens": 1170,
        "price": None,
        "joules": None,
    }
    costs = written(prices=prices, judges=[judge], judge_prices={"wise": (1, 1)})
    asked = sum(row["price"] for row in costs["conditions"])
    assert costs["total"]["price"] == pytest.approx(asked + 1010 / 1e6)
    idle = replace(judge, trials=0, replies=0, prompt_tokens=0, completion_tokens=0)
    assert written(prices=prices, judges=[idle])["total"]["price"] == pytest.approx(asked)


def test_a_condition_without_an_answer_has_taken_nothing_to_pay_for(
    tmp_path: Path, samples: Any
) -> None:
    trials = samples.trials_of(samples.suite_of("s", ["a"]), ("m", "l"))
    predictions = {t.id: samples.answered(t.id) for t in trials[:1]}
    predictions[trials[1].id] = samples.failed(trials[1].id)
    figures = condition_figures(trials, predictions)
    write_costs(tmp_path / "costs.json", figures, prices={"m/plain": (0.5, 2.0)})
    costs = json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))
    assert [row["tokens"] for row in costs["conditions"]] == [40, 0]
    assert costs["total"]["price"] == costs["conditions"][0]["price"] > 0


def test_tokens_that_nobody_counted_have_no_price(tmp_path: Path, samples: Any) -> None:
    (first, second) = samples.trials_of(samples.suite_of("s", ["a", "b"]), ("m",))
    uncounted = Prediction(second.id, Answer("42", "stop"), None)
    predictions = {first.id: samples.answered(first.id), second.id: uncounted}
    figures = condition_figures([first, second], predictions)
    write_costs(tmp_path / "costs.json", figures, prices={"m/plain": (0.5, 2.0)})
    costs = json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))
    assert costs["conditions"][0]["usage_sources"] == {"none": 1, "server": 1}
    assert (costs["conditions"][0]["price"], costs["total"]["price"]) == (None, None)


def test_parts_that_were_watched_stand_with_their_load_and_the_energy_adds_up(written: Any) -> None:
    loads = [
        PartLoad("m/plain", n, 3, 0.5, 10, 20, 0.75, joules) for n, joules in ((1, 5.0), (2, None))
    ]
    costs = written(loads=loads)
    assert [(part["number"], part["joules"]) for part in costs["parts"]] == [(1, 5.0), (2, None)]
    assert costs["total"]["joules"] is None  # of one of two: that would look like all
    assert written(loads=loads[:1])["total"]["joules"] == 5.0
