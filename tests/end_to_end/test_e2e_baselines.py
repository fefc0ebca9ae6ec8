"""A real model against the baseline of another one, and against its own."""

from __future__ import annotations

import json

import pytest

from tools.real_runs import MODELS, Project, shipped

GATE = {"only": "m/plain", "metric": "numeric", "not_worse_than": "baseline", "margin": 0.1}


@pytest.fixture
def accepted(project: Project) -> Project:
    """A project whose baseline are the answers of the better model."""
    project.config(models={"m": MODELS["tiny-l"]})
    project.suite(
        "compare",
        items=shipped("compare", 60),
        prompts={"plain": "Which is larger, {{ a }} or {{ b }}?"},
        score="numeric",
        gates=[
            GATE,
            {"only": "m/plain", "metric": "latency", "at_most": "1 min", "percentile": 50},
        ],
    )
    status, text = project.run("-p", "syrupy", "--snapshot-update")
    assert status == 0, text
    return project


def test_the_same_model_has_not_changed_and_a_smaller_one_is_worse(accepted: Project) -> None:
    path = accepted.root / "baselines" / "compare" / "m--plain.json"
    baseline = json.loads(path.read_text(encoding="utf-8"))
    assert len(baseline["values"]) == 60
    assert baseline["weights"]

    status, text = accepted.run()
    assert status == 0, text
    assert "PASS          compare m/plain latency at most 60 s at the 50th percentile" in text

    accepted.config(models={"m": MODELS["tiny-s"]})
    status, text = accepted.run("-rf")
    assert status == 1
    words = " ".join(text.split())
    assert "FAIL compare m/plain not worse than baseline by 10 points: -" in words
    assert "other weights than the baseline's, " in words
    assert f"after {baseline['weights'][:8]})" in words
    assert "FAILED suites/compare.yaml::gates::m/plain.not_worse_than" in text
