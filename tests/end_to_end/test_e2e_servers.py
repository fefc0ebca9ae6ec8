"""What becomes of a run when its server dies, lies, is somebody else's, or has to make room."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_llmeval.servers.ports import free_port
from tests.standins.embedded import embedded
from tools.real_runs import MODELS, REPOSITORY, Project, becomes_true, shipped

LAST_WORDS = "stand-in: that prompt was too much"
TINY_L = {"tiny-l": MODELS["tiny-l"]}


def log_sections(project: Project, model: str) -> int:
    """How often the model's server was started, as its log says."""
    log = (project.folder / "logs" / f"{model}.log").read_text(encoding="utf-8", errors="replace")
    return log.count("=== llmeval: ")


def test_a_server_killed_in_mid_run_is_restarted_and_its_trials_are_asked_again(
    project: Project,
) -> None:
    project.config(models=TINY_L)
    project.suite(items=shipped("arithmetic", 200))
    session = project.start()
    assert becomes_true(lambda: session.processes("server"))
    (server,) = session.processes("server")
    assert becomes_true(lambda: project.lines() >= 10)
    server.kill()
    assert session.wait() == 0, session.text
    rows = project.rows("predictions")
    assert len({row["trial_id"] for row in rows}) == len(rows) == 200
    assert {row["outcome"] for row in rows} <= {"right", "wrong", "no_answer"}
    asked_again = [row for row in rows if int(row["attempts"]) > 1]
    assert 1 <= len(asked_again) <= 3  # two slots, and one request ahead
    assert set(project.answers().values()) == {1}
    assert log_sections(project, "tiny-l") == 2


@contextlib.contextmanager
def serving(model: str, port: int, folder: Path) -> Iterator[str]:
    """A server that is nobody's, at a port of its own."""
    yield from embedded(model, folder, port)


@pytest.mark.parametrize("how", ["in mid-run", "before the run goes on"])
def test_an_endpoint_that_comes_back_as_another_model_adds_no_answers_of_that_one(
    project: Project, tmp_path: Path, how: str
) -> None:
    port = free_port("127.0.0.1")
    project.config(models={"m": {"engine": "llama-server", "url": f"http://127.0.0.1:{port}"}})
    project.suite(items=shipped("arithmetic", 200))
    with serving("tiny-l", port, tmp_path):
        session = project.start()
        assert becomes_true(lambda: project.lines() >= 20)
        if how != "in mid-run":
            session.end()
    with serving("tiny-s", port, tmp_path):
        if how == "in mid-run":
            assert session.wait() == 1, session.text
        else:
            assert project.run("--llm-resume", "last")[0] == 1
        rows = project.rows("predictions")
        failed = [row for row in rows if row["outcome"] == "failure"]
        answered = len(rows) - len(failed)
        assert 20 <= answered < len(rows) == 200
        words = "came back as something else: model tiny-l.gguf and tiny-s.gguf"
        if how != "in mid-run":
            words = "the run has answers of m as something else: model tiny-l.gguf and tiny-s.gguf"
        assert any(words in row["error"] for row in failed)
    with serving("tiny-l", port, tmp_path):
        text = project.run("--llm-resume", "last")[1]
        assert f"{answered} of 200 trials are answered" in text
        assert not any(row["outcome"] == "failure" for row in project.rows("predictions"))


def test_a_model_at_two_urls_goes_on_when_one_of_them_is_gone(
    project: Project, tmp_path: Path
) -> None:
    ports = [free_port("127.0.0.1"), free_port("127.0.0.1")]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    project.config(models={"m": {"engine": "llama-server", "url": urls}})
    project.suite(items=shipped("arithmetic", 200))
    with serving("tiny-l", ports[0], tmp_path):
        with serving("tiny-l", ports[1], tmp_path):
            session = project.start()
            assert becomes_true(lambda: project.lines() >= 20)
        assert session.wait() == 0, session.text
    assert {row["outcome"] for row in project.rows("predictions")} <= {"right", "wrong"}


def test_a_prompt_that_kills_its_server_is_a_failure_with_the_servers_last_words(
    project: Project, stand_in: Path
) -> None:
    poison = {"id": "poison", "a": "POISON", "b": 1, "answer": "1"}
    model = {**MODELS["tiny-l"], "engine": "llama-server", "executable": str(stand_in)}
    project.config(models={"tiny-l": {**model, "exact": True, "args": ["--dies-on", "POISON"]}})
    project.suite(items=[*shipped("arithmetic", 5), poison])
    status, text = project.run()
    assert status == 1
    *answered, unanswered = project.rows("predictions")
    assert all(row["outcome"] in ("right", "wrong") and row["attempts"] == "1" for row in answered)
    assert (unanswered["item_id"], unanswered["outcome"]) == ("poison", "failure")
    assert unanswered["attempts"] == "4"
    assert LAST_WORDS in unanswered["error"]
    assert LAST_WORDS in text
    (score,) = (row for row in project.rows("per_item_scores") if row["item_id"] == "poison")
    assert (score["outcome"], score["value"]) == ("failure", "")
    (metric,) = json.loads((project.folder / "significance.json").read_bytes())["metrics"]
    assert (metric["trials"], metric["answered"], metric["incomplete"]) == (6, 5, True)


