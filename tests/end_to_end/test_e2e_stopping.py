"""Ctrl-C, SIGTERM and kill -9 on a run with real servers, and going on afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import pytest

from tools import kill_loop
from tools.real_runs import MODELS, ROLES, Project, Role, Session, becomes_true, shipped

WITH_AND_WITHOUT_WORKERS = pytest.mark.parametrize(
    "workers", [(), ("-n", "2")], ids=["alone", "with-workers"]
)

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no process groups that a signal reaches"
)


def start(project: Project, *arguments: str) -> Session:
    """Start a run of 2 × 200 trials and wait until it is in the middle of them."""
    project.suite(items=shipped("arithmetic", 200))
    session = project.start(*arguments)
    assert becomes_true(lambda: session.over or project.lines() >= 10)
    return session


def no_server_is_left(session: Session) -> bool:
    """Whether servers and guards are gone within the bound; xdist's workers end when they can."""
    return becomes_true(lambda: not session.processes("guard", "server"), kill_loop.THE_BOUND)


@posix_only
@WITH_AND_WITHOUT_WORKERS
def test_ctrl_c_stops_the_servers_and_says_how_to_go_on_which_works(
    project: Project, workers: tuple[str, ...]
) -> None:
    session = start(project, *workers)
    os.killpg(session.process.pid, signal.SIGINT)  # the whole group, as a terminal does
    assert session.wait() == 2, session.text
    assert no_server_is_left(session)
    assert f"--llm-resume {project.folder.name}" in session.text
    assert "Traceback" not in session.text
    assert project.manifest()["exit_reason"] == "interrupted"
    before = project.journals()
    status, text = project.run(*workers, "--llm-resume", project.folder.name)
    assert status == 0, text
    assert kill_loop.check_resumed(project, before, 400) > 0
    assert project.manifest()["exit_reason"] == "finished"


@posix_only
@WITH_AND_WITHOUT_WORKERS
def test_sigterm_leaves_no_server(project: Project, workers: tuple[str, ...]) -> None:
    session = start(project, *workers)
    session.process.terminate()
    assert session.wait() != 0
    assert no_server_is_left(session)


@pytest.mark.parametrize("victim", ROLES)
def test_kill_9_leaves_nothing_and_the_run_goes_on_where_it_was(
    victim: Role, capsys: pytest.CaptureFixture[str]
) -> None:
    """One round of `python tools/kill_loop.py`, which is the long form of this test."""
    status = kill_loop.main(["--rounds", "1", "--items", "60", "--victim", victim])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "1 kills" in printed
    assert "0 promises broken" in printed


def test_a_run_does_not_go_on_with_other_weights(project: Project) -> None:
    weights = project.root / "model.gguf"
    shutil.copy(MODELS["tiny-l"]["gguf"], weights)
    project.config(models={"m": {"engine": "embedded", "gguf": str(weights)}})
    session = start(project)
    session.end()
    before = project.journals()
    assert 10 <= project.answers().total() < 200
    shutil.copy(MODELS["tiny-s"]["gguf"], weights)
    status, text = project.run("--llm-resume", "last")
    assert status == 4
    assert "model m: sha256 of the weights was" in text
    assert "start a new run without --llm-resume" in text
    assert "nothing was sent" in text
    assert project.journals() == before
