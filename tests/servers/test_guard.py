"""The guard as its owner meets it: a process that speaks lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.servers import guard, job

FOREVER = "import time\nwhile True: time.sleep(0.2)"


class Guard:
    """A guard and the pipes to it."""

    def __init__(self, log: Path, command: list[str], owner: int):
        order = {"owner": owner, "log": str(log)}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, json.dumps(order), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def hears(self, words: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words)
        self.process.stdin.flush()

    def loses_its_owner(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def says(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    guards: list[Guard] = []

    def start(*command: str, owner: int | None = None) -> Guard:
        owner = os.getpid() if owner is None else owner
        guards.append(Guard(tmp_path / "log", [*command], owner))
        return guards[-1]

    yield start
    for each in guards:
        each.process.communicate()


def test_it_reports_the_start_and_the_end(start: Callable[..., Guard]) -> None:
    it = start(sys.executable, "-c", "raise SystemExit(5)")
    assert it.says().keys() == {"event", "pid"}
    assert it.says() == {"event": "exited", "code": 5}
    assert it.process.wait() == 0


def test_it_reports_what_cannot_be_started(start: Callable[..., Guard]) -> None:
    it = start("/no/such/program")
    said = it.says()
    assert said["event"] == "failed"
    assert said["error"].endswith(": /no/such/program")
    assert it.process.wait() == 1


def test_arguments_reach_the_server_as_they_are(
    start: Callable[..., Guard], tmp_path: Path
) -> None:
    code = "import sys; print(sys.argv[1:])"
    start(sys.executable, "-c", code, "--", "--help", "a b").process.wait()
    assert (tmp_path / "log").read_text(encoding="utf-8").strip() == "['--', '--help', 'a b']"


def test_told_to_stop_it_ends_the_server(
    start: Callable[..., Guard], running: Callable[[int], bool]
) -> None:
    it = start(sys.executable, "-c", FOREVER)
    pid = it.says()["pid"]
    it.hears(b"nonsense\nst")
    it.hears(b"op 30\n")
    assert it.says()["event"] == "exited"
    assert not running(pid)


def test_without_an_owner_it_ends_the_server_at_once(
    start: Callable[..., Guard], running: Callable[[int], bool]
) -> None:
    it = start(sys.executable, "-c", FOREVER)
    pid = it.says()["pid"]
    it.loses_its_owner()
    assert it.says()["event"] == "exited"
    assert not running(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork: pipes tell it all")
def test_it_notices_that_its_parent_is_not_its_owner(start: Callable[..., Guard]) -> None:
    it = start(sys.executable, "-c", FOREVER, owner=1 if os.getppid() != 1 else 2)
    assert it.says()["event"] == "started"
    assert it.says() == {"event": "exited", "code": -9}


def test_it_owes_nothing_to_the_package() -> None:
    """The guard runs without site-packages, and importing it imports nothing of ours."""
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1]); "
        "print([name for name in sys.modules if 'llmeval' in name or name == 'psutil'])"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, guard.__file__], stdout=subprocess.PIPE, check=True
    ).stdout
    assert out.strip() == b"[]"


def test_the_job_object_has_the_size_that_windows_checks() -> None:
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION: 144 bytes with 8-byte pointers, 112 with 4."""
    import ctypes

    expected = 144 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112
    limits = job.job_limits()
    assert ctypes.sizeof(limits) == expected
    assert limits.BasicLimitInformation.LimitFlags == 0x2000
