"""The daemon with real servers: who may die, by what, and what is there afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from pytest_llmeval.errors import DaemonError
from pytest_llmeval.orchestrator import daemon
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.servers.identity import Identity, identity_of
from pytest_llmeval.servers.logs import is_title, read_lines
from pytest_llmeval.servers.ports import is_free
from tools.orch_homes import OrchHome, OrchProcess, OrchRole
from tools.real_runs import becomes_true

THE_BOUND = 2.0
"""Seconds until nothing is left, as the manual promises them."""

SEEN_SECONDS = 0.25
"""Until a dead server is known to be dead, as the manual promises it."""

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")

MakeHome = Callable[..., OrchHome]


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[MakeHome]:
    """Make a home with instances of these names; what is run in it ends with the test."""
    homes: list[OrchHome] = []

    def make(*names: str) -> OrchHome:
        homes.append(OrchHome(tmp_path / f"home {len(homes)} ä", *names))
        return homes[-1]

    yield make
    for home in homes:
        home.end()


@pytest.fixture
def up(make_home: MakeHome) -> OrchHome:
    """A home with a daemon and two instances that are up."""
    home = make_home("one", "two")
    status, text = home.run("up", "one", "two")
    assert status == 0, text
    return home


def only(home: OrchHome, role: OrchRole) -> OrchProcess:
    (one,) = home.processes(role)
    return one


def served_by(home: OrchHome, name: str) -> Identity:
    server = home.row(name).server
    assert server is not None
    return server


def nothing_left(processes: list[OrchProcess]) -> bool:
    """Whether these are gone within the bound, and their ports free."""
    ports = [one.port for one in processes if one.port is not None]
    return becomes_true(
        lambda: (
            not any(one.lives for one in processes)
            and all(is_free("127.0.0.1", port) for port in ports)
        ),
        THE_BOUND,
    )


# One for a home -----------------------------------------------------------------------------------


def test_however_many_start_it_at_once_there_is_one_daemon(make_home: MakeHome) -> None:
    home = make_home()
    starts = [home.start("daemon", "start", "--json") for _ in range(6)]
    said = [json.loads(start.communicate(timeout=60)[0]) for start in starts]
    assert len({each["pid"] for each in said}) == 1
    log = daemon.log_path(home.home).read_text(encoding="utf-8")
    assert log.count(" starts, pid ") == 1
    assert only(home, "daemon").pid == said[0]["pid"]


ASK = """
import os, sys
from pathlib import Path
from pytest_llmeval.orchestrator.client import Client
from pytest_llmeval.orchestrator.home import Home
print(Client.open(Home(Path(sys.argv[1])), environ=os.environ).up("one").url)
"""


def test_64_processes_that_want_one_instance_start_one_daemon_and_one_server(
    make_home: MakeHome,
) -> None:
    home = make_home("one")
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(home.home.root)],
            env=home.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(64)
    ]
    said = [asker.communicate()[0].decode("utf-8", "replace") for asker in askers]
    assert {asker.returncode for asker in askers} == {0}, said
    assert len(set(said)) == 1
    assert said[0].startswith("http://127.0.0.1:")
    written = read_lines(home.home.logs / "one.out.log", 1000)
    assert len([line for line in written if is_title(line)]) == 1, written
    assert len(home.processes("daemon")) == len(home.processes("server")) == 1


def test_a_second_daemon_says_who_is_there_and_leaves(up: OrchHome) -> None:
    first = only(up, "daemon").pid
    status, text = up.run("daemon", "run")
    assert status == 1
    assert f"there is a daemon of {up.home.root} already (pid {first})" in text
    assert "`llama-orch daemon stop` ends it" in text


def test_what_a_dead_daemon_left_beside_its_lock_is_no_daemon(make_home: MakeHome) -> None:
    home = make_home()
    home.home.root.mkdir()
    home.home.daemon_lock.write_bytes(b"")
    daemon.write_owner(home.home, Identity(os.getpid(), 1.0))
    assert daemon.running(home.home) is None
    assert home.run("daemon", "start")[0] == 0


def test_a_lock_whose_holder_cannot_be_seen_is_told(make_home: MakeHome) -> None:
    """As another user's daemon is, in a home that is shared."""
    home = make_home()
    home.home.root.mkdir()
    with FileLock(home.home.daemon_lock):
        status, text = home.run("daemon", "start")
    assert status == 1
    assert "the daemon ended as it started" in text
    assert f"there is a daemon of {home.home.root} already." in text


