"""significance.json: every metric and comparison with all its numbers, in a published shape."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_llmeval.records import Comparison, Metric
from pytest_llmeval.results.atomic import plain, write_json

SCHEMA = 1
"""The version of the shape that `significance.schema.json` describes."""


def write_significance(
    path: Path, run_id: str, metrics: Iterable[Metric], comparisons: Iterable[Comparison]
) -> None:
    """Write significance.json. Raises `ValueError` for a NaN: what is not defined is None."""
    write_json(
        path,
        {
            "schema": SCHEMA,
            "run": run_id,
            "metrics": [plain(m) | {"incomplete": m.incomplete} for m in metrics],
            "comparisons": [plain(c) | {"real": c.real} for c in comparisons],
        },
    )


def significance_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of significance.json."""
    text = resources.files(__package__).joinpath("significance.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
