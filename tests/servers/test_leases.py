"""Plain processes that share one server: exactly one start, and nothing left after the last."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.servers import ports
from pytest_llmeval.servers.identity import Identity, identity_of
from pytest_llmeval.servers.lease_files import Ended, Kept, LeaseFiles
from pytest_llmeval.servers.lease_guard import is_needed
from pytest_llmeval.servers.lease_sweep import sweep
from pytest_llmeval.servers.leases import Lease, lease_key
from pytest_llmeval.servers.process import ProcessStartError
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.sharing import SharedServer, shared
from pytest_llmeval.servers.spec import ServerSpec

Running = Callable[[int], bool]
BecomesTrue = Callable[..., bool]
Fetch = Callable[[str, "str | None"], "tuple[int, bytes]"]

THE_BOUND = 2.0
"""Seconds within which nothing is left, as the README promises them."""

MANY = 64

ATTACH_MS = 50.0
"""What finding a running server may take, at the 95th percentile, inside the process."""


class Holder:
    """A process that shares a server."""

    def __init__(self, *arguments: str, inside: Sequence[str] = ()) -> None:
        script = str(Path(__file__).with_name("servers_holder.py"))
        command = [*inside, sys.executable, script, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def says(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def hears(self, words: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words)
        self.process.stdin.flush()

    def asks_again(self) -> float:
        """Have it find the server once more; how many milliseconds that took."""
        self.hears(b"again\n")
        return float(self.says()["attached_ms"])

    def lets_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None
        self.process.wait()


@dataclass(frozen=True)
class Sharing:
    """Who shares, where, and what is left of it."""

    folder: Path
    model: Path
    holders: list[Holder]
    running: Running
    becomes_true: BecomesTrue

    def ask(self, *extra: str, inside: Sequence[str] = ()) -> Holder:
        """Start a process that asks for the server; it has said that it does."""
        self.holders.append(Holder(str(self.model), str(self.folder), *extra, inside=inside))
        return self.holders[-1]

    def lease(self) -> Path:
        (lease,) = self.folder.iterdir()
        return lease

    def starts(self) -> int:
        log = (self.lease() / "server.log").read_text(encoding="utf-8", errors="replace")
        return log.count("embedded: listening on")

    def nothing_is_left(self, facts: dict[str, Any]) -> bool:
        port = int(facts["url"].rpartition(":")[2])
        return self.becomes_true(
            lambda: (
                not self.running(facts["server"])
                and not self.running(facts["guard"])
                and ports.is_free("127.0.0.1", port)
            ),
            THE_BOUND,
        )


@pytest.fixture
def sharing(
    tmp_path: Path, model: Path, running: Running, becomes_true: BecomesTrue
) -> Iterator[Sharing]:
    it = Sharing(tmp_path / "leases", model, [], running, becomes_true)
    yield it
    for holder in it.holders:
        holder.process.kill()
        holder.process.communicate()
    for lease in it.folder.glob("*"):
        kept = LeaseFiles(lease).kept()
        assert kept is None or becomes_true(lambda kept=kept: not kept.guard.lives())


# Many processes -------------------------------------------------------------------------------


def test_64_processes_share_one_server_and_leave_nothing(sharing: Sharing) -> None:
    """Exactly one start, one url, found within the bound by all; half of them let go, half die."""
    holders = [sharing.ask("again") for _ in range(MANY)]
    for holder in holders:
        assert holder.says() == {"asks": True}
    facts = [holder.says() for holder in holders]
    assert facts == [facts[0]] * MANY
    assert sharing.starts() == 1
    took = sorted(holder.asks_again() for holder in holders)
    assert took[int(0.95 * MANY)] < ATTACH_MS, took
    for holder in holders[::2]:
        holder.process.kill()
    for holder in holders[3::2]:
        holder.lets_go()
    time.sleep(THE_BOUND)
    assert sharing.running(facts[0]["server"])  # one is left
    holders[1].process.kill()
    assert sharing.nothing_is_left(facts[0])
    assert [*(sharing.lease() / "holders").iterdir()] == []


def test_who_comes_after_the_last_starts_it_anew(sharing: Sharing) -> None:
    first = sharing.ask()
    first.says()
    one = first.says()
    first.lets_go()
    assert sharing.nothing_is_left(one)
    second = sharing.ask()
    second.says()
    two = second.says()
    assert two["server"] != one["server"]
    assert sharing.starts() == 2


def test_who_comes_right_after_the_last_finds_it(sharing: Sharing) -> None:
    """Whether the guard has noticed yet or not: there is one server, for as long as it is held."""
    first = sharing.ask()
    first.says()
    one = first.says()
    for _ in range(8):
        second = sharing.ask()
        second.says()
        first.lets_go()
        two = second.says()
        assert sharing.running(two["server"])
        first = second
    time.sleep(THE_BOUND)
    assert sharing.running(two["server"])
    assert one["server"] == two["server"] or sharing.nothing_is_left(one)


# Whoever is killed ----------------------------------------------------------------------------


def begun(sharing: Sharing) -> Kept:
    """Wait until a server has been started, and nobody has found it healthy; who it is."""

    def look() -> Kept | None:
        leases = [LeaseFiles(path) for path in sharing.folder.glob("*")]
        return leases[0].kept() if leases else None

    assert sharing.becomes_true(lambda: look() is not None)
    kept = look()
    assert kept is not None
    return kept


def test_when_the_starter_is_killed_in_mid_start_another_takes_over(sharing: Sharing) -> None:
    starter = sharing.ask()
    kept = begun(sharing)
    others = [sharing.ask() for _ in range(4)]
    for other in others:
        other.says()
    starter.process.kill()
    facts = [other.says() for other in others]
    assert facts == [facts[0]] * 4
    assert sharing.running(facts[0]["server"])
    assert kept.server.pid == facts[0]["server"] or not kept.server.lives()
    for other in others:
        other.process.kill()
    assert sharing.nothing_is_left(facts[0])


def test_a_starter_that_is_killed_alone_leaves_nothing(sharing: Sharing) -> None:
    starter = sharing.ask()
    kept = begun(sharing)
    starter.process.kill()
    assert sharing.becomes_true(lambda: not kept.server.lives() and not kept.guard.lives(), 2)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_whenever_the_starter_is_killed_one_server_is_there_in_the_end(
    sharing: Sharing, delay: float
) -> None:
    starter, other = sharing.ask(), sharing.ask()
    starter.says()
    time.sleep(delay)
    starter.process.kill()
    other.says()
    facts = other.says()
    servers = [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if str(sharing.model) in (process.info["cmdline"] or ())
        and "lease_guard.py" not in "".join(process.info["cmdline"])
        and "servers_holder.py" not in "".join(process.info["cmdline"])
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and process.cwd() == str(sharing.lease())
    ]
    assert servers == [facts["server"]]
    other.lets_go()
    assert sharing.nothing_is_left(facts)


def test_a_lease_that_is_removed_by_hand_ends_its_server(sharing: Sharing) -> None:
    holder = sharing.ask()
    holder.says()
    facts = holder.says()
    shutil.rmtree(sharing.lease())
    assert sharing.nothing_is_left(facts)


def test_a_server_that_nobody_could_find_is_ended(sharing: Sharing, files: LeaseFiles) -> None:
    """Where its guard cannot write who it is."""
    sharing.folder.mkdir()
    files.hold(me())
    (files.folder / "guard.json").mkdir()
    command = [sys.executable, "-c", f"open({str(files.folder / 'ran')!r}, 'w'); input()"]
    lease = Lease(files.folder)
    with pytest.raises(ProcessStartError, match=r"it cannot be said that it runs: .*guard\.json"):
        lease.start(command, 0, environ=os.environ)
    assert lease.is_free()


def test_a_killed_guard_takes_the_server_along_and_who_asks_next_starts_it_anew(
    sharing: Sharing,
) -> None:
    holder = sharing.ask()
    holder.says()
    one = holder.says()
    psutil.Process(one["guard"]).kill()
    assert sharing.nothing_is_left(one)
    other = sharing.ask()
    other.says()
    two = other.says()
    assert two["server"] != one["server"]
    assert sharing.starts() == 2


# In one process -------------------------------------------------------------------------------


@pytest.fixture
def share(tmp_path: Path, model: Path, fetch: Fetch) -> Iterator[Callable[..., SharedServer]]:
    """Make servers that are shared within this test, and not started yet."""
    made: list[SharedServer] = []

    def make(**spec: Any) -> SharedServer:
        asked = ServerSpec("tiny", "embedded", model, 2, 256, tmp_path / "none", threads=1)
        made.append(SharedServer(replace(asked, **spec), tmp_path / "leases", fetch))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def test_the_context_manager_gives_a_server_that_answers(
    tmp_path: Path, model: Path, fetch: Fetch
) -> None:
    spec = ServerSpec("tiny", "embedded", model, 2, 256, tmp_path / "none", threads=1)
    with shared(spec, tmp_path / "leases", fetch) as server:
        assert fetch(f"{server.url}/health", None) == (200, b'{"status":"ok"}')
        assert server.alive()
        assert server.cpu_seconds() > 0
        assert server.progress().memory > 2**20
        with shared(spec, tmp_path / "leases", fetch) as same:
            assert same.url == server.url
        assert not server.wait(1)  # it is still ours


def test_a_server_whose_starter_stands_still_is_used_when_it_is_healthy(
    share: Callable[..., SharedServer],
) -> None:
    """Ctrl-Z while it loads: the starter keeps its turn, and tells nobody that it is ready."""
    starter, second = share(), share(start_timeout=0.5)
    lease = starter._join()
    lease.hold()
    with lease.turn() as ours:
        assert ours
        Server._bring_up(starter)
        second.start()
        assert second.pid == starter.pid
    starter.stop()
    assert second.alive()


def test_who_has_less_patience_ends_no_server_that_another_is_starting(
    share: Callable[..., SharedServer], tmp_path: Path
) -> None:
    starter = share()
    loading = b'{"error": {"code": 503, "message": "Loading model"}}'
    spec = replace(starter.spec, start_timeout=0.5)
    hasty = SharedServer(spec, tmp_path / "leases", lambda *_: (503, loading))
    lease = starter._join()
    lease.hold()
    with lease.turn() as ours:
        assert ours
        Server._bring_up(starter)
        with pytest.raises(ServerStartError):
            hasty.start()
        assert starter.alive()


def test_who_waits_for_nothing_is_told_the_way_out(share: Callable[..., SharedServer]) -> None:
    starter, second = share(), share(start_timeout=0.5)
    lease = starter._join()
    with lease.turn() as ours:
        assert ours
        with pytest.raises(ServerStartError) as refused:
            second.start()
    assert "another process has been about to start it for 0.5 s and has not" in str(refused.value)
    assert "--llm-set server.shared=false" in str(refused.value)


def test_another_spec_is_another_server(share: Callable[..., SharedServer]) -> None:
    one, other = share(), share(context=512)
    one.start()
    other.start()
    assert one.pid != other.pid


def test_one_that_hangs_is_restarted_once_for_all(share: Callable[..., SharedServer]) -> None:
    one, other = share(), share()
    one.start()
    other.start()
    old = one.pid
    psutil.Process(old).suspend()
    one.restart()
    assert one.pid != old
    assert not other.alive()
    assert other.exit_description is not None
    other.restart()
    assert (other.pid, other.url) == (one.pid, one.url)


def test_one_that_died_tells_everybody_what_ended_it(
    share: Callable[..., SharedServer], becomes_true: BecomesTrue
) -> None:
    one, other = share(), share()
    one.start()
    other.start()
    assert one.pid is not None
    psutil.Process(one.pid).kill()
    assert one.wait(10)
    assert one.exit_description == other.exit_description
    if sys.platform != "win32":
        assert str(one.exit_description).startswith("SIGKILL")


def test_a_model_that_cannot_be_loaded_is_told_with_its_last_words_and_held_by_nobody(
    share: Callable[..., SharedServer], unloadable: Path, tmp_path: Path
) -> None:
    server = share(gguf=unloadable)
    with pytest.raises(ServerStartError, match="ended while it started: exit code 1") as caught:
        server.start()
    # llama.cpp's own words come from a thread of its own, before or after the launcher's.
    assert any("cannot serve" in line or "exiting" in line for line in caught.value.log_tail)
    (lease,) = (tmp_path / "leases").iterdir()
    assert [*(lease / "holders").iterdir()] == []


def test_a_program_that_cannot_be_started_is_told(
    share: Callable[..., SharedServer], tmp_path: Path
) -> None:
    program = tmp_path / "llama-server"
    program.write_bytes(b"\x7fELF no program")
    program.chmod(0o755)
    with pytest.raises(ServerStartError, match=r"could not be started: .*llama-server"):
        share(kind="llama-server", executable=str(program)).start()


def test_a_folder_that_cannot_be_written_is_told(
    share: Callable[..., SharedServer], tmp_path: Path
) -> None:
    (tmp_path / "leases").write_bytes(b"no folder")
    with pytest.raises(ServerStartError, match=r"tiny: its lease cannot be written in .*leases"):
        share().start()


def test_a_stop_makes_a_start_that_waits_give_up(
    share: Callable[..., SharedServer], llama_server: Callable[..., str], becomes_true: BecomesTrue
) -> None:
    import threading

    executable = llama_server("exec sleep 600")
    server = share(kind="llama-server", executable=executable)

    def stop() -> None:
        assert becomes_true(server.alive)
        server.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(ServerStartError, match="stopped"):
        server.start()
    stopper.join()
    assert becomes_true(lambda: not server.alive(), THE_BOUND)


def test_who_waits_for_a_server_that_another_process_starts_is_told_so(
    tmp_path: Path,
    share: Callable[..., SharedServer],
    llama_server: Callable[..., str],
    fetch: Fetch,
    becomes_true: BecomesTrue,
) -> None:
    """That one may hang in a debugger, or load for minutes."""
    executable = llama_server("exec sleep 600")
    first = share(kind="llama-server", executable=executable)
    told: list[str] = []
    second = SharedServer(
        first.spec, tmp_path / "leases", fetch, report=lambda _, w: told.append(w)
    )

    def start(server: SharedServer) -> None:
        with contextlib.suppress(ServerStartError):
            server.start()

    with ThreadPoolExecutor() as threads:
        threads.submit(start, first)
        assert becomes_true(first.alive)
        threads.submit(start, second)
        assert becomes_true(lambda: bool(told))
        second.stop()
        first.stop()
    assert told[0].startswith("another process starts it, in ")
    assert str(tmp_path / "leases") in told[0]


# How they agree -------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> LeaseFiles:
    return LeaseFiles(tmp_path / "lease")


def me() -> Identity:
    it = identity_of(psutil.Process().pid)
    assert it is not None
    return it


def test_a_holder_counts_as_long_as_its_process_lives(files: LeaseFiles) -> None:
    ours, again = files.hold(me()), files.hold(me())
    files.hold(Identity(me().pid, me().create_time - 60))  # somebody who had our pid before us
    ended = subprocess.Popen([sys.executable, "-c", ""])
    files.hold(Identity(ended.pid, time.time()))
    ended.wait()
    (ours.parent / ".DS_Store").touch()
    assert files.is_held()
    assert {path.name for path in ours.parent.iterdir()} == {ours.name, again.name, ".DS_Store"}
    ours.unlink()
    assert files.is_held()
    again.unlink()
    assert not files.is_held()


def test_a_guard_that_is_not_needed_is_not_to_be_found_any_more(files: LeaseFiles) -> None:
    kept = Kept("1", me(), me(), 8080)
    files.hold(me()).unlink()
    files.write_kept(kept)
    files.write_ready("1")
    assert files.ready() == kept
    assert not is_needed(files)
    assert files.kept() is None
    assert files.ready() is None


def test_a_guard_stays_where_somebody_came_at_the_last_moment(files: LeaseFiles) -> None:
    """Who held it after the first look, and found it before or after the withdrawal."""
    files.hold(me()).unlink()
    kept = Kept("1", me(), me(), 8080)
    files.write_kept(kept)

    class LateComer(LeaseFiles):
        """The folder as somebody changes it between the guard's two looks."""

        def withdraw(self) -> bool:
            gone = super().withdraw()
            self.hold(me())
            assert self.kept() is None
            return gone

    assert is_needed(LateComer(files.folder))
    assert files.kept() == kept


