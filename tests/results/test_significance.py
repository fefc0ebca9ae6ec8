"""significance.json keeps to its published schema."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from pytest_llmeval.records import Comparison, GateVerdict, Interval, Metric
from pytest_llmeval.results.report import StoppedSuite
from pytest_llmeval.results.significance import significance_schema, write_significance


@pytest.fixture
def written(tmp_path: Path, samples: Any) -> dict[str, Any]:
    report = samples.report()
    empty = samples.metric_of("capitals", "m", 0, 1, mean=None, complete_case=None, answered=0)
    undefined = samples.comparison_of(
        "capitals",
        "a",
        "b",
        difference=None,
        interval=Interval(None, None, ""),
        p=None,
        p_adjusted=None,
        only_first=None,
        only_second=None,
        items=0,
    )
    path = tmp_path / "significance.json"
    comparisons = [*report.comparisons, undefined]
    metrics = [*report.metrics, empty]
    stopped = [StoppedSuite("arithmetic", "decided", 0.05, 3, 400, 120, asked_in_vain=4)]
    write_significance(path, "id", metrics, comparisons, report.gates, stopped=stopped, seed=7)
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_what_is_written_keeps_to_the_schema(written: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(significance_schema())
    jsonschema.validate(written, significance_schema())


def test_the_schema_names_every_field_of_the_records_and_no_other() -> None:
    shapes = significance_schema()["$defs"]
    for record, more in ((Metric, {"incomplete"}), (Comparison, {"real"}), (Interval, set())):
        fields = {field.name for field in dataclasses.fields(record)} | more
        shape = shapes[record.__name__.lower()]
        assert set(shape["properties"]) == set(shape["required"]) == fields
        assert shape["additionalProperties"] is False


def test_numbers_are_not_rounded_and_verdicts_stand_beside_them(written: dict[str, Any]) -> None:
    first = written["comparisons"][0]
    assert (first["difference"], first["p_adjusted"], first["real"]) == (-0.285, 3e-9, True)
    assert [metric["incomplete"] for metric in written["metrics"]] == [False] * 4 + [True]
    assert written["metrics"][-1]["mean"] is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(extra=1),
        lambda data: data["metrics"][0].pop("trials"),
        lambda data: data["comparisons"][0].update(p=1.5),
        lambda data: data["metrics"][0].update(right=-1),
        lambda data: data.update(schema=2),
        lambda data: data.pop("seed"),
        lambda data: data["gates"][0].update(verdict="perhaps"),
        lambda data: data["gates"][0].pop("message"),
        lambda data: data["stopping"][0].update(alpha=0.7),
        lambda data: data["stopping"][0].update(asked_in_vain=4),
    ],
)
def test_the_schema_refuses_what_is_not_so(written: dict[str, Any], spoil: Any) -> None:
    spoiled = copy.deepcopy(written)
    spoil(spoiled)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoiled, significance_schema())


def test_a_nan_is_refused(tmp_path: Path, samples: Any) -> None:
    comparison = samples.comparison_of("s", "a", "b", p=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        write_significance(tmp_path / "s.json", "id", [], [comparison])


def test_gates_seed_and_target_stand_beside_the_numbers(written: dict[str, Any]) -> None:
    assert (written["target"], written["seed"]) == ("items like these", 7)
    assert written["gates"][0] == {
        "suite": "arithmetic",
        "only": "tiny-l/plain",
        "metric": "exact",
        "kind": "at_least",
        "threshold": 0.85,
        "verdict": "pass",
        "message": "at least 0.85: lower bound 0.898",
    }
    assert [gate["verdict"] for gate in written["gates"]] == ["pass", "inconclusive"]


def test_what_stopping_saved_is_told_without_what_depends_on_time(written: dict[str, Any]) -> None:
    assert written["stopping"] == [
        {
            "suite": "arithmetic",
            "when": "decided",
            "alpha": 0.05,
            "seed": 3,
            "trials": 400,
            "not_needed": 120,
        }
    ]


def test_the_schema_knows_every_verdict() -> None:
    gate = significance_schema()["$defs"]["gate"]["properties"]
    assert gate["verdict"]["enum"] == list(get_args(GateVerdict))
