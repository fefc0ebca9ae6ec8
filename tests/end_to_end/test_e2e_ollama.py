"""`pytest --llm-config` on models that Ollama runs; the stand-in plays Ollama."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.standins.ollama import Model, Ollama, write_executable, write_store
from tools.real_runs import Project, becomes_true

#: So many requests of preflight come before the first item.
PREFLIGHT = 5


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    """An Ollama that runs already."""
    with Ollama(Model("llama3.1:8b"), slots=2) as it:
        yield it
    assert it.complaints == []


@pytest.fixture
def installed(project: Project, dead_port: int) -> dict[str, str]:
    """The environment of somebody who has Ollama installed and not running."""
    folder = write_executable(project.root / "bin").parent
    return {
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "OLLAMA_HOST": f"127.0.0.1:{dead_port}",
        "OLLAMA_MODELS": str(write_store(project.root / "store", Model("llama3.1:8b"))),
    }


def configure(project: Project, **keys: Any) -> None:
    model = {"engine": "ollama", "name": "llama3.1:8b", "slots": 2, **keys}
    project.config(models={"llama": model})
    project.suite()


def records(project: Project) -> list[dict[str, Any]]:
    paths = (project.root / "store").glob("served-*.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_an_ollama_that_runs_is_asked_and_left_as_it_is(
    project: Project, ollama: Ollama, workers: list[str]
) -> None:
    configure(project, url=ollama.url, keep_alive="10m")
    status, text = project.run(*workers)
    assert status == 0, text
    assert "20 passed" in text
    assert len(ollama.asked("/api/chat")) == PREFLIGHT + 20
    assert {body["keep_alive"] for body in ollama.asked("/api/chat")} == {"10m"}
    assert ollama.loads == ["llama3.1:8b"]
    assert list(ollama.running) == ["llama3.1:8b"]
    (model,) = project.manifest()["models"]
    assert (model["engine"], model["digest"], model["context"]) == ("ollama", "a" * 64, 256)
    first = project.rows("predictions")[0]
    assert (first["finish_reason"], first["usage_source"]) == ("stop", "server")
    assert float(first["first_token_ms"]) > 0


def test_one_is_started_where_none_runs_and_nothing_is_left_of_it(
    project: Project, installed: dict[str, str]
) -> None:
    configure(project)
    session = project.start(**installed)
    assert session.wait() == 0, session.text
    assert f"no Ollama answers at http://{installed['OLLAMA_HOST']}; starting one" in session.text
    assert session.processes() == []
    (record,) = records(project)
    assert record["complaints"] == []
    assert record["environment"]["OLLAMA_NUM_PARALLEL"] == "2"
    assert record["paths"].count("/api/chat") == PREFLIGHT + 20
    log = project.folder / "logs" / "llama.log"
    assert "Listening on 127.0.0.1:" in log.read_text(encoding="utf-8")


def test_not_even_a_killed_session_leaves_one_behind(
    project: Project, installed: dict[str, str]
) -> None:
    write_store(
        project.root / "store", Model("llama3.1:8b"), faults=[*[""] * PREFLIGHT, "", "hang"]
    )
    configure(project)
    session = project.start(**installed)
    assert becomes_true(lambda: project.has_run and project.lines() > 0)
    assert session.processes("server")
    session.process.kill()
    assert becomes_true(lambda: session.over and not session.processes())


def test_a_model_that_ollama_does_not_have_is_told_with_the_way_to_it(
    project: Project, ollama: Ollama
) -> None:
    configure(project, url=ollama.url, name="qwen3:8b")
    status, text = project.run()
    assert status == 1
    assert "models: llama: Ollama has no model 'qwen3:8b'" in text
    assert "`ollama pull qwen3:8b`" in text
    assert ollama.asked("/api/chat") == []


def test_exact_is_refused_before_anything_is_sent(project: Project, ollama: Ollama) -> None:
    configure(project, url=ollama.url, slots=1, exact=True)
    status, text = project.run()
    assert status == 4
    assert "The engine ollama has no way of turning the prompt cache off (exact: true)" in text
    assert ollama.seen == []


def test_what_went_wrong_with_single_answers_is_a_failure_and_no_wrong_answer(
    project: Project, ollama: Ollama
) -> None:
    configure(project, url=ollama.url)
    ollama.faults = [
        *[""] * PREFLIGHT,
        "busy",
        "runner lost",
        "html",
        "mid-answer",
        "load",
        "remote",
    ]
    status, text = project.run()
    assert status == 1
    assert "16 passed, 4 errors" in text  # what was busy or lost was asked again
    reasons = {row["reason"] for row in project.rows("predictions") if row["outcome"] == "failure"}
    assert reasons == {"bad_answer", "refused", "unsupported"}


def test_a_dry_run_asks_no_ollama(project: Project, ollama: Ollama) -> None:
    configure(project, url=ollama.url)
    project.run("--llm-dry-run")
    assert ollama.seen == []
