"""A second run asks nothing that it knows, and everything that could be answered otherwise."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.real_runs import MODELS, REPOSITORY, Project, shipped

MEASURED = ("queued_ms", "first_token_ms", "total_ms", "cached_tokens", "origin")
"""Columns that say what asking has taken."""

MODEL = {**MODELS["tiny-l"], "context": 256}
SAMPLING = {"temperature": 0, "max_tokens": 8, "seed": 7}


@pytest.fixture
def cached(project: Project) -> Project:
    """One model, whose answers are kept."""
    configured(project)
    project.suite(items=shipped("arithmetic", 6))
    return project


def configured(project: Project, model: dict[str, Any] = MODEL, **keys: Any) -> None:
    project.config(models={"tiny-l": model}, **{"cache": {}, **keys})


def origins(project: Project, *arguments: str) -> Counter[str]:
    """Where the answers of one more run come from."""
    status, text = project.run(*arguments)
    assert status == 0, text
    return Counter(row["origin"] for row in project.rows("predictions"))


def told(project: Project) -> list[dict[str, str]]:
    """All that is said of the answers but what asking has taken."""
    rows = project.rows("predictions")
    return [{key: row[key] for key in row if key not in MEASURED} for row in rows]


def verdicts(project: Project) -> dict[str, Any]:
    """All that is said of the scores, but whose they are."""
    content = json.loads((project.folder / "significance.json").read_bytes())
    return {key: value for key, value in content.items() if key != "run"}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "with-workers"])
def test_a_second_run_has_the_same_answers_scores_and_verdicts_and_asks_nobody(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.config(cache={})
    gate = {"only": "tiny-l/plain", "metric": "numeric", "at_least": 0.1}
    project.suite(gates=[gate])
    assert origins(project) == {"asked": 40}
    first, worth = told(project), verdicts(project)
    status, text = project.run(*workers)
    assert status == 0, text
    assert Counter(row["origin"] for row in project.rows("predictions")) == {"cache": 40}
    assert told(project) == first
    assert verdicts(project) == worth
    asked_again = "asked again with --llm-set cache.mode=refresh"
    assert f"40 of 40 answers from the cache; {asked_again}" in text
    assert "tok/s" not in text, "nothing was measured"
    assert "slots busy" not in text
    assert all(row["first_token_ms"] == "" for row in project.rows("predictions"))


CHANGES: dict[str, Callable[[Project], object]] = {
    "temperature": lambda p: configured(p, sampling={**SAMPLING, "temperature": 0.1}),
    "seed": lambda p: configured(p, sampling={**SAMPLING, "seed": 8}),
    "max_tokens": lambda p: configured(p, sampling={**SAMPLING, "max_tokens": 7}),
    "stop": lambda p: configured(p, sampling={**SAMPLING, "stop": ["0"]}),
    "context": lambda p: configured(p, {**MODEL, "context": 512}),
    "slots": lambda p: configured(p, {**MODEL, "slots": 1}),
    "exact": lambda p: configured(p, {**MODEL, "exact": True}),
    "args": lambda p: configured(p, {**MODEL, "args": ["--ubatch-size", "32"]}),
    "prompt": lambda p: p.suite(
        items=shipped("arithmetic", 6), prompts={"plain": "{{ a }} + {{ b }} = "}
    ),
    "weights": lambda p: put(p, "tiny-s"),
}


def put(project: Project, name: str) -> Path:
    """Other weights under the old name, in the old place."""
    path = project.root / "model.gguf"
    shutil.copy(REPOSITORY / "models" / f"{name}.gguf", path)
    return path


def test_whatever_could_change_an_answer_makes_the_next_run_ask(cached: Project) -> None:
    model = {**MODEL, "gguf": str(put(cached, "tiny-l"))}
    configured(cached, model)
    assert origins(cached) == {"asked": 6}
    assert origins(cached) == {"cache": 6}
    for name, change in CHANGES.items():
        configured(cached, model)
        cached.suite(items=shipped("arithmetic", 6))
        put(cached, "tiny-l")
        change(cached)
        assert origins(cached) == {"asked": 6}, name
    put(cached, "tiny-l")
    configured(cached, model)
    cached.suite(items=shipped("arithmetic", 6))
    assert origins(cached) == {"cache": 6}, "what was changed back is known"


def test_what_changes_no_answer_asks_nobody(cached: Project) -> None:
    assert origins(cached) == {"asked": 6}
    configured(cached, {**MODEL, "timeout": 77, "price": {"prompt": 1, "completion": 2}})
    cached.suite(items=shipped("arithmetic", 6), score=["exact", "numeric"])
    assert origins(cached) == {"cache": 6}


def test_without_a_seed_each_repeat_of_each_item_has_a_draw_of_its_own(cached: Project) -> None:
    twins = [{"id": name, "a": 1, "b": 2, "answer": "3"} for name in ("one", "other")]
    cached.suite(items=twins)
    configured(cached, sampling={**SAMPLING, "temperature": 1.5, "seed": None, "repeats": 2})
    assert origins(cached) == {"asked": 4}
    first = told(cached)
    assert origins(cached) == {"cache": 4}
    assert told(cached) == first


def test_equal_requests_of_one_run_are_sent_once(cached: Project) -> None:
    items = [{"id": f"same-{n}", "a": 1, "b": 2, "answer": "3"} for n in range(7)]
    cached.suite(items=items)
    assert origins(cached) == {"asked": 1, "cache": 6}


def test_the_mode_says_whether_answers_are_taken_and_kept(cached: Project) -> None:
    assert origins(cached, "--llm-set", "cache.mode=read") == {"asked": 6}
    assert origins(cached, "--llm-set", "cache.mode=off") == {"asked": 6}
    assert origins(cached) == {"asked": 6}, "neither has kept anything"
    assert origins(cached, "--llm-set", "cache.mode=refresh") == {"asked": 6}
    assert origins(cached, "--llm-set", "cache.mode=read") == {"cache": 6}


def test_where_a_gate_is_about_time_everything_is_asked_and_measured(cached: Project) -> None:
    gate = {"only": "tiny-l/plain", "metric": "latency", "at_most": "60 s", "percentile": 50}
    cached.suite(items=shipped("arithmetic", 6), gates=[gate])
    assert origins(cached) == {"asked": 6}
    assert origins(cached) == {"asked": 6}


def test_a_judges_verdicts_are_kept_as_answers_are(cached: Project) -> None:
    judge = {"judge": {"prompt": "{{ answer }}\n{{ how }}", "explain": False, "max_tokens": 32}}
    cached.suite(items=shipped("arithmetic", 4), score=["numeric", judge])
    configured(cached, {**MODEL, "context": 1024}, judge="tiny-l")
    assert origins(cached) == {"asked": 4}
    status, text = cached.run()
    assert status == 0, text
    assert "8 of 8 answers from the cache" in text


def test_a_cache_that_is_broken_is_told_and_the_run_goes_on(cached: Project) -> None:
    file = cached.root / "cache" / "answers" / "answers-1.sqlite3"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database" * 500)
    status, text = cached.run()
    assert status == 0, text
    assert "llmeval: the cache of answers is not used: " in text
    assert origins(cached) == {"asked": 6}, "a new one is begun"
    assert origins(cached) == {"cache": 6}


def test_a_run_that_was_killed_has_left_whole_answers_for_the_next(cached: Project) -> None:
    cached.suite(items=shipped("arithmetic", 120))
    session = cached.start()
    while cached.lines() < 40:
        assert not session.over, session.text
    for seen in session.processes("pytest"):
        seen.kill()
    session.wait()
    counts = origins(cached)
    assert counts["cache"] + counts["asked"] == 120
    with sqlite3.connect(cached.root / "cache" / "answers" / "answers-1.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (120,)


def test_likelihoods_are_kept_as_answers_are(cached: Project) -> None:
    cached.suite(
        items=shipped("choice", 3),
        prompts={"plain": "{{ question }}"},
        score={"choice": "loglikelihood"},
    )
    assert origins(cached) == {"asked": 3}
    first = [row["likelihoods"] for row in cached.rows("predictions")]
    assert origins(cached) == {"cache": 3}
    assert [row["likelihoods"] for row in cached.rows("predictions")] == first
