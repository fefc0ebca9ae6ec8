"""A user's project on the shipped models; what is started in it is ended with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.real_runs import Project

STAND_IN = Path(__file__).with_name("llama_server_stand_in.py")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project of its own."""
    project = Project(tmp_path)
    yield project
    project.end()


@pytest.fixture
def stand_in(project: Project) -> Path:
    """An executable called llama-server, which is the embedded engine unless `args` say more."""
    if sys.platform == "win32":
        pytest.skip("a script is an executable only where there is a POSIX shell")
    path = project.write(
        "bin/llama-server", f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n'
    )
    path.chmod(0o755)
    return path