def test_what_is_ready_is_the_server_that_runs_and_no_earlier_one(files: LeaseFiles) -> None:
    files.hold(me())
    files.write_kept(Kept("2", me(), me(), 8080))
    files.write_ready("1")
    assert files.ready() is None
    gone = Identity(me().pid, me().create_time - 60)
    files.write_kept(Kept("1", gone, me(), 8080))
    assert files.ready() is not None
    assert Lease(files.folder).attach() is None


def test_an_end_is_told_to_whose_order_it_was(files: LeaseFiles) -> None:
    files.hold(me())
    files.write_ended(Ended("1", code=7))
    assert files.ended("1") == Ended("1", code=7)
    assert files.ended("2") is None


def test_one_at_a_time_has_the_turn(tmp_path: Path) -> None:
    one, other = Lease(tmp_path), Lease(tmp_path)
    with one.turn() as first, other.turn() as second:
        assert (first, second) == (True, False)
    with other.turn() as then:
        assert then


def test_a_server_is_known_by_what_shapes_it(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"weights")
    spec = ServerSpec("tiny", "llama-server", weights, 2, 256, tmp_path / "log")

    def key(changed: ServerSpec = spec, **environ: str) -> str:
        return lease_key(changed, [weights], environ)

    assert key() == key(replace(spec, log_path=tmp_path / "other", start_timeout=5))
    assert key() == key(HOME="/home/somebody")
    for name in (
        "CUDA_VISIBLE_DEVICES",
        "ROCBLAS_USE_HIPBLASLT",
        "RADV_PERFTEST",
        "BLIS_NUM_THREADS",
    ):
        assert key() != key(spec, **{name: "1"}), name
    assert key() != key(replace(spec, slots=3))
    assert key() != key(replace(spec, args=("--flash-attn",)))
    before = key()
    weights.write_bytes(b"other weights")
    assert key() != before
    weights.unlink()
    assert key() != before


