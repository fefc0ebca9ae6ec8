from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pytest_llmeval.machine import environment
from pytest_llmeval.machine.environment import describe_environment


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No git, no nvidia-smi: nothing on PATH at all."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    try:
        git(tmp_path, "init")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def test_it_says_what_a_run_ran_on() -> None:
    described = describe_environment(environ={})
    assert described["python"]["version"] == platform.python_version()
    assert described["packages"]["pytest"] == pytest.__version__
    assert described["system"]["machine"] == platform.machine()
    assert described["cpu"]["threads"] >= described["cpu"]["usable"] >= 1
    assert described["memory"] > 2**20
    assert described["git"] is None


def test_everything_can_be_written_as_json(repository: Path) -> None:
    described = describe_environment(repository)
    assert json.loads(json.dumps(described, allow_nan=False)) == described


def test_it_does_not_name_the_machine() -> None:
    if platform.node():
        assert platform.node() not in json.dumps(describe_environment(environ={}))


@pytest.mark.usefixtures("nothing_installed")
def test_missing_programs_and_packages_leave_gaps_and_raise_nothing(tmp_path: Path) -> None:
    described = describe_environment(tmp_path, environ={}, distributions=["no-such-package"])
    assert described["packages"] == {"no-such-package": None}
    assert described["git"] is None
    assert described["gpus"] == []


def test_the_commit_is_told_and_whether_files_differ_from_it(repository: Path) -> None:
    clean = environment.git_state(repository)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (repository / "file").write_text("two", encoding="utf-8")
    assert environment.git_state(repository) == {"commit": clean["commit"], "dirty": True}


def test_a_folder_outside_any_work_tree_has_no_commit(tmp_path: Path) -> None:
    assert environment.git_state(tmp_path) is None


def test_only_switches_of_the_engines_are_taken_and_secrets_are_hidden() -> None:
    environ = {
        "CUDA_VISIBLE_DEVICES": "1",
        "LLAMA_ARG_THREADS": "4",
        "LLAMA_ARG_API_KEY": "secret-1",
        "OLLAMA_TOKEN": "secret-2",
        "GGML_secret_sauce": "secret-3",
        "LLAMA_API_KEY": "secret-4",
        "HOME": "/home/somebody",
        "MY_CUDA": "no",
    }
    assert environment.switches(environ) == {
        "CUDA_VISIBLE_DEVICES": "1",
        "GGML_secret_sauce": "[redacted]",
        "LLAMA_ARG_API_KEY": "[redacted]",
        "LLAMA_ARG_THREADS": "4",
        "OLLAMA_TOKEN": "[redacted]",
    }


def test_gpus_are_read_from_the_drivers_tool() -> None:
    answer = "NVIDIA GeForce RTX 4080, 555.42, 16376\nGB10, 580.1, [N/A]\nnonsense\n"
    assert environment.read_gpus(answer) == [
        {"name": "NVIDIA GeForce RTX 4080", "driver": "555.42", "memory": 16376 * 2**20},
        {"name": "GB10", "driver": "580.1", "memory": None},
    ]


def test_a_program_that_takes_too_long_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "SECONDS", 0.1)
    assert environment.ask([sys.executable, "-c", "import time; time.sleep(60)"]) is None


def test_a_program_that_fails_has_no_answer() -> None:
    assert environment.ask([sys.executable, "-c", "print(1); raise SystemExit(1)"]) is None


def test_threads_that_compute_are_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    monkeypatch.setattr(environment, "usable_cpus", lambda: 2)
    assert environment.computing_cores() == 2  # in a container
    monkeypatch.setattr(environment, "usable_cpus", lambda: 16)
    assert environment.computing_cores() == 8  # two threads a core
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)
    assert environment.computing_cores() == 1  # the system does not tell
