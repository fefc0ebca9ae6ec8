"""What the interface answers, as data: FastAPI makes the JSON and its schema of these.

`InstanceView` and the histories go out as they are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.errors import (
    DaemonError,
    InputError,
    LlmevalError,
    ModelFileError,
    ServerError,
    StateError,
    UnknownInstanceError,
)
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.views import HealthEntry, InstanceDetail, InstanceView
from pytest_llmeval.redaction import redact
from pytest_llmeval.servers.health import HealthState

Action = Literal["start", "stop", "restart", "reset"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done: a word for programs, a complete message for people."""

    message: str
    type: str


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """The body of every answer that is none."""

    error: Problem


@dataclass(frozen=True, slots=True)
class Job:
    """An action under way."""

    name: str
    action: Action


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action has ended; without an `error` it is done. `number` counts up."""

    number: int
    name: str
    action: Action
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """All instances now, by the clock of this machine in seconds since 1970.

    `daemon` is whether it runs; where not, nobody watches the instances. `trouble` says why their
    state cannot be read, which then is the last that was known.
    """

    now: float
    daemon: bool
    instances: tuple[InstanceView, ...]
    pending: tuple[Job, ...] = ()
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """An instance's health as it was last found, and how it came to be, the newest first.

    `ready` is whether requests may be sent.
    """

    name: str
    health: HealthState
    detail: str
    ready: bool
    history: tuple[HealthEntry, ...]


def health_answer(detail: InstanceDetail) -> HealthAnswer:
    """What is said of the health of an instance."""
    view = detail.view
    return HealthAnswer(view.name, view.health, view.detail, view.ready, detail.health)


def without_secrets(detail: InstanceDetail) -> InstanceDetail:
    """The same with keys and passwords taken out of the config's `env` and `args`."""
    config = detail.config
    env = {name: redact(f"{name}={value}")[len(name) + 1 :] for name, value in config.env.items()}
    public = config.model_copy(update={"env": env, "args": _public(config)})
    return dataclasses.replace(detail, config=public)


def _public(config: InstanceConfig) -> tuple[str, ...]:
    """An argument is looked at together with the one before it: `--api-key`, `abc`."""
    pairs = zip(("", *config.args), config.args, strict=False)
    return tuple(redact(f"{option} {value}")[len(redact(option)) + 1 :] for option, value in pairs)


#: A status of HTTP and a word for each kind of error; the first that fits counts.
_KINDS: tuple[tuple[type[LlmevalError], int, str], ...] = (
    (UnknownInstanceError, 404, "unknown_instance"),
    (InputError, 409, "bad_config"),
    (ModelFileError, 409, "bad_model"),
    (ServerError, 502, "server_failed"),
    (DaemonError, 503, "daemon_unreachable"),
    (StateError, 503, "state_unusable"),
    (LlmevalError, 409, "not_possible"),
)


def problem_of(error: Exception) -> tuple[int, Problem]:
    """The status and the words for an error; what is none of ours is a mistake of ours: 500."""
    for kind, status, word in _KINDS:
        if isinstance(error, kind):
            return status, Problem(str(error), word)
    return 500, Problem(f"{type(error).__name__}: {error}", "internal")