def test_a_server_with_less_context_than_asked_for_is_refused_with_both_numbers(
    project: Project, stand_in: Path
) -> None:
    liar = {**MODELS["tiny-s"], "engine": "llama-server", "executable": str(stand_in)}
    project.config(
        models={**TINY_L, "liar": {**liar, "args": ["--half-context"]}},
        server={"slots": 2, "context": 512, "threads": 1},
    )
    project.suite(items=shipped("arithmetic", 4))
    status, text = project.run()
    assert status == 1
    assert "a context of 512 tokens per slot was asked for and the server gives 256" in text
    outcomes = {
        (row["model"], row["outcome"], row["reason"]) for row in project.rows("predictions")
    }
    assert ("liar", "failure", "server") in outcomes
    assert not any(model == "liar" and outcome != "failure" for model, outcome, _ in outcomes)
    assert not any(model == "tiny-l" and outcome == "failure" for model, outcome, _ in outcomes)


def test_llama_server_is_found_on_the_path(project: Project, stand_in: Path) -> None:
    project.config(models={"tiny-l": {**MODELS["tiny-l"], "engine": "llama-server"}})
    project.suite(items=shipped("arithmetic", 4))
    status, text = project.run(PATH=f"{stand_in.parent}:/usr/bin:/bin")
    assert status == 0, text
    assert all(row["outcome"] != "failure" for row in project.rows("predictions"))
    assert log_sections(project, "tiny-l") == 1


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server that somebody has started by hand."""
    port = free_port("127.0.0.1")
    gguf = str(REPOSITORY / "models" / "tiny-l.gguf")
    flags = ["-m", gguf, "--port", str(port), "-np", "2", "-c", "512", "-t", "1"]
    launcher = [sys.executable, "-m", "pytest_llmeval.servers.embedded", *flags]
    with (tmp_path / "by-hand.log").open("wb") as log:
        process = subprocess.Popen(launcher, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    assert becomes_true(lambda: is_healthy(url))
    yield process, url
    process.kill()
    process.wait()


def is_healthy(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health") as answer:
        return bool(answer.status == 200)
    return False


def test_an_endpoint_that_runs_already_is_used_and_never_stopped(
    project: Project, endpoint: tuple[subprocess.Popen[bytes], str]
) -> None:
    process, url = endpoint
    project.config(models={"served": {"engine": "openai", "url": f"{url}/v1", "slots": 2}})
    project.suite(items=shipped("arithmetic", 12))
    session = project.start()
    assert session.wait() == 0, session.text
    assert "adopted: never started or stopped here" in session.text
    assert process.poll() is None
    assert is_healthy(url)
    rows = project.rows("predictions")
    assert [row["outcome"] for row in rows].count("right") >= 6
    (facts,) = project.manifest()["models"]
    assert (facts["slots"], facts["context"], facts["digest"]) == (2, 256, None)
    assert facts["server"]
    assert not list(project.folder.glob("logs/*"))


NO_ROOM = """
import pytest_llmeval.run.assembly as assembly
from pytest_llmeval.machine.memory import Memory

assembly.free_now = lambda: Memory(0, 0)
"""

AFTERWARDS = """
import time

import psutil


def test_every_model_still_answers(llm, llm_server):
    assert llm.model == "tiny-l"
    assert llm.chat("17 + 25 =", max_tokens=8).text.strip()
    assert llm.on("tiny-s").chat("17 + 25 =", max_tokens=8).text.strip()
    assert llm_server.healthy()


def test_a_server_that_died_between_two_questions_is_started_again(llm, llm_server):
    before = llm.chat("17 + 25 =", max_tokens=8).text
    for guard in psutil.Process().children():
        guard.kill()
    while llm_server.healthy():
        time.sleep(0.05)
    time.sleep(1)  # as much later as everyday questions are
    assert llm.chat("17 + 25 =", max_tokens=8).text == before
    assert llm_server.healthy()
"""


def test_models_that_do_not_fit_together_take_turns_and_come_back_for_the_llm_fixture(
    project: Project,
) -> None:
    project.write("conftest.py", NO_ROOM)
    project.write("tests/test_afterwards.py", AFTERWARDS)
    project.suite(items=shipped("arithmetic", 30))
    session = project.start("suites", "tests")
    together = []
    while not session.over:
        servers = session.processes("server")
        if project.lines() < 60:
            together.append(len(servers))
        time.sleep(0.02)
    assert session.wait() == 0, session.text
    assert max(together) == 1
    assert "60 trials" in session.text
    assert log_sections(project, "tiny-l") == 3
    assert log_sections(project, "tiny-s") == 1
