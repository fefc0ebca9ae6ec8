"""The real llama-server and llama-cpp-python in whole runs: the same answers, and no loose ends."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tools.real_runs import MODELS, Project, becomes_true, shipped

TINY_L = str(MODELS["tiny-l"]["gguf"])
IN_PROCESS = {"engine": "llama-cpp-python", "gguf": TINY_L}


@pytest.fixture
def python_path(llama_cpp_folder: Path) -> dict[str, str]:
    """The environment in which a session finds llama-cpp-python."""
    given = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(llama_cpp_folder), *([given] if given else [])])}


def log_sections(project: Project, name: str) -> int:
    """How often the server that writes this log was started."""
    log = (project.folder / "logs" / name).read_text(encoding="utf-8", errors="replace")
    return log.count("=== llmeval: ")


@pytest.mark.parametrize("size", ["tiny-l", "tiny-s"])
def test_three_engines_give_the_same_answers_token_for_token(
    project: Project, real_llama_server: Path, python_path: dict[str, str], size: str
) -> None:
    """Greedy and exact: whatever an engine does to prompt, sampling or text would show."""
    gguf = {"gguf": str(MODELS[size]["gguf"]), "exact": True}
    executable = str(real_llama_server)
    project.config(
        models={
            "embedded": {"engine": "embedded", **gguf},
            "server": {"engine": "llama-server", "executable": executable, **gguf},
            "in-process": {"engine": "llama-cpp-python", **gguf},
        },
        server={"context": 512, "threads": 1},
        sampling={"temperature": 0, "max_tokens": 48, "seed": 7},
    )
    prompts = {
        "plain": "{{ question }}",
        "told": [{"system": "Answer with one word."}, {"user": "{{ question }}"}],
    }
    project.suite("capitals", items=shipped("capitals", 40), prompts=prompts, score="includes")
    project.suite(items=shipped("arithmetic", 60))
    status, text = project.run(**python_path)
    assert status == 0, text
    answers: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {}
    for row in project.rows("predictions"):
        trial = tuple(row["trial_id"].replace(row["model"], "", 1).split())
        answers.setdefault(row["model"], {})[trial] = tuple(
            row[key] for key in ("text", "finish_reason", "prompt_tokens", "completion_tokens")
        )
    assert len(answers["embedded"]) == 140
    assert answers["server"] == answers["embedded"]
    assert answers["in-process"] == answers["embedded"]
    builds = {model["name"]: model["server"] for model in project.manifest()["models"]}
    assert builds["in-process"].startswith("llama-cpp-python ")
    digests = {model["digest"] for model in project.manifest()["models"]}
    assert len(digests) == 1
    assert None not in digests


def models_of(engine: str, real_llama_server: Path) -> dict[str, Any]:
    if engine == "llama-server":
        return {"m": {"engine": engine, "gguf": TINY_L, "executable": str(real_llama_server)}}
    return {"m": {**IN_PROCESS, "instances": 2}}


@pytest.mark.parametrize("engine", ["llama-server", "llama-cpp-python"])
def test_a_server_killed_in_mid_run_is_restarted_and_its_trials_are_asked_again(
    project: Project, real_llama_server: Path, python_path: dict[str, str], engine: str
) -> None:
    project.config(models=models_of(engine, real_llama_server))
    project.suite(items=shipped("arithmetic", 200))
    session = project.start(**python_path)
    assert becomes_true(lambda: project.lines() >= 10)
    session.processes("server")[0].kill()
    assert session.wait() == 0, session.text
    rows = project.rows("predictions")
    assert len({row["trial_id"] for row in rows}) == len(rows) == 200
    assert {row["outcome"] for row in rows} <= {"right", "wrong", "no_answer"}
    assert 1 <= sum(int(row["attempts"]) > 1 for row in rows) <= 3
    assert set(project.answers().values()) == {1}
    logs = [path.name for path in (project.folder / "logs").iterdir()]
    assert sum(log_sections(project, name) for name in logs) == len(logs) + 1
    assert "ended in mid-run and was started again, 1 times" in session.text
    assert session.processes() == []


def test_instances_answer_side_by_side_and_slots_beyond_them_are_warned_of(
    project: Project, python_path: dict[str, str]
) -> None:
    project.config(models={"two": {**IN_PROCESS, "instances": 2}, "one": IN_PROCESS})
    project.suite(items=shipped("arithmetic", 20))
    status, text = project.run("-n", "2", **python_path)
    assert status == 0, text
    slots = {model["name"]: model["slots"] for model in project.manifest()["models"]}
    assert slots == {"two": 2, "one": 1}
    warning = "one: 2 slots were asked for, and engine llama-cpp-python answers one request"
    assert f"llmeval: {warning}" in text
    assert [words for words in project.manifest()["warnings"] if words.startswith(warning)]
    assert "two: 2 slots were asked for" not in text
    texts: dict[str, dict[str, str]] = {"one": {}, "two": {}}
    for row in project.rows("predictions"):
        texts[row["model"]][row["item_id"]] = row["text"]
    assert texts["one"] == texts["two"]


def test_layers_on_a_gpu_that_the_library_does_not_know_are_an_error_with_file_and_line(
    project: Project, python_path: dict[str, str]
) -> None:
    project.config(models={"m": {**IN_PROCESS, "gpu_layers": "all"}})
    project.suite(items=shipped("arithmetic", 2))
    status, text = project.run(**python_path)
    assert status == 1
    assert f"{project.root / 'local.yaml'}:3: models: m: the server ended while it started" in text
    assert "this llama-cpp-python is built for the CPU only" in text


@pytest.mark.skipif(find_spec("llama_cpp") is not None, reason="llama-cpp-python is installed")
@pytest.mark.parametrize("beside", [{}, {"other": MODELS["tiny-s"]}], ids=["alone", "beside"])
def test_a_missing_package_is_told_with_its_pip_line_and_stops_no_other_model(
    project: Project, beside: dict[str, Any]
) -> None:
    project.config(models={"m": IN_PROCESS, **beside})
    project.suite(items=shipped("arithmetic", 2))
    status, text = project.run()
    assert 'pip install "pytest-llmeval-local[llama-cpp]"' in text
    if not beside:
        assert status == 4
        assert "nothing was sent" in text
    else:
        assert status == 1
        outcomes = {(row["model"], row["outcome"]) for row in project.rows("predictions")}
        assert {outcome for model, outcome in outcomes if model == "m"} == {"failure"}
        assert {outcome for model, outcome in outcomes if model == "other"} <= {"right", "wrong"}


def test_pytest_itself_never_loads_the_library(
    project: Project, python_path: dict[str, str]
) -> None:
    project.write(
        "conftest.py",
        "import sys\n\n\ndef pytest_sessionfinish():\n"
        "    print('loaded here:', sorted({'llama_cpp', 'xllamacpp'} & set(sys.modules)))\n",
    )
    project.config(models={"m": IN_PROCESS})
    project.suite(items=shipped("arithmetic", 2))
    status, text = project.run("-s", **python_path)
    assert status == 0, text
    assert "loaded here: []" in text
