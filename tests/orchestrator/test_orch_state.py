"""What the state keeps, and who may change which part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_llmeval.errors import (
    InstanceConfigError,
    LlmevalError,
    ModelFileError,
    ServerLostError,
    ServerStartError,
)
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome, Wish
from pytest_llmeval.orchestrator.state import KEEP, KEEP_REQUESTS, State
from pytest_llmeval.orchestrator.views import Event, HealthEntry, RestartEntry, Wanted
from pytest_llmeval.redaction import REDACTED
from pytest_llmeval.servers.health import HealthState
from pytest_llmeval.servers.identity import Identity, identity_of

FULL = InstanceRow(
    name="qwen",
    wanted="up",
    health="busy",
    detail="no slot available",
    since=3.5,
    server=Identity(11, 1.25),
    guard=Identity(12, 1.5),
    port=8081,
    url="http://127.0.0.1:8081",
    device="Vulkan0",
    started_at=1.25,
    restarts=2,
    retry_at=9.5,
    memory=2**33,
    tokens_per_second=41.5,
    fingerprint="abc",
    log_folder="/var/log/qwen",
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State.open(tmp_path / "home" / "state.db", clock=lambda: 1000.0)
    yield state
    state.close()


@pytest.fixture
def other(state: State, tmp_path: Path) -> Iterator[State]:
    """The same database, as another process would have it."""
    state = State.open(tmp_path / "home" / "state.db", clock=lambda: 2000.0)
    yield state
    state.close()


def test_where_a_server_last_wrote_stays_known_when_its_daemon_does_not_know_it(
    state: State,
) -> None:
    state.put(FULL)
    state.put(InstanceRow("qwen"))
    row = state.row("qwen")
    assert row is not None
    assert (row.server, row.log_folder) == (None, "/var/log/qwen")


@pytest.mark.parametrize("health", ["error", "healthy"])
def test_a_reset_forgets_restarts_and_brings_down_what_was_given_up(
    state: State, health: HealthState
) -> None:
    state.put(replace(FULL, health=health))
    state.reset("qwen")
    state.reset("unknown")
    reset = replace(FULL, health=health, restarts=0, retry_at=None)
    if health == "error":
        reset = replace(reset, wanted="down", health="unknown", detail="")
    assert state.rows() == (reset,)


def test_a_row_comes_back_as_it_was_put(state: State, other: State) -> None:
    state.put(FULL)
    state.put(InstanceRow("alpha"))

    assert other.row("qwen") == FULL
    assert other.rows() == (InstanceRow("alpha"), FULL)


def test_an_instance_that_nobody_ever_asked_for_has_no_row(state: State) -> None:
    assert state.row("qwen") is None
    assert state.rows() == ()


def test_what_the_daemon_puts_never_undoes_what_is_wanted(state: State, other: State) -> None:
    seen = FULL
    state.put(seen)
    other.ask("qwen", "down")

    state.put(replace(seen, health="healthy"))

    row = other.row("qwen")
    assert row is not None
    assert (row.wanted, row.health) == ("down", "healthy")


@pytest.mark.parametrize(
    ("wish", "before", "wanted"),
    [
        ("up", "down", "up"),
        ("restart", "down", "up"),
        ("down", "up", "down"),
        ("reset", "up", "up"),
        ("reset", "down", "down"),
        ("check", "down", "down"),
    ],
)
def test_a_wish_says_what_is_wanted_from_now_on(
    state: State, wish: Wish, before: Wanted, wanted: Wanted
) -> None:
    state.want("qwen", before)
    state.ask("qwen", wish)

    row = state.row("qwen")
    assert row is not None
    assert row.wanted == wanted


def test_requests_are_handed_over_in_order_until_they_have_an_outcome(
    state: State, other: State
) -> None:
    first = other.ask("qwen", "up")
    second = other.ask("llama", "check")

    assert [(r.number, r.name, r.wish) for r in state.requests_after(0)] == [
        (first, "qwen", "up"),
        (second, "llama", "check"),
    ]
    assert [r.number for r in state.requests_after(first)] == [second]
    state.finish(first, Outcome())
    assert [r.number for r in state.requests_after(0)] == [second]


def test_a_request_tells_who_asked_and_when(state: State, other: State) -> None:
    other.ask("qwen", "up")

    (request,) = state.requests_after(0)
    assert request.asked_by == identity_of(os.getpid())
    assert request.asked_at == 2000.0


def test_an_outcome_is_none_until_it_is_known_and_then_stays(state: State, other: State) -> None:
    number = other.ask("qwen", "up")
    assert other.outcome(number) is None

    state.finish(number, Outcome())
    state.finish(number, Outcome("too late"))

    assert other.outcome(number) == Outcome()


@pytest.mark.parametrize(
    "error",
    [
        ServerStartError("qwen did not start: code 1", log_tail=("loading", "out of memory")),
        ServerLostError("qwen died 6 times", log_tail=("boom",)),
        ModelFileError("m.gguf: no GGUF"),
        InstanceConfigError("port is 0; allowed: 1 to 65535", path="config.yaml", line=3),
    ],
)
def test_who_waits_raises_what_the_daemon_met(
    state: State, other: State, error: LlmevalError
) -> None:
    number = other.ask("qwen", "up")
    state.finish(number, Outcome.of(error))

    outcome = other.outcome(number)
    assert outcome is not None
    with pytest.raises(type(error)) as told:
        outcome.raise_failure()
    assert str(told.value) == str(error)


def test_no_secret_that_an_error_or_a_server_tells_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "deploy-me-now")
    state = State.open(tmp_path / "other.sqlite")
    words = "it said deploy-me-now, and password=swordfish"
    number = state.ask("a", "up")
    state.finish(number, Outcome(words, (words,)))
    state.note_event("start", words, name="a")
    state.note_health("a", HealthEntry(1.0, "error", words, None))
    state.note_restart("a", RestartEntry(1.0, 1, 1.0, words))
    state.put(InstanceRow("a", "up", "error", words))
    row, outcome = state.row("a"), state.outcome(number)
    assert row is not None
    assert outcome is not None
    noted = (state.events_of("a")[0].text, state.health_of("a")[0].detail)
    told = {outcome.error, *outcome.log_tail, *noted, state.restarts_of("a")[0].reason, row.detail}
    assert told == {f"it said {REDACTED}, and password={REDACTED}"}
    state.close()


def test_old_outcomes_go_and_open_requests_stay(state: State) -> None:
    waiting = state.ask("qwen", "up")
    done = state.ask("qwen", "check")
    state.finish(done, Outcome())
    for _ in range(KEEP_REQUESTS):
        state.ask("qwen", "check")

    outcome = state.outcome(done)
    assert outcome is not None
    assert "is not known any more" in str(outcome.error)
    assert state.requests_after(0)[0].number == waiting


def test_histories_have_the_newest_first_and_belong_to_one_instance(state: State) -> None:
    loading = HealthEntry(1.0, "loading", "Loading model")
    healthy = HealthEntry(2.0, "healthy", "ok", 0.002)
    restart = RestartEntry(3.0, 1, 0.7, "killed by SIGKILL")
    state.note_health("qwen", loading)
    state.note_health("qwen", healthy)
    state.note_health("llama", loading)
    state.note_restart("qwen", restart)

    assert state.health_of("qwen") == (healthy, loading)
    assert state.health_of("qwen", 1) == (healthy,)
    assert state.restarts_of("qwen") == (restart,)
    assert state.restarts_of("llama") == ()


def test_events_of_the_daemon_have_no_name(state: State) -> None:
    state.note_event("started", "daemon 17 has started")
    state.note_event("up", "asked for", name="qwen")

    assert state.events_of(None) == (Event(1000.0, None, "started", "daemon 17 has started"),)
    assert state.events_of("qwen") == (Event(1000.0, "qwen", "up", "asked for"),)


def test_each_instance_keeps_its_newest_entries(state: State) -> None:
    state.note_event("up", "the only one of alpha", name="alpha")
    for number in range(KEEP + 3):
        state.note_event("tick", str(number), name="qwen")
        state.note_event("tick", f"daemon {number}")

    texts = [event.text for event in state.events_of("qwen", 2 * KEEP)]
    assert texts == [str(number) for number in range(KEEP + 2, 2, -1)]
    assert len(state.events_of(None, 2 * KEEP)) == KEEP
    assert len(state.events_of("alpha")) == 1


def test_there_is_one_daemon_or_none(state: State, other: State) -> None:
    assert state.daemon() is None
    other.set_daemon(Identity(5, 1.5))
    other.set_daemon(Identity(7, 2.5))
    assert state.daemon() == Identity(7, 2.5)
    other.set_daemon(None)
    assert state.daemon() is None


def test_changes_notices_what_anybody_writes_and_nothing_else(state: State, other: State) -> None:
    seen = state.changes()
    state.rows()
    assert state.changes() == seen

    other.ask("qwen", "up")
    foreign = state.changes()
    assert foreign != seen

    state.want("phi", "down")
    assert state.changes() != foreign


def test_what_is_asked_for_goes_before_what_is_wanted_by_the_way(state: State) -> None:
    """A daemon that ends wants nothing any more; what is asked of the next one stays."""
    number = state.ask("qwen", "up")
    state.want("qwen", "down")
    assert [row.wanted for row in state.rows()] == ["up"]

    state.finish(number, Outcome())
    state.want("qwen", "down")
    assert [row.wanted for row in state.rows()] == ["down"]


def test_a_forgotten_instance_has_no_row_but_its_history(state: State) -> None:
    state.put(FULL)
    state.note_event("up", "asked for", name="qwen")
    state.forget("qwen")

    assert state.row("qwen") is None
    assert len(state.events_of("qwen")) == 1


def test_a_closed_state_opens_again_by_itself(state: State) -> None:
    state.put(FULL)
    state.close()
    assert state.row("qwen") == FULL


def test_a_home_that_is_deleted_meanwhile_is_begun_anew(state: State, tmp_path: Path) -> None:
    state.put(FULL)
    for path in (tmp_path / "home").iterdir():
        path.unlink()

    state.want("alpha", "up")

    assert [row.name for row in state.rows()] == ["alpha"]
    assert (tmp_path / "home" / "state.db").exists()
