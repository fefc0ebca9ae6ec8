"""What the interface answers, as data: FastAPI makes the JSON and its schema of these.

`InstanceView` and the histories go out as they are.
"""

from __future__ import annotations

import dataclasses
import os
import re
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
from pytest_llmeval.orchestrator.front_door.door import DoorFigures
from pytest_llmeval.orchestrator.views import HealthEntry, InstanceDetail, InstanceView
from pytest_llmeval.redaction import REDACTED, cleaned, shown_error
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
    state cannot be read, which then is the last that was known. `door` is what goes on at the front
    door of this `serve`, where it has one.
    """

    now: float
    daemon: bool
    instances: tuple[InstanceView, ...]
    pending: tuple[Job, ...] = ()
    trouble: str | None = None
    door: DoorFigures | None = None


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
    """The same with keys and passwords taken out of the config's `env` and `args`.

    Configs refuse what is known to be one. But every user of the machine may look here, so what is
    only named like one is not shown either.
    """
    config = detail.config
    if config is None:
        return detail
    env = {name: _public(name, value) for name, value in config.env.items()}
    public = config.model_copy(update={"env": env, "args": _public_args(config.args)})
    return dataclasses.replace(detail, config=public)


_SECRETS = frozenset(
    {
        *("key", "keys", "apikey", "token", "tokens", "hft", "secret", "secrets", "auth"),
        *("password", "passwd", "passphrase", "pass", "pwd", "pat", "credential", "credentials"),
        *("authorization", "bearer", "cookie"),
    }
)
"""Words in the names of variables and options that are about secrets; `-hft` is llama-server's."""


def _public(name: str, value: str) -> str:
    """The value of a variable or an option, if it may be shown."""
    is_secret = value and _SECRETS.intersection(re.split(r"[^a-z0-9]+", name.lower()))
    return REDACTED if is_secret else cleaned(value, os.environ)


def _public_args(args: tuple[str, ...]) -> tuple[str, ...]:
    """A value stands in the argument of its option (`--api-key=abc`), or in the one after it."""
    return tuple(map(_public_arg, ("", *args), args))


def _public_arg(before: str, arg: str) -> str:
    if not arg.startswith("-"):
        waits_for_it = before.startswith("-") and "=" not in before
        return _public(before if waits_for_it else "", arg)
    option, equals, value = arg.partition("=")
    return f"{cleaned(option, os.environ)}{equals}{_public(option, value)}"


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
            return status, Problem(shown_error(error, os.environ), word)
    return 500, Problem(cleaned(f"{type(error).__name__}: {error}", os.environ), "internal")