def test_processes_of_another_machine_have_a_server_of_their_own_in_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ServerSpec("tiny", "llama-server", None, 2, 256, tmp_path / "log")
    here = lease_key(spec, [], {})
    monkeypatch.setattr("pytest_llmeval.servers.leases.neighbourhood", lambda: "another machine")
    assert lease_key(spec, [], {}) != here


CONTAINER = ("unshare", "-Urpf", "--kill-child", "--mount-proc")
"""Runs a command where it has a pid of its own, and sees no processes but its own."""


def has_containers() -> bool:
    try:
        return (
            subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


@pytest.mark.skipif(not has_containers(), reason="this system lets nobody have a container")
def test_a_container_that_has_the_folder_too_ends_nobody_elses_server(sharing: Sharing) -> None:
    ours = sharing.ask("again")
    ours.says()
    facts = ours.says()
    theirs = sharing.ask(inside=CONTAINER)
    theirs.says()
    assert theirs.says()["url"] != facts["url"]
    theirs.lets_go()
    time.sleep(THE_BOUND)
    assert sharing.running(facts["server"])
    ours.asks_again()
    ours.lets_go()
    assert sharing.nothing_is_left(facts)


# What is left behind --------------------------------------------------------------------------

WEEK = 7 * 24 * 3600.0


@pytest.fixture
def ended(tmp_path: Path) -> LeaseFiles:
    """What a server that has just ended leaves."""
    files = LeaseFiles(tmp_path / ("a" * 32))
    files.hold(me()).unlink()
    gone = Identity(me().pid, me().create_time - 60)
    files.write_kept(Kept("1", gone, gone, 8080))
    files.write_ended(Ended("1", code=0))
    for name in ("server.log", "server.log.1", "guard.log", "start.lock", "guard.lock"):
        (files.folder / name).write_bytes(b"")
    return files


def names_in(files: LeaseFiles) -> set[str]:
    return {path.name for path in files.folder.iterdir()}


def test_what_a_server_left_is_removed_a_week_after_it_ended(ended: LeaseFiles) -> None:
    before = names_in(ended)
    sweep(ended.folder.parent, now=time.time() + 0.9 * WEEK)
    assert names_in(ended) == before
    sweep(ended.folder.parent, now=time.time() + 1.1 * WEEK)
    assert names_in(ended) == {"start.lock", "guard.lock", "holders"}


def test_nothing_is_removed_of_a_server_that_is_held_or_kept_or_about_to_start(
    ended: LeaseFiles,
) -> None:
    before = names_in(ended)
    later = time.time() + 2 * WEEK
    holder = ended.hold(me())
    sweep(ended.folder.parent, now=later)
    holder.unlink()
    for lock in (ended.start_lock, ended.guard_lock):
        with FileLock(lock):
            sweep(ended.folder.parent, now=later)
    assert names_in(ended) == before


def test_only_leases_are_swept(ended: LeaseFiles) -> None:
    other = ended.folder.with_name("letters")
    ended.folder.rename(other)
    sweep(other.parent, now=time.time() + 2 * WEEK)
    sweep(other.parent / "none", now=time.time() + 2 * WEEK)
    assert (other / "server.log").exists()


def test_who_lets_go_last_has_old_leases_swept(
    sharing: Sharing, ended: LeaseFiles, becomes_true: BecomesTrue
) -> None:
    sharing.folder.mkdir()
    old = LeaseFiles(ended.folder.rename(sharing.folder / ended.folder.name))
    for path in old.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    holder = sharing.ask()
    holder.says()
    holder.says()
    holder.lets_go()
    assert becomes_true(lambda: names_in(old) == {"start.lock", "guard.lock", "holders"})