def test_a_home_that_cannot_be_one_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(DaemonError, match=r"no daemon can live in .*file.*must be yours to write"):
        daemon.ensure_running(Home(file), os.environ)


def test_a_daemon_that_ends_as_it_starts_is_told_with_its_last_words(make_home: MakeHome) -> None:
    home = make_home()
    home.home.root.mkdir()
    home.home.daemon_lock.mkdir()  # no lock can be there
    status, text = home.run("daemon", "start")
    assert status == 1
    assert "the daemon ended as it started; its last words:" in text
    assert f"no daemon can live in {home.home.root}: " in text


# Whoever is killed --------------------------------------------------------------------------------


def test_killing_the_daemon_ends_everything_and_the_next_brings_it_up_again(up: OrchHome) -> None:
    doomed = up.processes("daemon", "guard", "server")
    assert len(doomed) == 5
    ports = {name: up.row(name).port for name in ("one", "two")}
    only(up, "daemon").kill()
    assert nothing_left(doomed)
    assert up.run("daemon", "start")[0] == 0
    assert up.comes_up("one", "two")
    assert {name: up.row(name).port for name in ("one", "two")} == ports
    assert len(up.processes("guard", "server")) == 4


def test_killing_the_daemon_ends_a_real_llama_server(
    make_home: MakeHome, real_llama_server: Path
) -> None:
    home = make_home()
    home.config("one", server={"engine": "llama-server", "executable": str(real_llama_server)})
    assert home.run("up", "one")[0] == 0
    doomed = home.processes("daemon", "guard", "server")
    only(home, "daemon").kill()
    assert nothing_left(doomed)


def test_killing_a_guard_ends_its_server_which_is_started_again(up: OrchHome) -> None:
    before = up.row("one")
    assert before.guard is not None
    doomed = [
        each
        for each in up.processes("guard", "server")
        if before.guard.pid in {each.pid, each.parent}
    ]
    doomed[0 if doomed[0].role == "guard" else 1].kill()
    assert nothing_left([each for each in doomed if each.role == "guard"])
    assert becomes_true(lambda: up.is_up("one") and up.row("one").server != before.server)
    assert up.row("one").restarts == 1
    assert served_by(up, "two").lives()


def seconds_until_seen(home: OrchHome, name: str) -> float:
    """Kill an instance's server: how long until the state says so; back when another is up."""
    killed = home.row(name).server
    psutil.Process(served_by(home, name).pid).kill()
    began = time.monotonic()
    assert becomes_true(lambda: home.row(name).server != killed, 5)
    seen = time.monotonic() - began
    assert becomes_true(lambda: home.is_up(name))
    return seen


def test_a_killed_server_is_seen_at_once_and_started_again_at_its_port(up: OrchHome) -> None:
    """The quickest of three counts: on a busy machine anybody may be kept from looking."""
    port = up.row("one").port
    assert min(seconds_until_seen(up, "one") for _ in range(3)) < SEEN_SECONDS
    assert up.row("one").port == port
    restarts = up.state.restarts_of("one")
    assert len(restarts) == 3
    assert all(each.reason.startswith("the server ended: ") for each in restarts)
    assert all("SIGKILL" in each.reason for each in restarts) or sys.platform == "win32"


def test_what_a_killed_command_has_asked_for_is_done_once(make_home: MakeHome) -> None:
    home = make_home("one")
    assert home.run("daemon", "start")[0] == 0
    command = home.start("up", "one")
    assert becomes_true(lambda: home.state.row("one") is not None)
    command.kill()
    assert home.comes_up("one")
    assert becomes_true(lambda: home.state.requests_after(0) == ())
    assert len(home.processes("server")) == 1
    assert [event.kind for event in home.state.events_of("one")] == ["up"]


