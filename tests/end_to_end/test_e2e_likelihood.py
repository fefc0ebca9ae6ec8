"""Likelihoods by config and suite as a user writes them, of the shipped models."""

from __future__ import annotations

import json
import re

from pytest_llmeval.commands.show import Wanted, find, text_lines
from tools.real_runs import Project, shipped

QUESTION = (
    "{% for option in options %}{{ 'ABCD'[loop.index0] }}:{{ option }}\n{% endfor %}{{ question }}"
)
TEXTS = [
    {"id": "walk", "start": "The walk was", "text": "never plain."},
    {"id": "cake", "start": "The cake was", "text": "very poor."},
    {"id": "other", "start": "The soup was", "text": "日本 🎈"},
]


def test_options_and_texts_are_judged_by_their_likelihoods(project: Project) -> None:
    project.config()
    project.suite(
        "pick",
        items=shipped("choice", 12),
        prompts={"plain": QUESTION},
        score=[{"choice": "loglikelihood"}, "choice_per_byte", "choice_per_token"],
        gates=[{"only": "tiny-l/plain", "metric": "choice", "at_least": 0.3}],
    )
    project.suite(
        "texts",
        items=TEXTS,
        target="text",
        form="completion",
        prompts={"plain": "{{ start }}"},
        score=["token_likelihood", "byte_likelihood"],
        gates=[],
    )
    status, text = project.run("-n", "2")
    assert status == 0, text
    assert "PASS          pick tiny-l/plain at least 0.3" in text
    assert re.search(r"perplexity +95 % bootstrap +bits/byte +95 % bootstrap +tokens\n", text)
    rows = {
        (row["suite"], row["item_id"], row["model"]): row for row in project.rows("predictions")
    }
    assert len(rows) == 2 * (12 + 3)
    for (suite, _, _), row in rows.items():
        found = json.loads(row["likelihoods"])
        assert len(found) == (4 if suite == "pick" else 1)
        assert all(each["logprob"] < 0 for each in found)
        assert row["completion_tokens"] == "0"
        assert int(row["prompt_tokens"]) > int(row["cached_tokens"])
    # What a model has learned is likelier by the byte than what it never saw.
    scores = {
        (row["item_id"], row["scorer"]): float(row["value"])
        for row in project.rows("per_item_scores")
        if row["suite"] == "texts" and row["condition"] == "tiny-l/plain"
    }
    assert scores["cake", "byte_likelihood"] > 10 * scores["other", "byte_likelihood"]
    shown = "\n".join(text_lines(find(project.folder, Wanted(suite="texts", limit=1))))
    assert "never plain." in shown
    assert "  judged  perplexity " in shown


def test_exact_likelihoods_are_the_same_bits_in_every_run(project: Project) -> None:
    project.config()
    project.suite(
        "pick",
        items=shipped("choice", 6),
        prompts={"plain": QUESTION},
        score={"choice": "loglikelihood"},
        exact=True,
        gates=[],
    )
    told = []
    for _ in range(2):
        status, text = project.run()
        assert status == 0, text
        rows = project.rows("predictions")
        told.append([(row["trial_id"], row["likelihoods"]) for row in rows])
        assert {row["cached_tokens"] for row in rows} == {"0"}
    assert told[0] == told[1]
