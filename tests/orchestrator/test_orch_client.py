"""What any process may ask of a home's instances, with a daemon that does as it is told to.

The real one is in `test_orch_client_daemon.py`; here it dies, fails and is missing at will.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import (
    DaemonError,
    InstanceConfigError,
    LlmevalError,
    OrchestratorError,
    ServerStartError,
    StateError,
    UnknownInstanceError,
)
from pytest_llmeval.orchestrator.client import Client
from pytest_llmeval.orchestrator.configs import fingerprint
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome, Request, Wish
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.orchestrator.views import Wanted
from pytest_llmeval.orchestrator.waiting import Asked, wait_for
from pytest_llmeval.servers.health import HealthState
from pytest_llmeval.servers.identity import Identity, identity_of

ME = identity_of(os.getpid())


UNKNOWN = "no instance 'alhpa'; did you mean 'alpha'? (there are: alpha, beta)"


class StandInDaemon:
    """Does at once what is asked, in a thread with a connection of its own, as a process would."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.log = home.logs / "daemon.log"
        self.lives = False
        self.starts = 0
        self.asked: list[tuple[str, str]] = []
        self.meets: LlmevalError | None = None
        self.dies_over: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self._threads: list[threading.Thread] = []

    def running(self) -> Identity | None:
        return ME if self.lives else None

    def ensure_running(self) -> Identity:
        if not self.lives:
            self.lives = True
            self.starts += 1
            self._threads.append(threading.Thread(target=self._work))
            self._threads[-1].start()
        assert ME is not None
        return ME

    def end(self) -> None:
        self.lives = False
        self.hold.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        state = State.open(self.home.state)
        while self.lives:
            for request in state.requests_after(0):
                self.asked.append((request.wish, request.name))
                if request.wish in self.dies_over:
                    self.dies_over.remove(request.wish)
                    self.lives = False
                    break
                self.hold.wait()
                state.finish(request.number, self._do(state, request))
            time.sleep(0.005)
        state.close()

    def _do(self, state: State, request: Request) -> Outcome:
        if self.meets is not None:
            return Outcome.of(self.meets)
        row = state.row(request.name) or InstanceRow(request.name)
        if request.wish in {"up", "restart"}:
            row = replace(row, health="healthy", detail="ok", server=ME, url="http://x", port=9)
        if request.wish == "down":
            row = replace(row, health="unknown", detail="", server=None, url=None)
        state.put(row)
        return Outcome()


def declare(home: Home, name: str, **keys: Any) -> Path:
    folder = home.instances / name
    folder.mkdir(parents=True)
    lines = ["model: {path: m.gguf}", *(f"{key}: {value}" for key, value in keys.items())]
    path = folder / "config.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    for name in ("alpha", "beta"):
        declare(home, name)
    return home


@pytest.fixture
def daemon(home: Home) -> Iterator[StandInDaemon]:
    daemon = StandInDaemon(home)
    yield daemon
    daemon.end()


@pytest.fixture
def state(home: Home) -> Iterator[State]:
    state = State.open(home.state)
    yield state
    state.close()


@pytest.fixture
def client(home: Home, state: State, daemon: StandInDaemon) -> Client:
    return Client(home, state, daemon, environ={})


def test_who_brings_it_down_while_the_daemon_starts_has_the_last_word(
    client: Client, daemon: StandInDaemon, state: State
) -> None:
    starts = daemon.ensure_running

    def slowly() -> Identity:
        client.down("alpha")
        return starts()

    daemon.ensure_running = slowly  # type: ignore[method-assign]
    with pytest.raises(ServerStartError, match="it was brought down before it was up"):
        client.up("alpha")

    assert client.view("alpha").wanted == "down"
    assert state.requests_after(0) == ()
    assert ("up", "alpha") not in daemon.asked


def test_up_starts_the_daemon_and_is_back_when_requests_may_be_sent(
    client: Client, daemon: StandInDaemon
) -> None:
    view = client.up("alpha")

    assert (view.name, view.wanted, view.ready, view.url) == ("alpha", "up", True, "http://x")
    assert daemon.starts == 1