def test_what_was_asked_of_a_daemon_that_died_is_done_by_the_next(up: OrchHome) -> None:
    only(up, "daemon").process.suspend()
    number = up.state.ask("one", "down")
    only(up, "daemon").kill()
    assert up.state.outcome(number) is None
    assert up.run("daemon", "start")[0] == 0
    assert becomes_true(lambda: up.state.outcome(number) is not None)
    assert up.comes_up("two")
    assert up.row("one").server is None


def test_a_process_that_an_earlier_daemon_has_left_is_ended(make_home: MakeHome) -> None:
    home = make_home("one")
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        home.state.put(InstanceRow("one", health="healthy", server=identity_of(orphan.pid)))
        assert home.run("daemon", "start")[0] == 0
        assert becomes_true(lambda: orphan.poll() is not None)
        assert home.row("one").server is None
        assert f"process {orphan.pid} was left by an earlier daemon, ended" in {
            event.text for event in home.state.events_of(None)
        }
    finally:
        orphan.kill()
        orphan.wait()


# Whoever ends it ----------------------------------------------------------------------------------


def test_stop_ends_all_servers_and_leaves_them_down(up: OrchHome) -> None:
    doomed = up.processes("daemon", "guard", "server")
    status, text = up.run("daemon", "stop")
    assert status == 0
    assert "and all its servers have ended" in text
    assert not any(one.lives for one in doomed)
    assert {(row.wanted, row.health, row.server) for row in up.state.rows()} == {
        ("down", "unknown", None)
    }
    assert up.state.daemon() is None
    ports = {one.port for one in doomed if one.role == "server"}
    assert up.run("daemon", "start")[0] == 0
    assert not up.processes("server")
    assert up.run("up", "--all")[0] == 0
    assert {one.port for one in up.processes("server")} == ports, "clients know them"


@posix_only
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_end_is_a_clean_stop(up: OrchHome, name: str) -> None:
    only(up, "daemon").process.send_signal(getattr(signal, name))
    assert becomes_true(lambda: not up.processes(), 15)
    assert {row.wanted for row in up.state.rows()} == {"down"}


@posix_only
def test_it_stays_when_its_terminal_goes(make_home: MakeHome) -> None:
    home = make_home("one")
    home.start("daemon", "run")
    assert becomes_true(lambda: daemon.answering(home.home) is not None)
    only(home, "daemon").process.send_signal(signal.SIGHUP)
    assert home.run("up", "one")[0] == 0


def test_one_that_does_not_listen_is_killed_with_all_its_servers(up: OrchHome) -> None:
    doomed = up.processes("daemon", "guard", "server")
    only(up, "daemon").process.suspend()
    assert daemon.stop(up.home, seconds=0.5) is not None
    assert nothing_left(doomed)


def test_stop_without_a_daemon_has_nothing_to_do(make_home: MakeHome) -> None:
    home = make_home()
    assert home.json("daemon", "stop") == {"pid": None, "home": str(home.home.root)}


# What it brings up --------------------------------------------------------------------------------


def test_it_brings_up_what_is_to_start_with_it(make_home: MakeHome) -> None:
    home = make_home("one", "two", "three")
    assert home.run("daemon", "autostart", "two", "three")[0] == 0
    home.config("three").unlink()
    assert home.run("daemon", "start")[0] == 0
    assert home.comes_up("two")
    assert [row.name for row in home.state.rows()] == ["two"]
    assert "autostart names 'three', of which there is no config any more" in {
        event.text for event in home.state.events_of(None)
    }


def test_what_was_given_up_stays_so_with_the_next_daemon(make_home: MakeHome) -> None:
    home = make_home("one")
    home.state.put(InstanceRow("one", wanted="up", health="error", detail="given up"))
    assert home.run("daemon", "start")[0] == 0
    assert (home.row("one").health, home.row("one").detail) == ("error", "given up")
    assert home.run("up", "one")[0] == 0
    assert home.row("one").health == "healthy"


def test_a_database_that_is_lost_under_it_is_written_anew(up: OrchHome) -> None:
    servers = {one.pid for one in up.processes("server")}
    up.state.close()
    for path in up.home.root.glob("state.db*"):
        path.rename(path.with_name(f"lost-{path.name}"))
    assert up.comes_up("one", "two")
    assert {served_by(up, name).pid for name in ("one", "two")} == servers
    assert up.run("down", "one")[0] == 0
