"""significance.json: every metric, comparison and gate in numbers, in a published shape."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import plain, write_json
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Comparison, Corpus, Doubt, GateResult, Metric
from pytest_llmeval.results.folder import SIGNIFICANCE
from pytest_llmeval.results.manifest import lacking
from pytest_llmeval.results.report import StoppedSuite

SCHEMA = 1
"""The version of the shape that `significance.schema.json` describes."""


TARGET = "items like these"
"""What every interval and test speaks of: more items of the kind that was asked."""


def write_significance(  # noqa: PLR0913 - a part of the file each
    path: Path,
    run_id: str,
    metrics: Iterable[Metric],
    comparisons: Iterable[Comparison],
    gates: Iterable[GateResult] = (),
    *,
    stopped: Iterable[StoppedSuite] = (),
    doubts: Iterable[Doubt] = (),
    corpora: Iterable[Corpus] = (),
    seed: int = 0,
) -> None:
    """Write significance.json; `seed` is that of the sign-flip test, `stopped` are the suites that
    might stop early, `doubts` why numbers may not mean what they seem to, `corpora` the texts whose
    likelihood was asked.

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
            "comparisons": [comparison_data(c) for c in comparisons],
            "gates": [_gate(result) for result in gates],
            "stopping": [_stopping(suite) for suite in stopped],
            "doubts": [plain(doubt) for doubt in doubts],
            "corpora": [plain(corpus) for corpus in corpora],
        },
    )


def read_significance(run: Path) -> dict[str, Any]:
    """Read a run's significance.json. Raises `RunError` when it is missing, broken or too new."""
    path = run / SIGNIFICANCE
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if int(data["schema"]) > SCHEMA:
            raise RunError(
                f"{path}: written by a newer version (schema {data['schema']}, this one reads up "
                f"to {SCHEMA}); upgrade pytest-llmeval-local to read it"
            )
    except FileNotFoundError:
        raise lacking(run, SIGNIFICANCE) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    return data


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain data, with what follows from its figures."""
    told: dict[str, Any] = plain(comparison) | {"real": comparison.real}
    if comparison.sensitivity is not None:
        told["sensitivity"]["conclusion_robust"] = comparison.sensitivity.conclusion_robust
    return told


def _stopping(suite: StoppedSuite) -> dict[str, Any]:
    """Without what depends on time, as nothing else here does: what was asked in vain, or left."""
    told: dict[str, Any] = plain(suite)
    return {key: value for key, value in told.items() if key not in ("asked_in_vain", "left")}


def _gate(result: GateResult) -> dict[str, Any]:
    gate, evidence = result.gate, result.evidence
    return {
        "suite": result.suite,
        "only": gate.only,
        "metric": gate.metric,
        "kind": gate.kind,
        "threshold": gate.limit,
        "percentile": gate.percentile,
        "verdict": result.verdict,
        "fails": result.fails,
        "message": result.message,
        "value": evidence.value if evidence else None,
        "interval": plain(evidence.interval) if evidence else None,
        "n": evidence.n if evidence else None,
        "smallest_margin": evidence.smallest_margin if evidence else None,
    }


def significance_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of significance.json."""
    text = resources.files(__package__).joinpath("significance.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
