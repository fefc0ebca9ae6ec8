""".ci/run with everything around it played: which tasks it performs, and what ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TASKS = ["llama-cpp", "test", "check", "demo", "bench"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script for POSIX shells")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs, all that PATH names: a Linux with OpenMP, a C++ compiler and a browser.

    Its python3 writes down the tasks of tools/dev.py and performs none; `llama-cpp` ends with the
    status that the file `status` holds.
    """
    for name in ("bash", "cat", "dirname", "env", "grep"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    play(tmp_path, "uname", "echo Linux")
    play(tmp_path, "id", "echo 0")
    play(tmp_path, "ldconfig", "echo libgomp.so.1")
    play(tmp_path, "c++", "exit 0")
    play(tmp_path, "chromium", "exit 0")
    status = f'[ "$2" != llama-cpp ] || exit "$(cat {tmp_path}/status)"'
    play(tmp_path, "python3", f'echo "$2" >> {tmp_path}/tasks\n{status}')
    return tmp_path


def play(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(
        f"#!{shutil.which('sh')}\n{script}\n", encoding="utf-8", newline="\n"
    )
    (folder / name).chmod(0o755)


def run(machine: Path, status: int) -> tuple[int, list[str], str]:
    """Exit status, the tasks performed and what was said, when `llama-cpp` ends so."""
    (machine / "status").write_text(str(status), encoding="utf-8", newline="\n")
    # Its own `PATH="$PATH:/sbin:/usr/sbin"` is for ldconfig alone, which is played.
    done = subprocess.run(
        [str(machine / "bash"), str(ROOT / ".ci" / "run")],
        env={**os.environ, "PATH": str(machine)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    tasks = (machine / "tasks").read_text(encoding="utf-8").split()
    return done.returncode, tasks, done.stderr


def test_every_task_is_performed_once(machine: Path) -> None:
    assert run(machine, 0) == (0, TASKS, "")


def test_a_build_that_fails_is_no_reason_to_skip_tests(machine: Path) -> None:
    assert run(machine, 1)[:2] == (1, ["llama-cpp"])


def test_where_no_compiler_is_and_none_can_be_had_it_goes_on_and_says_so(machine: Path) -> None:
    (machine / "c++").unlink()
    play(machine, "apt-get", "exit 100")
    status, tasks, said = run(machine, 3)
    assert (status, tasks) == (0, TASKS)
    assert said.splitlines() == [
        "No C++ compiler could be installed.",
        "Going on without the real llama-server: the tests that need it are skipped.",
    ]


def test_a_build_that_takes_too_long_is_given_up_and_the_rest_goes_on(machine: Path) -> None:
    play(machine, "timeout", f'echo "$*" > {machine}/limited\nexit 124')
    status, tasks, said = run(machine, 0)
    assert (status, tasks) == (0, TASKS[1:])
    assert said.startswith("Going on without the real llama-server")
    limited = (machine / "limited").read_text(encoding="utf-8")
    assert limited == "--kill-after=60 1500 python3 tools/dev.py llama-cpp\n"


def test_where_no_compiler_is_one_is_installed(machine: Path) -> None:
    (machine / "c++").unlink()
    play(machine, "apt-get", f'echo "$*" >> {machine}/installed')
    assert run(machine, 0) == (0, TASKS, "")
    installed = (machine / "installed").read_text(encoding="utf-8").splitlines()
    assert installed[0].startswith("update")
    assert installed[1].endswith("g++ make cmake")


def test_where_no_browser_is_one_is_installed(machine: Path) -> None:
    (machine / "chromium").unlink()
    play(machine, "apt-get", f'echo "$*" >> {machine}/installed')
    assert run(machine, 0) == (0, TASKS, "")
    installed = (machine / "installed").read_text(encoding="utf-8").splitlines()
    assert installed[0].startswith("update")
    assert installed[1].endswith("--no-install-recommends chromium fonts-dejavu-core")


@pytest.mark.parametrize("browser", ["chromium-browser", "google-chrome", "google-chrome-stable"])
def test_another_browser_that_is_there_will_do(machine: Path, browser: str) -> None:
    (machine / "chromium").rename(machine / browser)
    play(machine, "apt-get", f"touch {machine}/installed")
    assert run(machine, 0) == (0, TASKS, "")
    assert not (machine / "installed").exists()


def test_where_no_browser_can_be_had_it_goes_on_and_says_so(machine: Path) -> None:
    (machine / "chromium").unlink()
    play(machine, "apt-get", "exit 100")
    expected = "No browser could be installed: the tests of the page are skipped.\n"
    assert run(machine, 0) == (0, TASKS, expected)


def test_where_there_is_no_apt_nothing_is_tried(machine: Path) -> None:
    (machine / "chromium").unlink()
    assert run(machine, 0) == (0, TASKS, "")
