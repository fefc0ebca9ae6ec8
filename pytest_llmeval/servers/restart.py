"""Whether and when a server that died, or hangs, is started again (pure).

One engine for all who start servers: a run's `Server`, and what keeps instances up for long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_llmeval.servers.spec import RestartPolicy


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """What the policy has to know of one server, in seconds of one clock.

    `times` are the moments of its restarts as far as the window reaches, `in_a_row` how many there
    were since it last was in good health, `healthy_since` when the good health of now began. Once
    `given_up`, that stays so until it is reset.
    """

    times: tuple[float, ...] = ()
    in_a_row: int = 0
    healthy_since: float | None = None
    given_up: str | None = None


@dataclass(frozen=True, slots=True)
class RestartAt:
    """It is to be started again at a moment, `delay` seconds after the decision.

    It is the `number`-th restart in a row, which `history` has counted already.
    """

    at: float
    delay: float
    number: int
    history: RestartHistory


@dataclass(frozen=True, slots=True)
class GivenUp:
    """It is not started again until it is reset, and why."""

    why: str
    history: RestartHistory


def after_answer(
    history: RestartHistory, policy: RestartPolicy, now: float, *, ready: bool
) -> RestartHistory:
    """The history once a question has found the server in good health, or not.

    Good health is one stretch: a single bad answer begins it anew. Where it has lasted for
    `reset_after`, the next restart is the first in its row; those within the window still count.
    """
    if not ready:
        return replace(history, healthy_since=None)
    since = now if history.healthy_since is None else history.healthy_since
    calm = now - since >= policy.reset_after
    return replace(history, healthy_since=since, in_a_row=0 if calm else history.in_a_row)


def after_death(
    history: RestartHistory, policy: RestartPolicy, now: float, draw: float
) -> RestartAt | GivenUp:
    """What to do about a server that has just ended, failed to start, or hangs.

    `draw` is uniform in [0, 1) and places the jitter.
    """
    history = replace(history, healthy_since=None)
    delay = _delay(history, policy, draw)
    at = now + delay
    # Restarts are counted when they happen, not when they are decided on: the limit is on those.
    recent = tuple(time for time in history.times if at - time < policy.window)
    why = _refusal(history, policy, len(recent))
    if why is not None:
        return GivenUp(why, replace(history, given_up=why))
    number = history.in_a_row + 1
    return RestartAt(at, delay, number, RestartHistory((*recent, at), number))


def reset(history: RestartHistory) -> RestartHistory:
    """The history once somebody has looked after the server: it may be started as if for the first
    time. The good health of now, if it is in good health, goes on.
    """
    return RestartHistory(healthy_since=history.healthy_since)


def _delay(history: RestartHistory, policy: RestartPolicy, draw: float) -> float:
    """Seconds to wait before the next restart in the row."""
    low, high = policy.jitter
    try:
        grown = policy.initial * policy.multiplier**history.in_a_row
    except OverflowError:  # a long row, and a policy that allows it
        grown = policy.cap if policy.initial else 0.0
    return min(policy.cap, grown) * (low + (high - low) * draw)


def _refusal(history: RestartHistory, policy: RestartPolicy, recent: int) -> str | None:
    """Why it may not be started again; None if it may."""
    if history.given_up is not None:
        return history.given_up
    if not policy.enabled:
        return "not started again: its restart policy is not enabled"
    if recent >= policy.max_retries:
        count = policy.max_retries
        return f"given up after {count} restart{'s' * (count != 1)} within {_span(policy.window)}"
    return None


def _span(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 120:
        return f"{seconds:g} seconds"
    return f"{seconds / 60:.3g} minutes"
