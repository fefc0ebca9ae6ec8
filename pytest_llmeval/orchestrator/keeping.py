"""What is to be done about one instance, whatever happens to it (pure).

`decide` takes what is known of an instance and one thing that happened, and gives what is known now
and what is to be done. Everything that takes time (a start, a stop, a health check) is done
elsewhere and comes back as something that happened, with the number of its start: of a server that
is not ours any more nothing is heard. `keeper.py` is the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from pytest_llmeval.orchestrator import moves
from pytest_llmeval.orchestrator.keep import (
    Asked,
    CameUp,
    Decision,
    Died,
    Finish,
    Given,
    Gone,
    Happened,
    Keep,
    Loading,
    Looked,
    Needed,
    Phase,
    Quit,
    StartFailed,
    Tick,
    Want,
)
from pytest_llmeval.orchestrator.rows import Outcome, Wish
from pytest_llmeval.servers.restart import reset
from pytest_llmeval.servers.vitals import (
    NoAnswer,
)


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
        return keep, (*deeds, Want("down"))  # last: nobody who wanted it up waits any more
    return moves.begin(replace(keep, wanted="up"), now) if keep.phase == "down" else (keep, ())


def _let_time_pass(keep: Keep, now: float, draw: float) -> Decision:
    time = due(keep)
    if time is None or now < time:
        return keep, ()
    if keep.phase == "waiting":
        return moves.begin(replace(keep, restarts=keep.restarts + 1), now)
    if time == keep.check_until:
        seconds = keep.policies.health.timeout + moves.LATE_SECONDS
        late = NoAnswer(f"no answer within {seconds:g} s", cpu_moved=False, seconds=seconds)
        return moves.judge(keep, late, now, draw)
    return moves.look(keep, now)


def _while_starting(keep: Keep, happened: Happened, now: float, draw: float) -> Decision:
    match happened:
        case Given():
            return replace(keep, policies=happened.policies), ()
        case Loading():
            vitals = replace(keep.vitals, detail=happened.detail)
            return replace(keep, watched=replace(keep.watched, vitals=vitals)), ()
        case CameUp():
            return moves.come_up(keep, now)
        case StartFailed():
            return moves.fail(keep, happened, now, draw)
    return keep, ()


def _while_running(keep: Keep, happened: Happened, now: float, draw: float) -> Decision:
    match happened:
        case Died():
            return moves.die(keep, happened.description, now, draw)
        case Looked() if happened.check == keep.check:
            return moves.judge(keep, happened.found, now, draw)
    return keep, ()


def _while_stopping(keep: Keep, happened: Happened, now: float, draw: float) -> Decision:
    del draw
    return moves.go_on(keep, now) if isinstance(happened, Gone) else (keep, ())


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
        return moves.end(keep, "start")
    if keep.phase == "stopping":
        return replace(keep, then="start"), ()
    return moves.begin_anew(keep, now)


def _answer_down(keep: Keep, number: int, now: float) -> Decision:
    keep, deeds = _bring_down(keep, now, "it was brought down")
    if keep.phase == "stopping":
        return replace(keep, ending=(*keep.ending, number)), deeds
    return keep, (*deeds, Finish((number,)))


def _bring_down(keep: Keep, now: float, why: str) -> Decision:
    """End it; those who still wait for it to come up are told why it does not."""
    told = moves.failing(keep.rising, Outcome(f"{why} before it was up", kind="ServerStartError"))
    keep = replace(keep, wanted="down", rising=())
    if keep.phase in {"running", "starting"}:
        keep, deeds = moves.end(keep, "down")
        return keep, (*told, *deeds)
    if keep.phase == "stopping":
        return replace(keep, then="down"), told
    return moves.rest(keep, now), told


def _answer_reset(keep: Keep, number: int, now: float) -> Decision:
    """Forget its restarts; one in error is simply down then, and may be brought up."""
    done = Finish((number,))
    if keep.phase == "error":
        return replace(moves.rest(keep, now), wanted="down"), (Want("down"), done)
    watched = replace(keep.watched, history=reset(keep.watched.history))
    return replace(keep, watched=watched, restarts=0), (done,)


def _answer_check(keep: Keep, number: int, now: float) -> Decision:
    return moves.look(replace(keep, looking=(*keep.looking, number)), now)


_ANSWERS: Mapping[Wish, Callable[[Keep, int, float], Decision]] = {
    "up": _answer_up,
    "down": _answer_down,
    "restart": _answer_restart,
    "reset": _answer_reset,
    "check": _answer_check,
}
