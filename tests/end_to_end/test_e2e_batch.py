"""Batches for real: embedded servers, kill -9 in the middle, and the score at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.standins.fireworks import ACCOUNT, KEY, MODEL, FireworksStandIn
from tools.real_runs import MARK, Project, becomes_true, shipped


class Command:
    """`llmeval batch ...` as a process of its own, known with all that it starts by a mark."""

    def __init__(self, project: Project, *words: str):
        self._mark = uuid.uuid4().hex
        self._output = project.root / f"command-{self._mark}.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest_llmeval.commands.llmeval", "batch", *words],
                cwd=project.root,
                env={
                    **os.environ,
                    MARK: self._mark,
                    "LLMEVAL_CACHE": str(project.root / "cache"),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def started(self) -> list[psutil.Process]:
        """What it has started and is still there, itself included."""
        return [
            process
            for process in psutil.process_iter(["environ", "status"])
            if (process.info["environ"] or {}).get(MARK) == self._mark
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    def end(self) -> None:
        for process in self.started():
            process.kill()
        self.process.wait()


@pytest.fixture
def commands(project: Project) -> Iterator[list[Command]]:
    """Commands to be ended with the test."""
    begun: list[Command] = []
    yield begun
    for command in begun:
        command.end()


def batch(project: Project, commands: list[Command], *words: str) -> str:
    """A command to its end, which is a good one; what it printed."""
    commands.append(Command(project, *words))
    assert commands[-1].process.wait() == 0, commands[-1].text
    return commands[-1].text


def lines_in(folder: Path) -> list[bytes]:
    """The whole lines of all results."""
    content = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.results.jsonl")))
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def test_a_folder_built_here_is_run_through_a_kill_combined_and_scored_as_any_run(
    project: Project, commands: list[Command]
) -> None:
    project.suite(items=shipped("arithmetic", 150))
    build = ["build", "--llm-config", "local.yaml", "suites", "-o", "out", "--parts", "3"]
    batch(project, commands, *build)
    out = project.root / "out"
    run = ["run", "--llm-config", "local.yaml", "out"]
    commands.append(Command(project, *run))
    victim = commands[-1]
    assert becomes_true(lambda: victim.process.poll() is not None or len(lines_in(out)) >= 20)
    victim.process.kill()
    victim.process.wait()
    assert becomes_true(lambda: not victim.started()), "a server outlived its owner"
    before = lines_in(out)
    assert 20 <= len(before) < 300
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert {part["job_status"] for part in manifest["parts"]} >= {"running"}
    text = batch(project, commands, *run)
    assert "part 3 of 3 of tiny-s/plain: 50 in, 50 answered" in text
    ids = Counter(json.loads(line)["custom_id"] for line in lines_in(out))
    assert (len(ids), set(ids.values())) == (300, {1}), "asked twice, or not at all"
    assert set(before) <= set(lines_in(out))
    batch(project, commands, "combine", "out")
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert all(facts["digest"] for facts in manifest["models"])
    status, resumed = project.run("--llm-resume", "out")
    assert status == 0, resumed
    assert "Starting" not in resumed
    assert len(lines_in(out)) == 300, "an answered trial was asked again"
    scores = (out / "tiny-l--plain" / "per_item_scores.csv").read_text("utf-8")
    assert scores.count("\n") == 151


def test_a_batch_of_somebody_else_is_asked_by_a_real_server(
    project: Project, commands: list[Command]
) -> None:
    requests = [
        {
            "custom_id": f"request-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "tiny-l",
                "messages": [{"role": "user", "content": f"{number} + 1 ="}],
                "max_tokens": 4,
                "temperature": 0,
            },
        }
        for number in range(6)
    ]
    text = "".join(f"{json.dumps(request)}\n" for request in requests)
    project.write("jobs/sums.jsonl", text)
    told = batch(project, commands, "run", "--llm-config", "local.yaml", "jobs/sums.jsonl")
    assert "llmeval: tiny-l: embedded" in told
    assert "weights sha256 " in told
    assert "sums.jsonl: 6 in, 6 answered" in told
    lines = [json.loads(line) for line in lines_in(project.root / "jobs")]
    assert {line["custom_id"] for line in lines} == {f"request-{n}" for n in range(6)}
    assert all(line["response"]["body"]["usage"]["completion_tokens"] for line in lines)


def statuses(project: Project) -> set[str]:
    return {part["job_status"] for part in project.manifest()["parts"]}


def test_a_killed_run_with_a_batch_job_goes_on_with_that_job(project: Project) -> None:
    with FireworksStandIn(lambda body: "42", polls=1).serving() as service:
        model = {
            "engine": "fireworks",
            "url": service.url,
            "api_key_env": "FW_KEY",
            "account": ACCOUNT,
            "name": MODEL,
            "batch": True,
        }
        project.config(models={"m": model})
        project.suite(items=shipped("arithmetic", 20))
        service.polls = 10**9
        session = project.start("--llm-parts", "2", FW_KEY=KEY)
        assert becomes_true(lambda: session.over or len(service.jobs) == 2), session.text
        assert becomes_true(lambda: statuses(project) == {"running"})
        for process in session.processes("pytest"):
            process.kill()
        session.wait()
        made = dict(service.jobs)
        assert len(made) == 2
        assert project.lines() == 0
        service.polls = 1
        status, text = project.run("--llm-resume", "last", FW_KEY=KEY)
        assert status == 0, text
        assert "goes on with the batch job" in text
        assert service.jobs == made, "a job was made and paid for twice"
        assert set(project.answers().values()) == {1}
        assert len(project.answers()) == 20
        assert "fireworks" in text
        assert KEY not in text
        content = b"".join(p.read_bytes() for p in project.folder.rglob("*") if p.is_file())
        assert KEY.encode() not in content
