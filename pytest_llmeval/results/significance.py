"""significance.json: every metric, comparison and gate in numbers, in a published shape."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_llmeval.records import Comparison, GateResult, Metric
from pytest_llmeval.results.atomic import plain, write_json
from pytest_llmeval.results.report import StoppedSuite

SCHEMA = 1
"""The version of the shape that `significance.schema.json` describes."""


TARGET = "items like these"
"""What every interval and test speaks of: more items of the kind that was asked."""


def write_significance(
    path: Path,
    run_id: str,
    metrics: Iterable[Metric],
    comparisons: Iterable[Comparison],
    gates: Iterable[GateResult] = (),
    *,
    stopped: Iterable[StoppedSuite] = (),
    seed: int = 0,
) -> None:
    """Write significance.json; `seed` is that of the sign-flip test, `stopped` are the suites that
    might stop early.

    Raises `ValueError` for a NaN: what is not defined is None.
    """
    write_json(
        path,
        {
            "schema": SCHEMA,
            "run": run_id,
            "target": TARGET,
            "seed": seed,
            "metrics": [plain(m) | {"incomplete": m.incomplete} for m in metrics],
            "comparisons": [plain(c) | {"real": c.real} for c in comparisons],
            "gates": [_gate(result) for result in gates],
            "stopping": [_stopping(suite) for suite in stopped],
        },
    )


def _stopping(suite: StoppedSuite) -> dict[str, Any]:
    """Without what was asked in vain: that depends on time, and nothing else here does."""
    return {key: value for key, value in plain(suite).items() if key != "asked_in_vain"}


def _gate(result: GateResult) -> dict[str, Any]:
    return {
        "suite": result.suite,
        "only": result.gate.only,
        "metric": result.gate.metric,
        "kind": "at_least",
        "threshold": result.gate.at_least,
        "verdict": result.verdict,
        "message": result.message,
    }


def significance_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of significance.json."""
    text = resources.files(__package__).joinpath("significance.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
