"""Keepers with real servers, in this process: what they see, and what they do about it."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_llmeval.orchestrator import database
from pytest_llmeval.orchestrator.daemon_run import steady_clock
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome, Wish
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.orchestrator.supervisor import Supervisor
from tools.orch_homes import OrchHome
from tools.real_runs import becomes_true

STAND_IN = Path(__file__).with_name("hanging_server.py")

WATCHED_CLOSELY = {"interval": 0.1, "timeout": 0.3, "retries": 3, "start_period": 0}

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="a script is an executable only where there is a POSIX shell"
)


class Kept(OrchHome):
    """A home whose instances are kept by this very process."""

    def __init__(self, root: Path, *names: str) -> None:
        super().__init__(root, *names)
        self._own = State.open(self.home.state)
        self.supervisor = Supervisor(
            self.home, self._own, environ=self.environ, clock=steady_clock(), draw=lambda: 0.5
        )

    def ask(self, name: str, wish: Wish) -> int:
        number = self.state.ask(name, wish)
        self.supervisor.hear()
        return number

    def outcome(self, number: int) -> Outcome:
        """How a request ends."""
        assert becomes_true(lambda: self.state.outcome(number) is not None)
        outcome = self.state.outcome(number)
        assert outcome is not None
        return outcome

    def does(self, name: str, wish: Wish) -> Outcome:
        return self.outcome(self.ask(name, wish))

    def texts(self, name: str) -> list[str]:
        """What happened to it, in words."""
        return [event.text for event in self.state.events_of(name)]

    def get(self, name: str, path: str) -> None:
        url = self.row(name).url
        assert url is not None
        with urllib.request.urlopen(f"{url}{path}", timeout=5) as answer:
            answer.read()

    def reopen_state(self) -> None:
        """Have the keepers' connection made again."""
        self._own.close()

    def end(self) -> None:
        self.supervisor.quit(0, 10)
        self._own.close()
        super().end()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A home of which instances are added by the test."""
    kept = Kept(tmp_path / "home")
    yield kept
    kept.end()


@pytest.fixture
def stand_in(kept: Kept) -> Callable[..., None]:
    """Add an instance whose server can be told to hang."""

    def add(name: str, *args: str, **sections: object) -> None:
        path = kept.home.root / "llama-server"
        text = f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n'
        path.write_text(text, encoding="utf-8", newline="\n")
        path.chmod(0o755)
        server = {"engine": "llama-server", "executable": str(path)}
        kept.config(name, server=server, healthcheck=WATCHED_CLOSELY, args=list(args), **sections)

    return add


def server_of(row: InstanceRow) -> int:
    assert row.server is not None
    return row.server.pid


# Starts -------------------------------------------------------------------------------------------


def test_many_come_up_at_the_same_time(kept: Kept) -> None:
    names = ("one", "two", "three", "four")
    for name in names:
        kept.config(name)
    numbers = [kept.ask(name, "up") for name in names]
    assert [kept.outcome(number) for number in numbers] == [Outcome()] * 4
    assert len({kept.row(name).port for name in names}) == 4


@posix_only
def test_one_whose_start_hangs_blocks_nobody_and_can_be_brought_down(
    kept: Kept, stand_in: Callable[..., None]
) -> None:
    stand_in("slow", "never")
    kept.config("quick")
    slow = kept.ask("slow", "up")
    assert becomes_true(lambda: kept.row("slow").server is not None)
    assert kept.row("slow").health == "loading"
    assert kept.does("quick", "up") == Outcome()
    assert kept.does("slow", "down") == Outcome()
    assert kept.outcome(slow).error == "it was brought down before it was up"
    assert (kept.row("slow").health, kept.row("slow").server) == ("unknown", None)


def test_what_cannot_start_is_in_error_with_its_last_words(kept: Kept) -> None:
    kept.config("one", args=["--no-such-flag"])
    outcome = kept.does("one", "up")
    assert outcome.kind == "ServerStartError"
    assert "the server ended while it started" in (outcome.error or "")
    assert "--no-such-flag" in "".join(outcome.log_tail)
    row = kept.row("one")
    assert (row.health, row.server, row.retry_at) == ("error", None, None)
    assert row.detail == outcome.error


def test_a_model_that_is_not_there_is_told_and_up_begins_anew_once_it_is(
    kept: Kept, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    kept.config("one", model={"path": str(path)})
    assert kept.does("one", "up").kind == "ModelFileError"
    path.write_bytes((Path(__file__).parents[2] / "models" / "tiny-s.gguf").read_bytes())
    assert kept.does("one", "up") == Outcome()


def test_a_restart_loop_ends_in_error_and_reset_leaves_it_down(kept: Kept) -> None:
    kept.config("one", restart={"max_retries": 2, "initial": 0.01})
    kept.does("one", "up")
    for _ in range(3):
        assert becomes_true(lambda: kept.is_up("one"))
        psutil.Process(server_of(kept.row("one"))).kill()
        assert becomes_true(lambda: not kept.is_up("one"))
    assert becomes_true(lambda: kept.row("one").health == "error")
    assert "given up after 2 restarts" in kept.row("one").detail
    assert len(kept.state.restarts_of("one")) == 2
    assert kept.does("one", "reset") == Outcome()
    assert (kept.row("one").health, kept.row("one").wanted) == ("unknown", "down")
    assert kept.does("one", "up") == Outcome()


def test_what_surely_does_not_fit_is_refused_with_the_numbers(kept: Kept) -> None:
    kept.config("one", model={"context_size": 10**9})
    outcome = kept.does("one", "up")
    assert outcome.kind == "ServerStartError"
    assert (outcome.error or "").startswith("one: it does not fit: about ")
    assert "GiB of main memory too little is free" in (outcome.error or "")
    assert not kept.home.logs.exists()


def test_nobody_has_an_instance_of_that_name(kept: Kept) -> None:
    kept.config("one")
    outcome = kept.does("onw", "up")
    assert outcome.kind == "UnknownInstanceError"
    assert "no instance 'onw'" in (outcome.error or "")
    assert kept.state.row("onw") is None


# Health -------------------------------------------------------------------------------------------


@posix_only
def test_a_server_that_is_alive_and_hangs_is_started_again(
    kept: Kept, stand_in: Callable[..., None]
) -> None:
    stand_in("one")
    kept.does("one", "up")
    before = kept.row("one")
    kept.get("one", "/hang?sleep")
    assert becomes_true(lambda: kept.is_up("one") and kept.row("one").server != before.server)
    (restart,) = kept.state.restarts_of("one")
    assert restart.reason.startswith("the server hangs: no answer within 0.3 s (3 failures in a")
    assert kept.row("one").port == before.port


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_stopped_server_is_started_again(kept: Kept) -> None:
    kept.config("one", healthcheck=WATCHED_CLOSELY)
    kept.does("one", "up")
    before = kept.row("one")
    psutil.Process(server_of(before)).suspend()
    assert becomes_true(lambda: kept.is_up("one") and kept.row("one").server != before.server)


@posix_only
def test_a_server_that_answers_nothing_because_it_computes_is_left_alone(
    kept: Kept, stand_in: Callable[..., None]
) -> None:
    stand_in("one")
    kept.does("one", "up")
    before = kept.row("one")
    kept.get("one", "/hang?compute")
    assert becomes_true(lambda: kept.row("one").health == "busy")
    time.sleep(3)  # some six looks, of which three would be enough
    assert kept.row("one").server == before.server
    assert kept.state.restarts_of("one") == ()
    assert kept.row("one").health == "busy"


def test_check_looks_now_and_notes_the_answer(kept: Kept) -> None:
    kept.config("one", healthcheck={"interval": 1000})
    kept.does("one", "up")
    count = len(kept.state.health_of("one"))
    assert kept.does("one", "check") == Outcome()
    newest = kept.state.health_of("one")[0]
    assert len(kept.state.health_of("one")) == count + 1
    assert newest.health == "healthy"
    assert newest.seconds is not None


def test_memory_and_speed_are_known_once_it_has_worked(kept: Kept) -> None:
    kept.config("one")
    kept.does("one", "up")
    url = kept.row("one").url
    body = b'{"prompt": "1 + 1 =", "n_predict": 64, "ignore_eos": true}'
    headers = {"Content-Type": "application/json"}

    def worked() -> bool:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/completion", body, headers)):
            row = kept.row("one")
        return bool(row.tokens_per_second) and (row.memory or 0) > 2**20

    assert becomes_true(worked)
    assert becomes_true(lambda: kept.row("one").tokens_per_second == 0)


def test_what_cannot_be_written_down_now_is_written_later_and_hinders_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.config("one")
    kept.does("one", "up")
    before = kept.row("one")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    kept.reopen_state()
    with contextlib.closing(sqlite3.connect(kept.home.state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        psutil.Process(server_of(before)).kill()
        assert becomes_true(lambda: not psutil.pid_exists(server_of(before)))
        assert becomes_true(lambda: len(kept.processes("server")) == 1)
        assert kept.row("one").server == before.server
        other.execute("ROLLBACK")
    assert becomes_true(lambda: kept.is_up("one") and kept.row("one").server != before.server)
    assert len(kept.state.restarts_of("one")) == 1


# Configs that change ------------------------------------------------------------------------------


def test_a_changed_config_counts_from_the_restart_on(kept: Kept) -> None:
    kept.config("one", server={"parallel": 1})
    kept.does("one", "up")
    before = kept.row("one")
    kept.config("one", server={"parallel": 2})
    told = "its config has been changed: it goes on as it was started, until it is restarted"
    assert becomes_true(lambda: told in kept.texts("one"))
    psutil.Process(server_of(before)).kill()
    assert becomes_true(lambda: kept.is_up("one") and kept.row("one").server != before.server)
    assert kept.row("one").fingerprint == before.fingerprint
    assert kept.does("one", "restart") == Outcome()
    assert kept.row("one").fingerprint != before.fingerprint


def test_a_restart_with_a_broken_config_leaves_the_server_alone(kept: Kept) -> None:
    path = kept.config("one")
    kept.does("one", "up")
    before = kept.row("one")
    path.write_text("{", encoding="utf-8", newline="\n")
    assert kept.does("one", "restart").kind == "InstanceConfigError"
    assert kept.row("one").server == before.server
    assert kept.is_up("one")


def test_without_its_config_it_stays_up_until_it_is_brought_down(kept: Kept) -> None:
    path = kept.config("one")
    kept.does("one", "up")
    before = kept.row("one")
    path.unlink()
    assert becomes_true(lambda: any("is gone: it goes on" in text for text in kept.texts("one")))
    psutil.Process(server_of(before)).kill()
    assert becomes_true(lambda: kept.is_up("one") and kept.row("one").server != before.server)
    assert kept.does("one", "down") == Outcome()
    assert kept.does("one", "up").kind == "UnknownInstanceError"


# The real llama-server ----------------------------------------------------------------------------


def test_the_real_llama_server_is_kept_like_the_embedded(
    kept: Kept, real_llama_server: Path
) -> None:
    kept.config("one", server={"engine": "llama-server", "executable": str(real_llama_server)})
    assert kept.does("one", "up") == Outcome()
    before = kept.row("one")
    psutil.Process(server_of(before)).kill()
    assert becomes_true(lambda: kept.is_up("one") and kept.row("one").server != before.server)
    assert kept.does("one", "down") == Outcome()
    assert not psutil.pid_exists(server_of(before))
