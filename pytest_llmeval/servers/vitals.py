"""How a server that is kept running is, as its observations come in (pure).

What each state means:

unknown      not running, or not asked yet
loading      it runs, and has not answered well since it was started: it reads its weights
healthy      it answers well
busy         healthy, with every slot taken, or computing so hard that it answers nothing in time
unreachable  it runs and has been healthy, or had its time to start, and the last questions brought
             no answer; not yet as many as `retries`
unhealthy    it runs, and the last `retries` questions or more brought no good answer: it hangs
error        given up by its restart policy, or it cannot start; somebody has to look after it

The rules are those of Docker's HEALTHCHECK. Failures within `start_period` of the start do not
count; the first success ends it, after which they do; one success makes it healthy whatever it was,
`retries` failures in a row make it unhealthy, and fewer leave it what it was. On top of them: a
server that computes is alive, whatever it answers. ik_llama.cpp answers no /health while it reads a
prompt, and weights on a slow disk may take longer than any `start_period`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_llmeval.servers.health import Health, HealthState


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How often a server is asked, how long for an answer, and what failures mean, in seconds."""

    interval: float = 10.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 120.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """A server by all that was seen of it; times are seconds of one clock.

    `detail` says in words why its health is what it is, `since` when it became so. `failures` is
    how many in a row count. `started_at` is None while it does not run. `ever_healthy` is about
    this start, and over with the process.
    """

    health: HealthState = "unknown"
    detail: str = ""
    since: float = 0.0
    failures: int = 0
    started_at: float | None = None
    ever_healthy: bool = False

    @property
    def ready(self) -> bool:
        """Whether requests may be sent."""
        return self.started_at is not None and self.health in {"healthy", "busy"}


@dataclass(frozen=True, slots=True)
class Started:
    """Its process has been started."""


@dataclass(frozen=True, slots=True)
class Answered:
    """It was asked, and after so many seconds there was an answer; `cpu_moved` as for NoAnswer."""

    health: Health
    seconds: float
    cpu_moved: bool = False


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """It was asked, and no answer came, for a reason in words.

    `cpu_moved` says whether it did something since it was last looked at (`Progress.moved_since`),
    `refused` whether there was nobody to take the question, so that it cannot be busy with others.
    """

    why: str
    cpu_moved: bool
    refused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Its process ended by itself, or was ended by somebody else; what ended it, in words."""

    description: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was ended because it is not wanted any more, or looked after by hand (`reset`)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It is not started any more, and why: given up, or there is no starting it."""

    why: str


Observation = Started | Answered | NoAnswer | Ended | Stopped | Failed


def observed(health: Health, seconds: float, *, cpu_moved: bool) -> Answered | NoAnswer:
    """What a question has shown, by what `check_health` made of it after so many seconds."""
    if health.state == "unreachable":
        return NoAnswer(health.detail, cpu_moved, refused=not health.silent, seconds=seconds)
    return Answered(health, seconds, cpu_moved)


def next_vitals(
    vitals: Vitals, observation: Observation, policy: HealthPolicy, now: float
) -> Vitals:
    """The vitals after one more observation, which came in at `now`.

    Answers for a process that has ended, or was ended meanwhile, change nothing: whoever answers
    on its port is somebody else.
    """
    if isinstance(observation, Answered | NoAnswer):
        if vitals.started_at is None:
            return vitals
        if isinstance(observation, NoAnswer):
            return _after_silence(vitals, observation, policy, now)
        return _after_answer(vitals, observation, policy, now)
    return _after_event(vitals, observation, now)


def _after_event(vitals: Vitals, event: Started | Ended | Stopped | Failed, now: float) -> Vitals:
    match event:
        case Started():
            return Vitals("loading", "started", now, started_at=now)
        case Stopped():
            return Vitals("unknown", "not running", now)
        case Failed(why):
            return Vitals("error", why, now)
        case Ended(description):
            # Given up stays given up: an end that is told late is no news.
            gone = Vitals("unknown", description, now)
            return vitals if vitals.health == "error" else gone


def _after_answer(vitals: Vitals, answer: Answered, policy: HealthPolicy, now: float) -> Vitals:
    health = answer.health
    if health.ready:
        alive = _became(vitals, health.state, health.detail, now)
        return replace(alive, failures=0, ever_healthy=True)
    if health.state == "loading":
        loading = _became(vitals, "loading", health.detail, now)
        if answer.cpu_moved:
            return replace(loading, failures=0)
        return _after_failure(loading, health.detail, "loading", policy, now, answer.seconds)
    return _after_failure(vitals, health.detail, vitals.health, policy, now, answer.seconds)


def _after_silence(vitals: Vitals, silence: NoAnswer, policy: HealthPolicy, now: float) -> Vitals:
    if silence.cpu_moved and not vitals.ever_healthy:
        return replace(_became(vitals, "loading", silence.why, now), failures=0)
    if silence.cpu_moved and not silence.refused:
        detail = f"computing: {silence.why}"
        return replace(_became(vitals, "busy", detail, now), failures=0)
    return _after_failure(vitals, silence.why, "unreachable", policy, now, silence.seconds)


def _after_failure(
    vitals: Vitals,
    why: str,
    meanwhile: HealthState,
    policy: HealthPolicy,
    now: float,
    seconds: float,
) -> Vitals:
    """After a failure: what it is `meanwhile`, until there are too many in a row.

    As in Docker, a question belongs to the start period if it was asked within it.
    """
    assert vitals.started_at is not None
    asked = now - seconds - vitals.started_at
    counts = vitals.ever_healthy or asked >= policy.start_period
    failures = vitals.failures + counts
    if failures >= policy.retries:
        health: HealthState = "unhealthy"
        detail = f"{why} ({failures} failures in a row)"
    elif counts:
        health = meanwhile
        detail = f"{why} ({failures} of {policy.retries} failures that make it unhealthy)"
    else:
        health, detail = "loading", why
    return replace(_became(vitals, health, detail, now), failures=failures)


def _became(vitals: Vitals, health: HealthState, detail: str, now: float) -> Vitals:
    since = vitals.since if health == vitals.health else now
    return replace(vitals, health=health, detail=detail, since=since)
