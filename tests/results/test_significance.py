"""significance.json keeps to its published schema."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from pytest_llmeval.records import (
    Comparison,
    Effect,
    Evidence,
    GateKind,
    GateResult,
    GateSpec,
    GateVerdict,
    Interval,
    Metric,
    Reading,
    Sensitivity,
)
from pytest_llmeval.results.report import StoppedSuite
from pytest_llmeval.results.significance import significance_schema, write_significance
from pytest_llmeval.statistics import unsupported_sensitivity

#: What significance.json adds to the fields of a record.
MORE_FIELDS: tuple[tuple[type, set[str]], ...] = (
    (Metric, {"incomplete"}),
    (Comparison, {"real"}),
    (Effect, set()),
    (Sensitivity, {"conclusion_robust"}),
    (Reading, set()),
    (Interval, set()),
)


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
    for record, more in MORE_FIELDS:
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
        "percentile": None,
        "verdict": "pass",
        "fails": False,
        "message": "at least 0.85: lower bound 0.898",
        "value": None,
        "interval": None,
        "n": None,
        "smallest_margin": None,
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


def test_a_sensitivity_says_whether_the_conclusion_is_robust(tmp_path: Path, samples: Any) -> None:
    sensitivity = unsupported_sensitivity({"i": 1.0, "j": None}, {"i": 0.0, "j": 1.0})
    pair = samples.comparison_of("s", "a", "b", sensitivity=sensitivity)
    write_significance(tmp_path / "s.json", "id", [], [pair])
    data = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    jsonschema.validate(data, significance_schema())
    told = data["comparisons"][0]["sensitivity"]
    assert (told["missing"], told["missing_first"], told["missing_second"]) == (1, 1, 0)
    assert told["conclusion_robust"] is False
    assert [told[name]["sign"] for name in ("complete_case", "worst_for_first")] == [1, 0]


def test_a_gate_stands_with_its_evidence_and_keeps_to_the_schema(tmp_path: Path) -> None:
    margin = GateSpec("m", "exact", 0.03, kind="not_worse_than", inconclusive="fail")
    change = Evidence(-0.01, Interval(-0.05, 0.029, "tango", 0.90), 200, 0.0556)
    latency = GateSpec("m", "latency", 2000, kind="latency", percentile=95)
    slow = Evidence(1310.5, Interval(1200.0, None, "order statistics"), 40)
    results = [
        GateResult("sums", margin, "inconclusive", "why", change),
        GateResult("sums", latency, "inconclusive", "why", slow),
    ]
    path = tmp_path / "significance.json"
    write_significance(path, "id", [], [], results)
    content = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(content, significance_schema())
    first, second = content["gates"]
    assert (first["kind"], first["threshold"], first["fails"]) == ("not_worse_than", 0.03, True)
    assert (first["value"], first["n"], first["smallest_margin"]) == (-0.01, 200, 0.0556)
    assert first["interval"]["level"] == 0.9
    assert (second["percentile"], second["value"], second["fails"]) == (95, 1310.5, False)
    assert second["interval"]["high"] is None


def test_the_schema_knows_every_kind_of_gate_and_every_field() -> None:
    shape = significance_schema()["$defs"]["gate"]
    assert shape["properties"]["kind"]["enum"] == list(get_args(GateKind))
    assert shape["required"] == list(shape["properties"])
