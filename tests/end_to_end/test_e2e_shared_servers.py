"""Runs that ask for the very same server have it together, and none of them misses the others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest

from tools.real_runs import MODELS, Project, Seen, Session, becomes_true, shipped

MODEL = {**MODELS["tiny-l"], "context": 256}
REPEATS = 40
"""Of twenty items: such a run is under way for long enough to be held."""


@pytest.fixture
def sharing(project: Project) -> Project:
    """One model, and two suites of which one takes long."""
    project.config(models={"tiny-l": MODEL})
    project.suite("long", repeats=REPEATS)
    project.suite("short", items=shipped("arithmetic", 10))
    return project


def held_run(project: Project) -> Session:
    """A run in the middle of its work, which stands still; its server answers."""
    known = project.lines()
    session = project.start("suites/long.yaml")
    assert becomes_true(lambda: project.lines() > known or session.over)
    hold(session)
    assert not session.over, session.text
    return session


def hold(session: Session) -> None:
    for seen in session.processes("pytest"):
        seen.process.suspend()


def go_on(session: Session) -> None:
    for seen in session.processes("pytest"):
        seen.process.resume()


def servers(*sessions: Session) -> list[Seen]:
    return [seen for session in sessions for seen in session.processes("server")]


def the_server(session: Session) -> Seen:
    (seen,) = servers(session)
    return seen


def is_gone(seen: Seen) -> bool:
    return not seen.process.is_running() or seen.process.status() == psutil.STATUS_ZOMBIE


def kill(session: Session) -> None:
    for seen in session.processes("pytest"):
        seen.kill()
    session.wait()


def short_run(project: Project, *arguments: str) -> tuple[Session, int]:
    """A run beside the others, and the port of its server."""
    session = project.start("suites/short.yaml", *arguments)
    assert session.wait() == 0, session.text
    (port,) = set(LISTENING.findall(log_of(project)))
    return session, int(port)


def log_of(project: Project) -> str:
    return (project.folder / "logs" / "tiny-l.log").read_text(encoding="utf-8")


LISTENING = re.compile(r"embedded: listening on http://127\.0\.0\.1:(\d+)")


def test_two_runs_at_once_have_one_server_and_say_so(sharing: Project) -> None:
    first = held_run(sharing)
    server = the_server(first)
    second, port = short_run(sharing)
    assert port == server.port, "it has found the one that was there"
    assert "another run has used its server at the same time" in " ".join(second.text.split())
    assert len(sharing.rows("predictions")) == 10
    assert the_server(first) == server
    go_on(first)
    assert first.wait() == 0, first.text
    assert "another run has used its server at the same time" in " ".join(first.text.split())
    assert is_gone(server), "with the last one it has ended"


def test_that_a_run_had_no_server_of_its_own_stays_known_when_it_goes_on_alone(
    sharing: Project,
) -> None:
    first = held_run(sharing)
    run = sharing.folder
    short_run(sharing)
    first.process.send_signal(signal.SIGINT)
    go_on(first)
    assert first.wait() == pytest.ExitCode.INTERRUPTED, first.text
    session = sharing.start("suites/long.yaml", "--llm-resume", run.name)
    assert session.wait() == 0, session.text
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    words = "another run has used its server at the same time"
    assert [words in each for each in manifest["warnings"]].count(True) == 1


def test_a_run_whose_companion_is_killed_goes_on_with_the_server(sharing: Project) -> None:
    starter = held_run(sharing)
    server = the_server(starter)
    second = held_run(sharing)
    kill(starter)
    go_on(second)
    assert second.wait() == 0, second.text
    assert servers(second) == []
    assert "its server ended" not in second.text
    assert is_gone(server)


def test_a_server_ends_when_all_who_use_it_are_killed(sharing: Project) -> None:
    sessions = [held_run(sharing), held_run(sharing)]
    server = the_server(sessions[0])
    for session in sessions:
        kill(session)
    assert becomes_true(lambda: is_gone(server) and not servers(*sessions))


def test_a_server_that_dies_is_restarted_once_for_all_who_use_it(sharing: Project) -> None:
    sessions = [held_run(sharing), held_run(sharing)]
    server = the_server(sessions[0])
    server.kill()
    assert becomes_true(lambda: is_gone(server))
    for session in sessions:
        go_on(session)
    assert [session.wait() for session in sessions] == [0, 0], sessions[0].text
    for log in sharing.root.glob("runs/*/logs/tiny-l.log"):
        assert log.read_text(encoding="utf-8").count("=== llmeval: tiny-l, started ") == 2
    counts = sharing.answers()
    assert len(counts) == 20 * REPEATS
    assert set(counts.values()) == {2}, "once in each run"


def test_the_log_of_a_shared_server_is_in_the_folder_of_each_run_without_older_ones(
    sharing: Project,
) -> None:
    for _ in range(2):
        short_run(sharing)
        log = log_of(sharing)
        assert log.count("=== llmeval: tiny-l, started ") == 1
        assert "listening on" in log


LATENCY = {"only": "tiny-l/plain", "metric": "latency", "at_most": "60 s", "percentile": 50}


@pytest.mark.parametrize(
    ("model", "suite", "arguments"),
    [
        ({"exact": True}, {}, ()),
        ({}, {"exact": True}, ()),
        ({}, {"gates": [LATENCY]}, ()),
        ({}, {}, ("--llm-set", "server.shared=false")),
        ({"threads": 2}, {}, ()),
    ],
    ids=["exact-model", "exact-suite", "latency-gate", "not-shared", "other-settings"],
)
def test_a_run_has_a_server_of_its_own_where_another_could_change_what_it_measures(
    sharing: Project, model: dict[str, Any], suite: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    first = held_run(sharing)
    sharing.config(models={"tiny-l": {**MODEL, **model}})
    sharing.suite("short", items=shipped("arithmetic", 10), **suite)
    second, port = short_run(sharing, *arguments)
    assert port != the_server(first).port
    assert "another run" not in second.text
    kill(first)


def test_where_no_lease_can_be_written_a_run_says_so_and_has_its_own_server(
    sharing: Project,
) -> None:
    sharing.write("cache/servers", "a file in the way")
    session, _ = short_run(sharing)
    assert "llmeval: tiny-l: no server can be shared in " in session.text
    assert "): it has its own" in session.text


def test_where_no_lease_has_room_a_run_has_its_own_server_too(sharing: Project) -> None:
    disk = sharing.root / "cache" / "servers"
    disk.mkdir(parents=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk, on Linux")
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("this root may not mount either")
    try:
        session, _ = short_run(sharing)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert "(No space left on device): it has its own" in " ".join(session.text.split())


def test_the_log_of_a_server_that_does_not_start_is_in_the_runs_folder(sharing: Project) -> None:
    sharing.config(models={"tiny-l": {**MODEL, "args": ["--no-such-option"]}})
    session = sharing.start("suites/short.yaml")
    assert session.wait() == 1, session.text
    log = log_of(sharing)
    assert log.count("=== llmeval: tiny-l, started ") == 1
    assert "no-such-option" in log
