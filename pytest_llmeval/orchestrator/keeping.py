"""What is to be done about one instance, whatever happens to it (pure).

`decide` takes what is known of an instance and one thing that happened, and gives what is known now
and what is to be done. Everything that takes time (a start, a stop, a health check) is done
elsewhere and comes back as something that happened, with the number of its start: of a server that
is not ours any more nothing is heard. `keeper.py` is the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from pytest_llmeval.orchestrator.keep import (
    Asked,
    CameUp,
    Decision,
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
    Phase,
    Quit,
    Restarting,
    Start,
    StartFailed,
    Stop,
    Tell,
    Then,
    Tick,
    Want,
)
from pytest_llmeval.orchestrator.rows import Outcome, Wish
from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.restart import GivenUp, RestartAt, reset
from pytest_llmeval.servers.vitals import (
    Answered,
    Ended,
    Failed,
    NoAnswer,
    Observation,
    Started,
    Stopped,
)
from pytest_llmeval.servers.watching import Watched, step

LATE_SECONDS = 5.0
"""How late a health check may be before it counts as unanswered: its own time-out has failed."""


def decide(keep: Keep, happened: Happened, *, now: float, draw: float) -> Decision:
    """What is known after something happened, and what is to be done.

    `draw` is uniform in [0, 1) and places the jitter of a restart.
    """
    if isinstance(happened, Asked):
        return _ANSWERS[happened.wish](keep, happened.number, now)
    if isinstance(happened, Needed | Quit | Tick):
        return _by_itself(keep, happened, now, draw)
    take_in = _WHILE.get(keep.phase)
    if happened.start != keep.start or take_in is None:
        return keep, ()  # told late: what follows is under way already, or over
    return take_in(keep, happened, now, draw)


def due(keep: Keep) -> float | None:
    """When a Tick may change something; None if only something else can."""
    if keep.phase == "waiting":
        return keep.retry_at
    times = (keep.check_at, keep.check_until)
    return min((time for time in times if time is not None), default=None)


def _by_itself(keep: Keep, happened: Needed | Quit | Tick, now: float, draw: float) -> Decision:
    if isinstance(happened, Tick):
        return _let_time_pass(keep, now, draw)
    if isinstance(happened, Quit):
        keep, deeds = _bring_down(keep, now, "the daemon was stopped")
        return keep, (Want("down"), *deeds)
    return _begin(replace(keep, wanted="up"), now) if keep.phase == "down" else (keep, ())


def _while_starting(keep: Keep, happened: Happened, now: float, draw: float) -> Decision:
    match happened:
        case Given():
            return replace(keep, policies=happened.policies), ()
        case Loading():
            vitals = replace(keep.vitals, detail=happened.detail)
            return replace(keep, watched=replace(keep.watched, vitals=vitals)), ()
        case CameUp():
            return _come_up(keep, now)
        case StartFailed():
            return _fail(keep, happened, now, draw)
    return keep, ()


def _while_running(keep: Keep, happened: Happened, now: float, draw: float) -> Decision:
    match happened:
        case Died():
            return _die(keep, happened.description, now, draw)
        case Looked() if happened.check == keep.check:
            return _judge(keep, happened.found, now, draw)
    return keep, ()


def _while_stopping(keep: Keep, happened: Happened, now: float, draw: float) -> Decision:
    del draw
    return _go_on(keep, now) if isinstance(happened, Gone) else (keep, ())


_WHILE: Mapping[Phase, Callable[[Keep, Happened, float, float], Decision]] = {
    "starting": _while_starting,
    "running": _while_running,
    "stopping": _while_stopping,
}


# What somebody asks for ---------------------------------------------------------------------------


def _answer_up(keep: Keep, number: int, now: float) -> Decision:
    if keep.phase == "running":
        return replace(keep, wanted="up"), (Finish((number,)),)
    if keep.phase == "starting":
        return replace(keep, wanted="up", rising=(*keep.rising, number)), ()
    return _answer_restart(keep, number, now)


def _answer_restart(keep: Keep, number: int, now: float) -> Decision:
    keep = replace(keep, wanted="up", rising=(*keep.rising, number))
    if keep.phase in {"running", "starting"}:
        return _end(keep, "start")
    if keep.phase == "stopping":
        return replace(keep, then="start"), ()
    return _begin_anew(keep, now)


def _answer_down(keep: Keep, number: int, now: float) -> Decision:
    keep, deeds = _bring_down(keep, now, "it was brought down")
    if keep.phase == "stopping":
        return replace(keep, ending=(*keep.ending, number)), deeds
    return keep, (*deeds, Finish((number,)))


def _bring_down(keep: Keep, now: float, why: str) -> Decision:
    """End it; those who still wait for it to come up are told why it does not."""
    told = _failing(keep.rising, Outcome(f"{why} before it was up", kind="ServerStartError"))
    keep = replace(keep, wanted="down", rising=())
    if keep.phase in {"running", "starting"}:
        keep, deeds = _end(keep, "down")
        return keep, (*told, *deeds)
    if keep.phase == "stopping":
        return replace(keep, then="down"), told
    return _rest(keep, now), told


def _answer_reset(keep: Keep, number: int, now: float) -> Decision:
    """Forget its restarts; one in error is simply down then, and may be brought up."""
    done = Finish((number,))
    if keep.phase == "error":
        return replace(_rest(keep, now), wanted="down"), (Want("down"), done)
    watched = replace(keep.watched, history=reset(keep.watched.history))
    return replace(keep, watched=watched, restarts=0), (done,)


def _answer_check(keep: Keep, number: int, now: float) -> Decision:
    return _look(replace(keep, looking=(*keep.looking, number)), now)


_ANSWERS: Mapping[Wish, Callable[[Keep, int, float], Decision]] = {
    "up": _answer_up,
    "down": _answer_down,
    "restart": _answer_restart,
    "reset": _answer_reset,
    "check": _answer_check,
}


# Starts and ends ----------------------------------------------------------------------------------


def _begin_anew(keep: Keep, now: float) -> Decision:
    """Start it because somebody asked: restarts of earlier days are forgotten."""
    keep, _ = _begin(replace(keep, watched=Watched(keep.vitals), restarts=0), now)
    return replace(keep, by_hand=True), (Start(keep.start, anew=True),)


def _begin(keep: Keep, now: float) -> Decision:
    keep, _ = _see(keep, Started(), now)
    start = keep.start + 1
    keep = replace(keep, phase="starting", start=start, by_hand=False, retry_at=None)
    return keep, (Start(start, anew=False),)


def _come_up(keep: Keep, now: float) -> Decision:
    keep, _ = _see(keep, Answered(Health("healthy", "up"), 0.0), now)
    told = (Finish(keep.rising),) if keep.rising else ()
    keep = replace(keep, phase="running", rising=(), check_at=now + keep.policies.health.interval)
    return keep, (*told, Tell("up", "it is up and healthy"))


def _fail(keep: Keep, failed: StartFailed, now: float, draw: float) -> Decision:
    """A start that somebody asked for fails to their face; one of ours is tried again."""
    error = failed.outcome.error or ""
    if failed.final or keep.by_hand:
        keep, _ = _see(keep, Failed(error), now)
        return _give_up(keep, failed.outcome)
    keep, decision = _see(keep, Ended(error), now, draw)
    assert decision is not None, "a start that fails is an end"
    return _follow(keep, decision, failed.outcome)


def _die(keep: Keep, description: str, now: float, draw: float) -> Decision:
    keep, told = _stop_looking(keep)
    reason = f"the server ended: {description}"
    keep, decision = _see(keep, Ended(reason), now, draw)
    assert decision is not None, "every end is decided on"
    keep, deeds = _follow(keep, decision, Outcome(reason, kind="ServerError"))
    return keep, (*told, Tell("died", reason), *deeds)


def _follow(keep: Keep, decision: RestartAt | GivenUp, why: Outcome) -> Decision:
    """Do what the restart policy says about a server that is gone."""
    if isinstance(decision, GivenUp):
        lost = replace(why, error=keep.vitals.detail, kind="ServerLostError")
        return _give_up(keep, lost)
    again = replace(why, error=f"{why.error}; it is tried again in {decision.delay:.1f} s")
    told = _failing(keep.rising, again)
    keep = replace(keep, phase="waiting", retry_at=decision.at, rising=())
    return keep, (*told, Restarting(decision.number, decision.delay, why.error or ""))


def _give_up(keep: Keep, why: Outcome) -> Decision:
    told = _failing(keep.rising, why)
    return replace(keep, phase="error", rising=()), (*told, Tell("error", why.error or ""))


def _failing(numbers: tuple[int, ...], why: Outcome) -> tuple[Deed, ...]:
    return (Finish(numbers, why),) if numbers else ()


def _end(keep: Keep, then: Then) -> Decision:
    """Have the server ended; a look at it that is under way does not count any more."""
    keep, told = _stop_looking(keep)
    return replace(keep, phase="stopping", then=then), (*told, Stop(keep.start))


def _go_on(keep: Keep, now: float) -> Decision:
    """The server is gone: do what was to follow."""
    told = (Finish(keep.ending),) if keep.ending else ()
    keep = replace(keep, ending=())
    if keep.then == "start":
        keep, deeds = _begin_anew(keep, now)
        return keep, (*told, *deeds)
    if keep.then == "down":
        return _rest(keep, now), (*told, Tell("down", "it was stopped"))
    keep, _ = _see(keep, Ended(keep.vitals.detail), now)
    return replace(keep, phase="waiting" if keep.then == "wait" else "error"), told


def _rest(keep: Keep, now: float) -> Keep:
    """Nothing runs, and nothing is to be done."""
    keep, _ = _see(keep, Stopped(), now)
    return replace(keep, phase="down", restarts=0, retry_at=None)


# Health -------------------------------------------------------------------------------------------


def _let_time_pass(keep: Keep, now: float, draw: float) -> Decision:
    time = due(keep)
    if time is None or now < time:
        return keep, ()
    if keep.phase == "waiting":
        return _begin(replace(keep, restarts=keep.restarts + 1), now)
    if time == keep.check_until:
        seconds = keep.policies.health.timeout + LATE_SECONDS
        late = NoAnswer(f"no answer within {seconds:g} s", cpu_moved=False, seconds=seconds)
        return _judge(keep, late, now, draw)
    return _look(keep, now)


def _look(keep: Keep, now: float) -> Decision:
    """Look at it, or wait for the look that is under way; what does not run is not looked at."""
    if keep.phase != "running":
        return _stop_looking(keep)
    if keep.check_until is not None:
        return keep, ()
    check = keep.check + 1
    until = now + keep.policies.health.timeout + LATE_SECONDS
    return replace(keep, check=check, check_at=None, check_until=until), (Look(keep.start, check),)


def _judge(keep: Keep, found: Answered | NoAnswer, now: float, draw: float) -> Decision:
    """Take in what a look has shown; one that hangs is ended, and then started again."""
    keep, told = _stop_looking(keep)
    keep = replace(keep, check=keep.check + 1, check_at=now + keep.policies.health.interval)
    keep, decision = _see(keep, found, now, draw)
    if decision is None:
        return keep, told
    reason = f"the server hangs: {keep.vitals.detail}"
    deeds: tuple[Deed, ...] = (Tell("unhealthy", reason),)
    if isinstance(decision, RestartAt):
        keep = replace(keep, retry_at=decision.at)
        deeds = (*deeds, Restarting(decision.number, decision.delay, reason))
    keep, ended = _end(keep, "wait" if isinstance(decision, RestartAt) else "error")
    return keep, (*told, *deeds, *ended)


def _stop_looking(keep: Keep) -> Decision:
    told = (Finish(keep.looking),) if keep.looking else ()
    return replace(keep, looking=(), check_at=None, check_until=None), told


def _see(
    keep: Keep, seen: Observation, now: float, draw: float = 0.0
) -> tuple[Keep, RestartAt | GivenUp | None]:
    """Take in an observation, and what the policies make of it."""
    policies = keep.policies
    after = step(keep.watched, seen, policies.health, policies.restart, now=now, draw=draw)
    return replace(keep, watched=after.watched), after.decision
