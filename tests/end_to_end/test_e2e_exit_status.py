"""When a wrong answer of a real model is more than a result."""

from __future__ import annotations

from typing import Any

import pytest

from tools.real_runs import MODELS, Project, shipped

HARD: dict[str, Any] = {
    "prompts": {"plain": "Which is larger, {{ a }} or {{ b }}?"},
    "score": "exact",
    "items": [*shipped("compare", 12), {"id": "odd", "a": 1, "b": 2, "answer": "neither"}],
}


@pytest.fixture
def one_model(project: Project) -> Project:
    """A project with one model, which gets at least one item wrong."""
    project.config(models={"tiny-s": MODELS["tiny-s"]})
    return project


def test_a_wrong_answer_fails_the_session_where_every_item_must_pass(one_model: Project) -> None:
    one_model.suite("compare", **HARD, each_item="must_pass")
    status, text = one_model.run("-rf")
    assert status == 1
    assert "FAILED suites/compare.yaml::tiny-s/plain::odd" in text
    (odd,) = (row for row in one_model.rows("predictions") if row["item_id"] == "odd")
    assert odd["outcome"] in ("wrong", "no_answer")


def test_a_wrong_answer_fails_the_session_through_a_gate(one_model: Project) -> None:
    gate = {"only": "tiny-s/plain", "metric": "exact", "at_least": 0.5}
    items = [{**item, "answer": "neither"} for item in shipped("compare", 12)]
    one_model.suite("compare", **{**HARD, "items": items}, gates=[gate])
    status, text = one_model.run("-rf")
    assert status == 1
    assert "FAILED suites/compare.yaml::gates::tiny-s/plain.at_least" in text
    assert "12 wrong" in text
