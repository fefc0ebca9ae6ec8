"""Judges and an embedder that are real servers on the shipped models: the machinery, not wisdom."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tools import kill_loop
from tools.real_runs import MODELS, Project, Session, becomes_true, shipped

WITH_AND_WITHOUT_WORKERS = pytest.mark.parametrize(
    "workers", [(), ("-n", "2")], ids=["alone", "with-workers"]
)

#: Short, since the models read at most 1,024 tokens, and were never trained to judge.
PROMPT = "{{ target }}\n{{ answer }}\n{{ how }}"
DUEL = "{{ first }}\n{{ second }}\n{{ how }}"


@pytest.fixture
def judged(project: Project) -> Project:
    """Both models are asked, the larger one judges, and the smaller one gives vectors too."""
    embedder = {**MODELS["tiny-s"], "role": "embedder"}
    project.config(
        models={**MODELS, "vectors": embedder},
        judge="tiny-l",
        server={"slots": 2, "context": 1024, "threads": 1},
    )
    return project


def suite(project: Project, items: int, *scorers: Any) -> None:
    project.suite(items=shipped("arithmetic", items), score=list(scorers))


def judge_answers(project: Project) -> Counter[str]:
    return Counter({trial: count for trial, count in project.answers().items() if "@" in trial})


def replies(project: Project) -> list[str]:
    """What judges have written, as they wrote it."""
    lines = b"".join(
        path.read_bytes() for path in project.folder.glob("*/parts/judge-*.results.jsonl")
    ).splitlines()
    bodies = (json.loads(line)["response"]["body"] for line in lines)
    return [body["choices"][0]["message"]["content"] for body in bodies]


def test_a_real_judge_keeps_to_its_schema_and_a_real_embedder_gives_cosines(
    judged: Project,
) -> None:
    suite(
        judged,
        8,
        "numeric",
        {"judge": {"prompt": PROMPT, "explain": False, "max_tokens": 64, "scale": "1..3"}},
        {"pairwise": {"prompt": DUEL, "explain": False, "against": "tiny-s/plain"}},
        "embedding_similarity",
    )
    status, text = judged.run("--durations=0")
    assert status == 0, text
    assert "Traceback" not in text
    rows = judged.rows("per_item_scores")
    verdicts = [row for row in rows if row["scorer"] == "judge"]
    assert len(verdicts) == 16
    read = [row for row in verdicts if row["outcome"] != "failure"]
    assert {row["extracted"] for row in read} <= {"1", "2", "3"}
    assert len(read) >= 8, text  # the others wrote until their limit
    unread = [row for row in verdicts if row["outcome"] == "failure"]
    assert all(row["reason"] == "judge" and "cut off" in row["stages"] for row in unread)
    duel = [row for row in rows if row["scorer"] == "pairwise"]
    held = {row["value"] for row in duel if row["condition"] == "tiny-s/plain"}
    assert held == {"0.5"}
    near = [row for row in rows if row["scorer"] == "embedding_similarity"]
    numeric = {
        (row["condition"], row["item_id"]): row["outcome"]
        for row in rows
        if row["scorer"] == "numeric"
    }
    for row in near:
        right = numeric[row["condition"], row["item_id"]] == "right"
        assert (float(row["value"]) == 1.0) is right, row
        assert 0.0 <= float(row["value"]) <= 1.0
    names = {model["name"] for model in judged.manifest()["models"]}
    assert names == {"tiny-l", "tiny-s", "vectors"}
    assert "its own answers: tiny-l/plain" in " ".join(text.split())
    assert any(reply.startswith("{") for reply in replies(judged))


@WITH_AND_WITHOUT_WORKERS
def test_models_that_do_not_fit_together_are_loaded_once_each_whoever_judges(
    project: Project, workers: tuple[str, ...]
) -> None:
    """The larger one is asked last, and judges in the same turn."""
    huge = {name: {**model, "memory": "900000 GiB"} for name, model in MODELS.items()}
    project.config(models=huge, judge="tiny-l", server={"slots": 2, "context": 1024, "threads": 1})
    suite(project, 6, "numeric", {"judge": {"prompt": PROMPT, "explain": False, "max_tokens": 64}})
    status, text = project.run(*workers)
    assert status == 0, text
    assert len(judge_answers(project)) == 12
    for name in MODELS:
        log = (project.folder / "logs" / f"{name}.log").read_text(encoding="utf-8")
        assert log.count("model loaded") == 1, log
    began = {name: _first_started(project, name) for name in MODELS}
    assert began["tiny-s"] < began["tiny-l"]


def _first_started(project: Project, model: str) -> float:
    """Seconds into the run when a model was first asked something of a suite."""
    lines = (project.folder / f"{model}--plain/parts/part-0001.results.jsonl").read_bytes()
    return min(float(json.loads(line)["llmeval"]["started"]) for line in lines.splitlines())


@WITH_AND_WITHOUT_WORKERS
def test_kill_9_while_judges_work_costs_no_verdict_and_none_is_asked_for_twice(
    judged: Project, workers: tuple[str, ...]
) -> None:
    suite(judged, 40, {"judge": {"prompt": PROMPT, "explain": False, "max_tokens": 24}})
    session = judged.start(*workers)
    assert becomes_true(lambda: session.over or sum(judge_answers(judged).values()) >= 6)
    assert not session.over, session.text
    victim = next(one for one in session.processes("pytest"))
    victim.kill()
    assert _nothing_is_left(session)
    before = judged.journals()
    told = judge_answers(judged)
    assert 6 <= sum(told.values()) < 80
    status, text = judged.run(*workers, "--llm-resume", "last")
    assert status in {0, 1}, text  # 1: the models were not made to judge
    assert judged.manifest()["exit_reason"] == "finished"
    for path, lines in before.items():
        assert path.read_bytes().startswith(lines)
    assert set(judge_answers(judged).values()) == {1}
    assert len(judge_answers(judged)) == 80
    parts = judged.manifest()["second_wave"]
    assert [(part["trials"], part["job_status"]) for part in parts] == [(40, "completed")] * 2
    rows = [row for row in judged.rows("per_item_scores") if row["scorer"] == "judge"]
    assert len(rows) == 80


def _nothing_is_left(session: Session) -> bool:
    """Whether servers and guards are gone within the bound that the README promises."""
    return becomes_true(lambda: not session.processes("guard", "server"), kill_loop.THE_BOUND)


def test_a_judge_that_does_not_start_is_a_failure_of_the_judge_and_costs_no_answer(
    judged: Project,
) -> None:
    broken = {**MODELS["tiny-l"], "role": "judge", "gguf": str(judged.root / "none.gguf")}
    judged.config(models={"tiny-s": MODELS["tiny-s"], "gone": broken}, judge="gone")
    suite(judged, 4, "judge", "numeric")
    status, text = judged.run()
    assert status == 1
    assert "4 of 4 answers could not be judged" in text
    rows = judged.rows("per_item_scores")
    assert {row["reason"] for row in rows if row["scorer"] == "judge"} == {"judge"}
    assert "failure" not in {row["outcome"] for row in rows if row["scorer"] == "numeric"}
    assert len([trial for trial in judged.answers() if "@" not in trial]) == 4
