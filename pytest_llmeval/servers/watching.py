"""One step in the life of a server that is kept running: what was seen, and what follows (pure).

Health (`vitals.py`) and restarts (`restart.py`) as one machine, so that whoever watches a server
has a decision with the very observation that calls for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pytest_llmeval.servers.restart import (
    GivenUp,
    RestartAt,
    RestartHistory,
    after_answer,
    after_death,
    reset,
)
from pytest_llmeval.servers.spec import RestartPolicy
from pytest_llmeval.servers.vitals import (
    Answered,
    Ended,
    Failed,
    HealthPolicy,
    NoAnswer,
    Observation,
    Stopped,
    Vitals,
    next_vitals,
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A server by all that was seen of it, and its restarts."""

    vitals: Vitals = field(default_factory=Vitals)
    history: RestartHistory = field(default_factory=RestartHistory)


@dataclass(frozen=True, slots=True)
class Step:
    """A server after an observation, and what is to be done now; None: go on watching.

    Whatever of its process is left when a decision is made is to be ended first: it hangs.
    """

    watched: Watched
    decision: RestartAt | GivenUp | None = None


def step(
    watched: Watched,
    observation: Observation,
    health: HealthPolicy,
    restart: RestartPolicy,
    *,
    now: float,
    draw: float,
) -> Step:
    """Take in one more observation at `now`; `draw` is uniform in [0, 1), for the jitter.

    There is one decision for each process that ended or hangs: with it the process counts as gone,
    and what is still told of it changes nothing.
    """
    vitals = next_vitals(watched.vitals, observation, health, now)
    history = watched.history
    if isinstance(observation, Answered | NoAnswer) and vitals.started_at is not None:
        history = after_answer(history, restart, now, ready=vitals.ready)
    elif isinstance(observation, Stopped):
        history = reset(RestartHistory())
    after = Watched(vitals, history)
    if not _is_lost(watched.vitals, observation, vitals, restart):
        return Step(after)
    return _decided(after, restart, now, draw)


def _is_lost(before: Vitals, seen: Observation, after: Vitals, policy: RestartPolicy) -> bool:
    """Whether the observation is the end of a process, or shows that it hangs.

    One that hangs is left alone where it would not be started again: it may come to.
    """
    if before.started_at is None:
        return False
    return isinstance(seen, Ended) or (after.health == "unhealthy" and policy.enabled)


def _decided(watched: Watched, policy: RestartPolicy, now: float, draw: float) -> Step:
    decision = after_death(watched.history, policy, now, draw)
    vitals = watched.vitals
    if isinstance(decision, GivenUp):
        why = f"{decision.why}; the last time: {vitals.detail}"
        vitals = next_vitals(vitals, Failed(why), HealthPolicy(), now)
    else:
        vitals = replace(vitals, started_at=None, failures=0, ever_healthy=False)
    return Step(Watched(vitals, decision.history), decision)
