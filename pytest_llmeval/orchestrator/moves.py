"""What decisions about one instance are made of: it starts, fails, ends, is looked at (pure).

Each takes what is known of the instance and gives what is known then, and what is to be done.
`keeping.py` decides which of them it is.
"""

from __future__ import annotations

from dataclasses import replace

from pytest_llmeval.orchestrator.keep import (
    Decision,
    Deed,
    Finish,
    Keep,
    Look,
    Restarting,
    Start,
    StartFailed,
    Stop,
    Tell,
    Then,
)
from pytest_llmeval.orchestrator.rows import Outcome
from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.restart import GivenUp, RestartAt
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

# Starts and ends ----------------------------------------------------------------------------------


def begin_anew(keep: Keep, now: float) -> Decision:
    """Start it because somebody asked: restarts of earlier days are forgotten."""
    keep, _ = begin(replace(keep, watched=Watched(keep.vitals), restarts=0), now)
    return replace(keep, by_hand=True), (Start(keep.start, anew=True),)


def begin(keep: Keep, now: float) -> Decision:
    """Start it, as it was started last."""
    keep, _ = _see(keep, Started(), now)
    start = keep.start + 1
    keep = replace(keep, phase="starting", start=start, by_hand=False, retry_at=None)
    return keep, (Start(start, anew=False),)


def come_up(keep: Keep, now: float) -> Decision:
    """It is up: those who waited for it are told, and it is looked at from now on."""
    keep, _ = _see(keep, Answered(Health("healthy", "up"), 0.0), now)
    told = (Finish(keep.rising),) if keep.rising else ()
    keep = replace(keep, phase="running", rising=(), check_at=now + keep.policies.health.interval)
    return keep, (*told, Tell("up", "it is up and healthy"))


def fail(keep: Keep, failed: StartFailed, now: float, draw: float) -> Decision:
    """A start that somebody asked for fails to their face; one of ours is tried again."""
    error = failed.outcome.error or ""
    if failed.final or keep.by_hand:
        keep, _ = _see(keep, Failed(error), now)
        return _give_up(keep, failed.outcome)
    keep, decision = _see(keep, Ended(error), now, draw)
    assert decision is not None, "a start that fails is an end"
    return _follow(keep, decision, failed.outcome)


def die(keep: Keep, description: str, now: float, draw: float) -> Decision:
    """A server that was up has ended by itself."""
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
    told = failing(keep.rising, again)
    keep = replace(keep, phase="waiting", retry_at=decision.at, rising=())
    return keep, (*told, Restarting(decision.number, decision.delay, why.error or ""))


def _give_up(keep: Keep, why: Outcome) -> Decision:
    told = failing(keep.rising, why)
    return replace(keep, phase="error", rising=()), (*told, Tell("error", why.error or ""))


def failing(numbers: tuple[int, ...], why: Outcome) -> tuple[Deed, ...]:
    """Tell those who wait, if there are any, why not."""
    return (Finish(numbers, why),) if numbers else ()


def end(keep: Keep, then: Then) -> Decision:
    """Have the server ended; a look at it that is under way does not count any more."""
    keep, told = _stop_looking(keep)
    return replace(keep, phase="stopping", then=then), (*told, Stop(keep.start))


def go_on(keep: Keep, now: float) -> Decision:
    """The server is gone: do what was to follow."""
    told = (Finish(keep.ending),) if keep.ending else ()
    keep = replace(keep, ending=())
    if keep.then == "start":
        keep, deeds = begin_anew(keep, now)
        return keep, (*told, *deeds)
    if keep.then == "down":
        return rest(keep, now), (*told, Tell("down", "it was stopped"))
    keep, _ = _see(keep, Ended(keep.vitals.detail), now)
    return replace(keep, phase="waiting" if keep.then == "wait" else "error"), told


def rest(keep: Keep, now: float) -> Keep:
    """Nothing runs, and nothing is to be done."""
    keep, _ = _see(keep, Stopped(), now)
    return replace(keep, phase="down", restarts=0, retry_at=None)


# Health -------------------------------------------------------------------------------------------


def look(keep: Keep, now: float) -> Decision:
    """Look at it, or wait for the look that is under way; what does not run is not looked at."""
    if keep.phase != "running":
        return _stop_looking(keep)
    if keep.check_until is not None:
        return keep, ()
    check = keep.check + 1
    until = now + keep.policies.health.timeout + LATE_SECONDS
    return replace(keep, check=check, check_at=None, check_until=until), (Look(keep.start, check),)


def judge(keep: Keep, found: Answered | NoAnswer, now: float, draw: float) -> Decision:
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
    keep, ended = end(keep, "wait" if isinstance(decision, RestartAt) else "error")
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
