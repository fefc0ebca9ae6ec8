"""Whoever is killed: within two seconds no server is left, no guard and no held port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pytest_llmeval.servers import ports
from pytest_llmeval.servers.server import Server

MakeServer = Callable[..., Server]
Running = Callable[[int], bool]
BecomesTrue = Callable[..., bool]

THE_BOUND = 2.0
"""Seconds, as the README promises them."""

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no such signal, or no fork, or no shell"
)


@dataclass
class Owner:
    """A process that owns a server."""

    process: subprocess.Popen[bytes]
    server: int
    guard: int
    url: str
    child: int | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture
def start_owner(tmp_path: Path, model: Path) -> Iterator[Callable[..., Owner]]:
    """Start a process that owns a server, in a session of its own as a terminal gives it."""
    owners: list[Owner] = []

    def start(*extra: str) -> Owner:
        script = str(Path(__file__).with_name("servers_owner.py"))
        process = subprocess.Popen(
            [sys.executable, script, str(model), str(tmp_path / "tiny.log"), *extra],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        owners.append(Owner(process, **json.loads(process.stdout.readline())))
        return owners[-1]

    yield start
    for owner in owners:
        for pid in filter(None, (owner.child, owner.process.pid, owner.guard, owner.server)):
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        owner.process.wait()
        assert owner.process.stdout is not None
        owner.process.stdout.close()


@pytest.fixture
def nothing_left(running: Running, becomes_true: BecomesTrue) -> Callable[[int, int, int], bool]:
    """Whether server, guard and port are gone within the bound."""

    def gone(server: int, guard: int, port: int) -> bool:
        return becomes_true(
            lambda: not running(server) and not running(guard) and ports.is_free("127.0.0.1", port),
            THE_BOUND,
        )

    return gone


NothingLeft = Callable[[int, int, int], bool]


def test_killing_the_owner_ends_everything(
    start_owner: Callable[..., Owner], nothing_left: NothingLeft
) -> None:
    owner = start_owner()
    owner.process.kill()
    assert nothing_left(owner.server, owner.guard, owner.port)


@posix_only
def test_sigterm_to_the_owner_ends_everything(
    start_owner: Callable[..., Owner], nothing_left: NothingLeft
) -> None:
    owner = start_owner()
    owner.process.terminate()
    assert nothing_left(owner.server, owner.guard, owner.port)


@posix_only
def test_killing_an_owner_whose_child_holds_its_pipes_ends_everything(
    start_owner: Callable[..., Owner], nothing_left: NothingLeft, running: Running
) -> None:
    owner = start_owner("fork")
    assert owner.child is not None
    owner.process.kill()
    assert nothing_left(owner.server, owner.guard, owner.port)
    assert running(owner.child)


def test_killing_owner_and_guard_together_ends_the_server(
    start_owner: Callable[..., Owner], nothing_left: NothingLeft
) -> None:
    """The lifeline of the embedded engine does it, on every system."""
    owner = start_owner()
    psutil.Process(owner.guard).suspend()  # so that it cannot act when it sees the owner end
    owner.process.kill()
    psutil.Process(owner.guard).kill()
    assert nothing_left(owner.server, owner.guard, owner.port)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere llama-server has no lifeline")
def test_killing_owner_and_guard_together_ends_a_server_without_lifeline(
    start_owner: Callable[..., Owner], nothing_left: NothingLeft, llama_server: Callable[..., str]
) -> None:
    """The kernel does it."""
    owner = start_owner(llama_server())
    psutil.Process(owner.guard).suspend()
    owner.process.kill()
    psutil.Process(owner.guard).kill()
    assert nothing_left(owner.server, owner.guard, owner.port)


@posix_only
def test_ctrl_c_in_the_owners_terminal_does_not_reach_the_server(
    start_owner: Callable[..., Owner],
    fetch: Callable[[str, str | None], tuple[int, bytes]],
    running: Running,
) -> None:
    owner = start_owner()
    groups = {os.getpgid(pid) for pid in (owner.process.pid, owner.guard, owner.server)}
    assert len(groups) == 3
    os.killpg(owner.process.pid, signal.SIGINT)
    assert owner.process.stdout is not None
    assert owner.process.stdout.readline() == b"interrupted\n"
    assert fetch(f"{owner.url}/health", None)[0] == 200
    assert running(owner.guard)


@posix_only
def test_sigterm_to_the_guard_ends_the_server(
    make_server: MakeServer, nothing_left: NothingLeft
) -> None:
    server = make_server()
    server.start()
    assert server.pid is not None
    assert server.guard_pid is not None
    psutil.Process(server.guard_pid).terminate()
    assert nothing_left(server.pid, server.guard_pid, int(server.url.rpartition(":")[2]))


def test_killing_the_guard_ends_the_server_and_its_owner_knows(
    make_server: MakeServer, nothing_left: NothingLeft, becomes_true: BecomesTrue
) -> None:
    server = make_server()
    server.start()
    assert server.pid is not None
    assert server.guard_pid is not None
    psutil.Process(server.guard_pid).kill()
    assert nothing_left(server.pid, server.guard_pid, int(server.url.rpartition(":")[2]))
    assert becomes_true(lambda: not server.alive())
    assert server.exit_description == "its guard process was killed, and the server with it"


@pytest.fixture
def behind_a_wrapper(make_server: MakeServer, llama_server: Callable[..., str]) -> Iterator[Server]:
    """A server that runs as the child of a shell script, which waits for it."""
    wrapper = f'"{sys.executable}" -m pytest_llmeval.servers.embedded "$@"; echo over'
    server = make_server(kind="llama-server", executable=llama_server(wrapper))
    server.start()
    children = psutil.Process(server.pid).children()
    yield server
    for child in children:
        if child.is_running():
            child.kill()


def test_a_stop_reaches_a_server_behind_a_wrapper(
    behind_a_wrapper: Server, running: Running
) -> None:
    (real,) = psutil.Process(behind_a_wrapper.pid).children()
    behind_a_wrapper.stop()
    assert not running(real.pid)


def test_killing_the_wrapper_ends_its_server(
    behind_a_wrapper: Server, running: Running, becomes_true: BecomesTrue
) -> None:
    wrapper = psutil.Process(behind_a_wrapper.pid)
    (real,) = wrapper.children()
    wrapper.kill()
    assert becomes_true(lambda: not running(real.pid), THE_BOUND)


def test_killing_the_guard_ends_a_server_behind_a_wrapper(
    behind_a_wrapper: Server, running: Running, becomes_true: BecomesTrue
) -> None:
    (real,) = psutil.Process(behind_a_wrapper.pid).children()
    assert behind_a_wrapper.guard_pid is not None
    psutil.Process(behind_a_wrapper.guard_pid).kill()
    assert becomes_true(lambda: not running(real.pid), THE_BOUND)
