"""What is decided about an instance, with a clock of its own: nothing is started here."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmeval.orchestrator.keep import (
    Asked,
    CameUp,
    Deed,
    Died,
    Finish,
    Given,
    Gone,
    Happened,
    Keep,
    Loading,
    Look,
    Looked,
    Needed,
    Policies,
    Quit,
    Restarting,
    Start,
    StartFailed,
    Stop,
    Tick,
    Want,
)
from pytest_llmeval.orchestrator.keeping import decide, due
from pytest_llmeval.orchestrator.moves import LATE_SECONDS
from pytest_llmeval.orchestrator.rows import Outcome, Wish
from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.spec import RestartPolicy
from pytest_llmeval.servers.vitals import Answered, HealthPolicy, NoAnswer

HEALTH = HealthPolicy(interval=10, timeout=5, retries=3, start_period=0)
RESTART = RestartPolicy(max_retries=2, jitter=(1.0, 1.0))
POLICIES = Policies(HEALTH, RESTART)
BROKEN = Outcome("it broke", ("last words",), "ServerStartError")
SILENT = NoAnswer("no answer within 5 s", cpu_moved=False)
COMPUTING = NoAnswer("no answer within 5 s", cpu_moved=True)
WELL = Answered(Health("healthy", "ok"), 0.01)


@dataclass
class Played:
    """An instance at a time of its own, and all that was to be done."""

    keep: Keep = field(default_factory=Keep)
    now: float = 1000.0
    deeds: list[Deed] = field(default_factory=list)
    numbers: int = 0

    def happens(self, *happened: Happened) -> list[Deed]:
        """What is to be done now."""
        new: list[Deed] = []
        for each in happened:
            self.keep, deeds = decide(self.keep, each, now=self.now, draw=0.5)
            new += deeds
        self.deeds += new
        return new

    def ask(self, wish: Wish) -> list[Deed]:
        self.numbers += 1
        return self.happens(Asked(self.numbers, wish))

    def start(self) -> int:
        return self.keep.start

    def comes_up(self) -> list[Deed]:
        return self.happens(Given(self.start(), POLICIES), CameUp(self.start()))

    def fails(self, *, final: bool = False) -> list[Deed]:
        given_policies = Given(self.start(), POLICIES)
        return self.happens(given_policies, StartFailed(self.start(), BROKEN, final))

    def dies(self) -> list[Deed]:
        return self.happens(Died(self.start(), "killed by SIGKILL"))

    def is_gone(self) -> list[Deed]:
        return self.happens(Gone(self.start()))

    def waits(self, seconds: float) -> list[Deed]:
        self.now += seconds
        return self.happens(Tick())

    def is_looked_at(self, found: Answered | NoAnswer) -> list[Deed]:
        """Let the next look come, and find this."""
        time = due(self.keep)
        assert time is not None
        look = self.waits(time - self.now)
        assert look == [Look(self.start(), self.keep.check)]
        return self.happens(Looked(self.start(), self.keep.check, found))


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def up(played: Played) -> Played:
    """An instance that is up, as request 1 has wanted it."""
    played.ask("up")
    played.comes_up()
    return played


def told(deeds: list[Deed]) -> dict[int, Outcome]:
    """Who is told what."""
    return {
        number: deed.outcome
        for deed in deeds
        if isinstance(deed, Finish)
        for number in deed.numbers
    }


def test_up_starts_it_and_is_done_once_it_is_healthy(played: Played) -> None:
    assert played.ask("up") == [Start(1, anew=True)]
    assert played.keep.vitals.health == "loading"
    assert told(played.comes_up()) == {1: Outcome()}
    assert (played.keep.phase, played.keep.vitals.health) == ("running", "healthy")


def test_two_who_want_it_up_have_one_start(played: Played) -> None:
    played.ask("up")
    assert played.ask("up") == []
    assert told(played.comes_up()) == {1: Outcome(), 2: Outcome()}


def test_up_of_one_that_is_up_does_nothing(up: Played) -> None:
    assert up.ask("up") == [Finish((2,))]


def test_a_start_that_somebody_asked_for_fails_to_their_face(played: Played) -> None:
    played.ask("up")
    assert told(played.fails()) == {1: BROKEN}
    assert (played.keep.phase, played.keep.vitals.health) == ("error", "error")
    assert due(played.keep) is None


def test_a_start_that_nobody_asked_for_is_tried_again(played: Played) -> None:
    played.happens(Needed())
    assert played.fails()[0] == Restarting(1, 1.0, "it broke")
    assert due(played.keep) == played.now + 1
    assert played.waits(0.9) == []
    assert played.waits(0.1) == [Start(2, anew=False)]


def test_what_cannot_be_helped_by_trying_again_is_not_tried_again(played: Played) -> None:
    played.happens(Needed())
    played.fails(final=True)
    assert played.keep.phase == "error"


def test_who_asks_while_it_is_tried_again_hears_of_the_failure_and_that_it_goes_on(
    played: Played,
) -> None:
    played.happens(Needed())
    played.ask("up")
    (outcome,) = told(played.fails()).values()
    assert outcome.error == "it broke; it is tried again in 1.0 s"
    assert outcome.log_tail == ("last words",)
    assert played.keep.phase == "waiting"


def test_a_dead_server_is_started_again_by_policy(up: Played) -> None:
    deeds = up.dies()
    assert Restarting(1, 1.0, "the server ended: killed by SIGKILL") in deeds
    assert up.keep.vitals.health == "unknown"
    assert up.waits(1) == [Start(2, anew=False)]
    assert up.keep.restarts == 1


def test_a_restart_loop_ends_in_error_and_up_begins_anew(up: Played) -> None:
    for _ in range(RESTART.max_retries):
        up.dies()
        up.waits(60)
        up.comes_up()
    up.dies()
    assert up.keep.phase == "error"
    assert "given up after 2 restarts within 10 minutes" in up.keep.vitals.detail
    assert "the server ended: killed by SIGKILL" in up.keep.vitals.detail
    assert up.ask("up") == [Start(4, anew=True)]
    assert up.keep.restarts == 0
    up.comes_up()
    assert any(isinstance(deed, Restarting) for deed in up.dies())


def test_reset_takes_it_out_of_error_and_leaves_it_down(played: Played) -> None:
    played.ask("up")
    played.fails()
    assert played.ask("reset") == [Want("down"), Finish((2,))]
    assert (played.keep.phase, played.keep.wanted) == ("down", "down")
    assert played.keep.vitals.health == "unknown"


def test_down_is_done_once_the_process_is_gone(up: Played) -> None:
    assert up.ask("down") == [Stop(1)]
    assert told(up.is_gone()) == {2: Outcome()}
    assert up.keep.phase == "down"


@pytest.mark.parametrize("twice", [False, True])
def test_down_of_one_that_is_down_is_done_at_once(played: Played, twice: bool) -> None:
    if twice:
        played.ask("down")
    number = played.numbers + 1
    assert told(played.ask("down")) == {number: Outcome()}


def test_down_while_it_starts_gives_the_start_up_and_tells_who_wanted_it(played: Played) -> None:
    played.ask("up")
    deeds = played.ask("down")
    assert Stop(1) in deeds
    assert told(deeds)[1].error == "it was brought down before it was up"
    assert played.happens(StartFailed(1, BROKEN, final=False)) == []
    assert told(played.is_gone()) == {2: Outcome()}


def test_up_while_it_is_stopped_comes_after_the_end(up: Played) -> None:
    up.ask("down")
    assert up.ask("up") == []
    deeds = up.is_gone()
    assert deeds == [Finish((2,)), Start(2, anew=True)]
    assert told(up.comes_up()) == {3: Outcome()}


def test_restart_ends_it_and_reads_its_config_again(up: Played) -> None:
    assert up.ask("restart") == [Stop(1)]
    assert up.is_gone() == [Start(2, anew=True)]
    assert told(up.comes_up()) == {2: Outcome()}
    assert up.keep.restarts == 0


def test_down_takes_a_restart_back(up: Played) -> None:
    up.ask("restart")
    assert told(up.ask("down"))[2].error == "it was brought down before it was up"
    assert told(up.is_gone()) == {3: Outcome()}
    assert up.keep.phase == "down"


def test_down_ends_the_waiting_for_a_restart(up: Played) -> None:
    up.dies()
    up.ask("down")
    assert up.keep.phase == "down"
    assert up.waits(100) == []


def test_a_server_that_hangs_is_ended_and_then_started_again(up: Played) -> None:
    up.is_looked_at(SILENT)
    assert up.keep.vitals.health == "unreachable"
    up.is_looked_at(SILENT)
    deeds = up.is_looked_at(SILENT)
    assert Stop(1) in deeds
    assert [deed.delay for deed in deeds if isinstance(deed, Restarting)] == [1.0]
    up.is_gone()
    assert (up.keep.phase, up.keep.vitals.health) == ("waiting", "unknown")
    assert up.waits(1) == [Start(2, anew=False)]


def test_a_server_that_computes_is_never_restarted(up: Played) -> None:
    for _ in range(50):
        assert up.is_looked_at(COMPUTING) == []
    assert (up.keep.phase, up.keep.vitals.health) == ("running", "busy")


def test_one_good_answer_forgives_failures(up: Played) -> None:
    for _ in range(10):
        up.is_looked_at(SILENT)
        up.is_looked_at(SILENT)
        up.is_looked_at(WELL)
    assert (up.keep.phase, up.keep.vitals.health) == ("running", "healthy")


def test_a_server_that_hangs_and_may_not_be_restarted_is_left_alone(played: Played) -> None:
    played.ask("up")
    never = Policies(HEALTH, RestartPolicy(enabled=False))
    played.happens(Given(1, never), CameUp(1))
    for _ in range(5):
        assert played.is_looked_at(SILENT) == []
    assert (played.keep.phase, played.keep.vitals.health) == ("running", "unhealthy")


def test_a_look_that_never_ends_counts_as_no_answer(up: Played) -> None:
    look = up.waits(HEALTH.interval)
    up.waits(HEALTH.timeout + LATE_SECONDS)
    assert up.keep.vitals.health == "unreachable"
    assert up.keep.vitals.detail.startswith("no answer within 10 s")
    assert look == [Look(1, 1)]
    assert up.happens(Looked(1, 1, WELL)) == []
    assert up.keep.vitals.health == "unreachable"


def test_check_looks_at_once_and_is_done_with_the_answer(up: Played) -> None:
    assert up.ask("check") == [Look(1, 1)]
    assert up.ask("check") == []
    assert told(up.happens(Looked(1, 1, WELL))) == {2: Outcome(), 3: Outcome()}


def test_check_of_one_that_is_down_is_done_at_once(played: Played) -> None:
    assert played.ask("check") == [Finish((1,))]


def test_a_check_is_done_when_the_server_dies_over_it(up: Played) -> None:
    up.ask("check")
    assert told(up.dies())[2] == Outcome()


def test_words_of_an_earlier_server_are_not_heard(up: Played) -> None:
    up.ask("restart")
    up.is_gone()
    before = up.keep
    late: list[Happened] = [Died(1, "x"), CameUp(1), Looked(1, 1, SILENT), Loading(1, "x"), Gone(1)]
    assert up.happens(*late) == []
    assert up.keep == before


def test_quit_brings_it_down_for_good_and_tells_who_waits(played: Played) -> None:
    played.ask("up")
    deeds = played.happens(Quit())
    assert Want("down") in deeds
    assert told(deeds)[1].error == "the daemon was stopped before it was up"
    played.is_gone()
    assert (played.keep.phase, played.keep.wanted) == ("down", "down")


def test_one_in_error_is_not_brought_up_by_the_daemons_start() -> None:
    played = Played(Keep(wanted="up", phase="error"))
    assert played.happens(Needed()) == []


class World(Played):
    """The same, with a process that is as real processes are: it does what it can do, and no more.

    `living` is the number of the start whose process, or attempt at one, is there.
    """

    living: int | None = None
    healthy = False
    ending = False

    def happens(self, *happened: Happened) -> list[Deed]:
        new = super().happens(*happened)
        for deed in new:
            if isinstance(deed, Start):
                assert self.living is None, "two servers of one instance"
                self.living, self.healthy, self.ending = deed.start, False, False
            elif isinstance(deed, Stop):
                assert not self.ending, "stopped twice"
                self.ending = True
        return new

    def play(self, move: object) -> None:
        """Let something happen, if it can."""
        if isinstance(move, float):
            self.waits(move)
        elif isinstance(move, Answered | NoAnswer):
            self.happens(Looked(self.start(), self.keep.check, move))
        elif move == "quit":
            self.happens(Quit())
        elif move == "needed":
            self.happens(Needed())
        elif move in {"up", "down", "restart", "reset", "check"}:
            self.ask(move)
        elif self.living is not None:
            self.play_process(str(move))

    def play_process(self, move: str) -> None:
        if move == "comes_up" and not self.healthy:
            self.healthy = True
            self.comes_up()
        elif move == "fails" and not self.healthy:
            self.living = self.living if self.ending else None
            self.fails()
        elif move == "dies" and self.healthy:
            self.healthy = False
            self.living = self.living if self.ending else None
            self.dies()
        elif move == "is_gone" and self.ending:
            self.living = None
            self.is_gone()

    def settles(self) -> None:
        """All that is under way ends well."""
        for move in ("is_gone", "comes_up", WELL) * 3:
            self.play(move)


WISHES = st.sampled_from(["up", "down", "restart", "reset", "check"])
MOVES = st.one_of(
    WISHES,
    st.sampled_from(["comes_up", "fails", "dies", "is_gone", "quit", "needed"]),
    st.floats(0, 30),
    st.sampled_from([SILENT, COMPUTING, WELL]),
)


@settings(max_examples=300)
@given(st.lists(MOVES, max_size=60))
def test_whatever_happens_nobody_waits_for_ever_and_one_server_runs_at_a_time(
    moves: list[object],
) -> None:
    world = World()
    for move in moves:
        world.play(move)
    world.settles()
    finished = [n for deed in world.deeds if isinstance(deed, Finish) for n in deed.numbers]
    assert sorted(finished) == list(range(1, world.numbers + 1))
    assert world.keep.phase in {"down", "running", "waiting", "error"}
    assert (world.living is not None) == (world.keep.phase == "running")