def test_up_of_one_that_is_up_asks_for_nothing(client: Client, daemon: StandInDaemon) -> None:
    client.up("alpha")
    view = client.up("alpha")

    assert view.ready
    assert daemon.asked == [("up", "alpha")]


def test_up_asks_again_when_the_server_is_gone_or_on_its_way_down(
    client: Client, daemon: StandInDaemon, state: State
) -> None:
    client.up("alpha")
    row = state.row("alpha")
    assert row is not None
    state.put(replace(row, server=Identity(2**22 + 1, 1.0)))
    client.up("alpha")
    state.want("alpha", "down")
    client.up("alpha")

    assert daemon.asked == [("up", "alpha")] * 3


def test_up_asks_again_when_the_servers_end_is_written_down_while_it_looks(
    client: Client, daemon: StandInDaemon, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.up("alpha")
    running = daemon.running

    def when_it_is_noted() -> Identity | None:
        monkeypatch.setattr(daemon, "running", running)
        row = state.row("alpha")
        assert row is not None
        state.put(replace(row, health="unknown", detail="it ended", server=None, url=None))
        return running()

    monkeypatch.setattr(daemon, "running", when_it_is_noted)
    view = client.up("alpha")

    assert (view.ready, view.url) == (True, "http://x")
    assert daemon.asked == [("up", "alpha")] * 2


@pytest.mark.parametrize("then", ["up", "down"])
def test_up_asks_again_when_the_daemon_had_not_noticed_yet_that_the_server_has_ended(
    client: Client, daemon: StandInDaemon, monkeypatch: pytest.MonkeyPatch, then: Wanted
) -> None:
    """Not so if somebody has it brought down in the meantime: who came later has the last word."""
    do = daemon._do

    def too_late(state: State, request: Request) -> Outcome:
        monkeypatch.setattr(daemon, "_do", do)
        row = state.row("alpha")
        assert row is not None
        state.put(replace(row, health="unknown", detail="it ended", server=None, url=None))
        if then == "down":
            state.ask("alpha", "down")
        return Outcome()

    monkeypatch.setattr(daemon, "_do", too_late)
    view = client.up("alpha")

    assert (view.wanted, view.ready) == (then, then == "up")
    assert daemon.asked.count(("up", "alpha")) == (2 if then == "up" else 1)


def test_nothing_is_asked_of_the_daemon_when_the_config_has_a_mistake(
    client: Client, daemon: StandInDaemon, state: State, home: Home
) -> None:
    path = declare(home, "wrong", server="{prot: 8080}")
    for act in (client.up, client.restart, client.config):
        with pytest.raises(InstanceConfigError, match="prot"):
            act("wrong")

    assert daemon.starts == 0
    assert state.row("wrong") is None
    (view,) = [view for view in client.overview() if view.name == "wrong"]
    assert view.detail.startswith(f"{path}:2: ")
    assert view.backend is None


def test_what_is_known_of_one_is_told_although_its_config_has_a_mistake(
    client: Client, daemon: StandInDaemon, state: State, home: Home
) -> None:
    """Also once it is gone, as long as its server runs: that is when its log is needed."""
    client.up("alpha")
    row = state.row("alpha")
    assert row is not None
    state.put(replace(row, log_folder="/var/log/alpha"))
    state.note_event("died", "the server ended", name="alpha")
    path = home.instances / "alpha" / "config.yaml"
    path.write_text("model: {path: m.gguf, pth: 1}\n", encoding="utf-8", newline="\n")

    detail = client.describe("alpha")
    assert (detail.view.ready, detail.config, detail.config_path) == (True, None, path)
    assert detail.config_problem is not None
    assert "unknown key 'pth'" in detail.config_problem
    assert [event.text for event in detail.events] == ["the server ended"]
    assert client.log("alpha", "err") == Path("/var/log/alpha/alpha.err.log")

    path.unlink()
    gone = client.describe("alpha")
    assert "there is no config.yaml or config.json" in str(gone.config_problem)
    assert client.log("alpha", "out") == Path("/var/log/alpha/alpha.out.log")


def test_the_log_of_one_that_never_ran_needs_its_config(client: Client, home: Home) -> None:
    declare(home, "wrong", server="{prot: 8080}")
    with pytest.raises(InstanceConfigError, match="prot"):
        client.log("wrong", "out")


@pytest.mark.parametrize("act", ["up", "down", "restart", "reset", "check", "view", "describe"])
def test_a_name_that_does_not_exist_tells_those_that_do(
    client: Client, daemon: StandInDaemon, state: State, act: str
) -> None:
    with pytest.raises(UnknownInstanceError) as told:
        getattr(client, act)("alhpa")

    assert str(told.value) == UNKNOWN
    assert daemon.starts == 0
    assert state.row("alhpa") is None


@pytest.mark.parametrize("act", ["up", "restart"])
def test_a_server_that_does_not_come_up_is_raised_with_its_last_words(
    client: Client, daemon: StandInDaemon, act: str
) -> None:
    daemon.meets = ServerStartError("alpha did not start", log_tail=("out of memory",))
    with pytest.raises(ServerStartError) as told:
        getattr(client, act)("alpha")
    assert told.value.log_tail == ("out of memory",)


@pytest.mark.parametrize("act", ["up", "restart"])
def test_a_daemon_that_dies_over_it_is_followed_by_another(
    client: Client, daemon: StandInDaemon, act: str
) -> None:
    daemon.dies_over = [act]
    assert getattr(client, act)("alpha").ready
    assert daemon.starts == 2
    assert daemon.asked == [(act, "alpha")] * 2


@pytest.mark.parametrize("act", ["up", "restart"])
def test_a_second_one_that_dies_over_it_is_the_end(
    client: Client, daemon: StandInDaemon, home: Home, act: str
) -> None:
    daemon.dies_over = [act, act]
    with pytest.raises(DaemonError) as told:
        getattr(client, act)("alpha")
    assert str(told.value) == (
        f"the daemon has ended before `{act} alpha` was done. That is still asked for: "
        "`llama-orch daemon start` goes on with it, and `llama-orch down alpha` takes it back. "
        f"Why it ended: {home.logs / 'daemon.log'}"
    )

    daemon.ensure_running()
    wait_until(lambda: client.view("alpha").ready)


def test_what_a_daemon_did_with_its_last_breath_counts(
    client: Client, daemon: StandInDaemon, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers and ends, both between our looking for the answer and our looking for it."""

    def end() -> None:
        for request in state.requests_after(0):
            state.finish(request.number, Outcome())

    monkeypatch.setattr(daemon, "running", end)
    client._wait(Asked(state.ask("alpha", "up"), "alpha", "up"))
    assert state.requests_after(0) == ()


def test_a_database_that_is_lost_while_one_waits_is_told(
    client: Client, daemon: StandInDaemon, home: Home, state: State
) -> None:
    """Else it would wait for a number that nobody knows, or that is given to another's request."""
    daemon.hold.clear()
    told: list[LlmevalError] = []

    def ask() -> None:
        with pytest.raises(StateError) as error:
            client.up("alpha")
        told.append(error.value)

    waiting = threading.Thread(target=ask)
    waiting.start()
    wait_until(lambda: daemon.asked == [("up", "alpha")])
    home.state.write_bytes(b"garbage" * 999)
    with closing(State.open(home.state)) as other:
        assert other.ask("beta", "up") > 10**9
    waiting.join()

    assert str(told[0]) == (
        "what was asked for is not known any more: the database was damaged meanwhile, and a new "
        "one begun. Ask again"
    )


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_how_far_it_is_is_told_every_second(
    home: Home, daemon: StandInDaemon, state: State
) -> None:
    told: list[tuple[str, str]] = []
    daemon.hold.clear()
    times = iter(range(10**6))

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if told:
            daemon.hold.set()

    client = Client(
        home,
        state,
        daemon,
        environ={},
        report=lambda name, line: told.append((name, line)),
        clock=lambda: float(next(times)),
        sleep=sleep,
    )
    state.put(InstanceRow("alpha", health="loading", detail="llama_model_loader: 3 of 9"))
    client.up("alpha")

    assert told[0] == ("alpha", "loading (1 s): llama_model_loader: 3 of 9")


@pytest.mark.parametrize(
    ("wish", "health", "line"),
    [
        ("up", "loading", "loading (3 s): 3 of 9"),
        ("restart", "loading", "loading (3 s): 3 of 9"),
        ("restart", "healthy", "stopping (3 s)"),
        ("down", "healthy", "stopping (3 s)"),
        ("check", "healthy", "healthy (3 s): 3 of 9"),
    ],
)
def test_progress_is_in_words_of_what_is_done(
    state: State, daemon: StandInDaemon, wish: Wish, health: HealthState, line: str
) -> None:
    """A server that is to be restarted is healthy until it is gone: that says nothing."""
    state.put(InstanceRow("alpha", health=health, detail="3 of 9"))
    told: list[str] = []
    asked = Asked(state.ask("alpha", wish), "alpha", wish)
    times = iter((0.0, 3.0))
    daemon.lives = True

    def end(seconds: float) -> None:
        state.finish(asked.number, Outcome())
        raise StopIteration

    with pytest.raises(StopIteration):
        wait_for(
            asked,
            state,
            daemon,
            report=lambda _, said: told.append(said),
            clock=lambda: next(times),
            sleep=end,
        )
    assert told == [line]


def test_ctrl_c_takes_nothing_back(home: Home, daemon: StandInDaemon, state: State) -> None:
    daemon.hold.clear()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    client = Client(home, state, daemon, environ={}, sleep=interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.up("alpha")

    row = state.row("alpha")
    assert row is not None
    assert row.wanted == "up"
    daemon.hold.set()
    wait_until(lambda: client.view("alpha").ready)


def test_down_is_back_when_the_process_is_gone(client: Client, daemon: StandInDaemon) -> None:
    client.up("alpha")
    view = client.down("alpha")
    assert (view.wanted, view.pid, view.health, view.detail) == (
        "down",
        None,
        "unknown",
        "it is down",
    )


@pytest.mark.parametrize("dies", [False, True])
def test_down_needs_no_daemon(
    client: Client, daemon: StandInDaemon, state: State, dies: bool
) -> None:
    """None was there, or it died over it: its servers are gone with it."""
    state.put(InstanceRow("alpha", wanted="up", health="healthy", server=Identity(2**22 + 1, 1.0)))
    if dies:
        daemon.dies_over = ["down"]
        daemon.ensure_running()

    view = client.down("alpha")

    assert (view.wanted, view.pid) == ("down", None)
    assert state.requests_after(0) == ()


def test_down_tells_of_a_server_that_outlives_its_daemon(
    home: Home, daemon: StandInDaemon, state: State
) -> None:
    """Nobody may be told that it is down while it holds its port; the next daemon hears of it."""
    times = iter(range(10**6))
    client = Client(
        home, state, daemon, environ={}, clock=lambda: float(next(times)), sleep=lambda _: None
    )
    state.put(InstanceRow("alpha", wanted="up", health="healthy", server=ME))
    with pytest.raises(OrchestratorError) as told:
        client.down("alpha")
    assert str(told.value) == (
        f"alpha: its daemon has died, and its server (pid {os.getpid()}) lives on; `llama-orch "
        "daemon start` ends what an earlier daemon has left"
    )
    assert [(each.wish, each.name) for each in state.requests_after(0)] == [("down", "alpha")]


def test_reset_without_a_daemon_forgets_that_one_was_given_up(
    client: Client, daemon: StandInDaemon, state: State
) -> None:
    state.put(InstanceRow("alpha", "up", "error", "it died 6 times", restarts=6, retry_at=5.0))
    view = client.reset("alpha")

    assert (view.wanted, view.health, view.restarts) == ("down", "unknown", 0)
    row = state.row("alpha")
    assert row is not None
    assert (row.health, row.restarts, row.retry_at) == ("unknown", 0, None)
    assert daemon.starts == 0
    assert client.reset("beta").health == "unknown"


def test_check_without_a_daemon_asks_nobody(client: Client, daemon: StandInDaemon) -> None:
    assert client.check("alpha").health == "unknown"
    assert daemon.starts == 0


def test_one_whose_config_is_gone_can_still_be_brought_down(
    client: Client, daemon: StandInDaemon, home: Home
) -> None:
    client.up("alpha")
    (home.instances / "alpha" / "config.yaml").unlink()

    (left, _) = client.overview()
    assert (left.name, left.ready) == ("alpha", True)
    assert left.detail.startswith("its config is gone; `llama-orch down` stops what is left of it")
    assert client.view("alpha") == left
    assert client.down("alpha").pid is None
    assert [view.name for view in client.overview()] == ["beta"]


def test_the_overview_has_every_instance_in_the_order_of_names(
    client: Client, daemon: StandInDaemon
) -> None:
    client.up("beta")
    assert client.names() == ("alpha", "beta")
    assert [(view.name, view.health) for view in client.overview()] == [
        ("alpha", "unknown"),
        ("beta", "healthy"),
    ]


def test_a_home_without_instances_has_an_empty_overview(tmp_path: Path) -> None:
    home = Home(tmp_path / "nothing")
    client = Client(home, State.open(home.state), StandInDaemon(home), environ={})
    assert client.overview() == ()
    assert client.names() == ()


def test_an_edited_config_is_seen_at_the_next_look(
    client: Client, daemon: StandInDaemon, home: Home
) -> None:
    assert client.view("alpha").slots == 1
    path = home.instances / "alpha" / "config.yaml"
    path.write_text(
        "model: {path: m.gguf}\nserver: {parallel: 3}\n", encoding="utf-8", newline="\n"
    )
    assert client.view("alpha").slots == 3
    assert client.overview()[0].slots == 3


def test_a_description_says_that_the_config_has_changed_since_the_start(
    client: Client, daemon: StandInDaemon, state: State, home: Home
) -> None:
    client.up("alpha")
    row = state.row("alpha")
    assert row is not None
    state.put(replace(row, fingerprint=fingerprint(client.config("alpha"))))
    state.note_event("up", "asked for", name="alpha")
    before = client.describe("alpha")
    assert not before.config_changed
    assert [event.text for event in before.events] == ["asked for"]
    assert before.config_path == home.instances / "alpha" / "config.yaml"

    before.config_path.write_text(
        "model: {path: m.gguf}\nserver: {parallel: 3}\n", encoding="utf-8", newline="\n"
    )
    assert client.describe("alpha").config_changed


def test_logs_lie_where_the_config_says(client: Client, home: Home, tmp_path: Path) -> None:
    assert client.log("alpha", "out") == home.logs / "alpha.out.log"
    declare(home, "gamma", log=f"{{folder: '{tmp_path / 'elsewhere'}'}}")
    assert client.log("gamma", "err") == tmp_path / "elsewhere" / "gamma.err.log"
    with pytest.raises(UnknownInstanceError, match="no instance 'delta'"):
        client.log("delta", "out")


def test_logs_stay_where_the_server_writes_when_its_config_is_edited(
    client: Client, state: State, tmp_path: Path
) -> None:
    state.put(InstanceRow("alpha", log_folder=str(tmp_path / "before")))
    assert client.log("alpha", "err") == tmp_path / "before" / "alpha.err.log"


def test_looking_costs_little_with_many_instances(client: Client, home: Home, state: State) -> None:
    """20 instances within 5 ms, so that a dashboard can look every second: the fastest of many."""
    for number in range(18):
        declare(home, f"i{number:02}")
        state.put(InstanceRow(f"i{number:02}", "up", "healthy", server=ME))
    client.overview()
    costs = []
    for _ in range(20):
        began = time.process_time()
        assert len(client.overview()) == 20
        costs.append(time.process_time() - began)
    assert min(costs) < 0.005
