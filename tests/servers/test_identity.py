"""A process is its pid and the time of its start."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_llmeval.servers import identity as identity_module
from pytest_llmeval.servers.detached import start_detached
from pytest_llmeval.servers.identity import Identity, identity_of


def own_identity() -> Identity:
    identity = identity_of(os.getpid())
    assert identity is not None
    return identity


def test_a_running_process_is_itself() -> None:
    assert own_identity().lives()


def test_a_pid_with_another_start_is_somebody_else() -> None:
    own = own_identity()
    assert not Identity(own.pid, own.create_time - 10).lives()
    assert Identity(own.pid, own.create_time + 0.5).lives()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere systems keep the time of a start")
def test_on_linux_a_process_is_itself_whatever_the_clock_is_set_to() -> None:
    own = own_identity()
    assert replace(own, create_time=own.create_time - 3600).lives()
    boot, tick = own.mark.split(".")
    assert not replace(own, mark=f"{boot}.{int(tick) + 1}").lives()
    assert not replace(own, mark=f"00000000.{tick}").lives()  # of before the machine was started


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names in a process's facts")
def test_a_program_with_brackets_in_its_name_is_found(tmp_path: Path) -> None:
    program = tmp_path / "a) Z ("
    program.symlink_to(shutil.which("sleep") or "")
    process = subprocess.Popen([str(program), "60"])
    identity = identity_of(process.pid)
    assert identity is not None
    assert identity.mark
    assert identity.lives()
    process.kill()
    process.wait()
    assert not identity.lives()


def test_a_process_that_has_ended_is_nobody_even_before_it_is_counted() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identity_of(process.pid)
    assert identity is not None
    process.kill()
    while identity.lives():
        pass  # killed, but not counted: a zombie on POSIX
    assert identity_of(process.pid) is None
    process.communicate()
    assert identity_of(process.pid) is None


def test_a_detached_process_leaves_its_words_in_the_log_and_no_zombie(tmp_path: Path) -> None:
    log = tmp_path / "words.log"
    code = "import sys; print('here', flush=True); sys.stderr.write('there')"
    identity = start_detached([sys.executable, "-c", code], log, environ=os.environ)
    while identity is not None and identity.lives():
        pass
    assert log.read_text(encoding="utf-8").split() == ["here", "there"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a start by a file")
def test_where_no_more_files_can_be_opened_a_process_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be a server that others use: what is dead is ended, and its files deleted."""
    me = own_identity()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(identity_module, "open", full, raising=False)
    assert me.lives()
