"""What workers and the controller tell each other, and how it is packed.

Both sides are pytest-llmeval of one version on this machine, so that parcels are pickles. What a
test module defines itself cannot travel: the controller does not import test modules.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.records import Request, Settled, Trial
from pytest_llmeval.run import Selection
from pytest_llmeval.servers.identity import Identity

#: Types of values that every process knows.
_PLAIN = (str, int, float, bool, type(None))


class ParcelError(LlmevalError):
    """Something cannot be sent to another process, or not be read there."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker waits for a trial's prediction; it has seen the first `seen` of all."""

    trial_id: str
    seen: int


@dataclass(frozen=True, slots=True)
class News:
    """What the trial asked for has come to, if it has; whatever else is new to the worker; for how
    long the trial has been under way; and why it will never come to anything, if so.

    `withdrawn` are the tests that no worker runs any more, by node id, and why; `stopped` says why
    none is waited for any more, "" while all are.
    """

    found: Settled | None
    settled: list[Settled]
    under_way: float
    never: str | None = None
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """The `llm` fixture asks something of its own."""

    model: str
    request: Request


@dataclass(frozen=True, slots=True)
class HasBegun:
    """A worker has collected, and asks whether another one has handed over the selection."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Whether the selection is known already, and which tests are withdrawn."""

    begun: bool
    withdrawn: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a worker collected: the run's selection, or the mistakes that stopped it."""

    selection: Selection


@dataclass(frozen=True, slots=True)
class Describe:
    """The `llm_server` and `llm_run` fixtures want to know the run, or one of its servers."""

    model: str | None


@dataclass(frozen=True, slots=True)
class Pulse:
    """A worker lives. It has been at a trial's test for so many seconds, apart from waiting for
    its answer; `nodeid` is "" while it is at no such test.
    """

    worker: str
    process: Identity
    nodeid: str = ""
    seconds: float = 0.0


def packed(parcel: object) -> bytes:
    """A parcel as bytes; raises ParcelError when it holds what cannot travel."""
    try:
        return pickle.dumps(parcel, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ParcelError(f"cannot be sent to another process: {_brief(error)}") from error


def unpacked(content: bytes) -> Any:
    """The parcel again; raises ParcelError when this process does not know what it is made of."""
    try:
        return pickle.loads(content)  # noqa: S301 - of a process that has proved to have the key
    except Exception as error:
        raise ParcelError(f"cannot be read by another process: {_brief(error)}") from error


def words_for(selection: Selection, error: ParcelError) -> str:
    """Which item it is that cannot travel, and what to do about it."""
    for trial in selection.trials:
        for name, value in _values(trial):
            if _is_odd(value):
                kind = f"{type(value).__module__}.{type(value).__qualname__}"
                return (
                    f"{trial.suite.name}: {name} of the item {trial.item.id!r} is a {kind}, which "
                    f"{error}; with pytest-xdist items hold plain values only: text, numbers, "
                    f"lists and mappings. Give it as one of these, or run with -n0"
                )
    return f"what was collected {error}; run with -n0"


def _values(trial: Trial) -> Iterator[tuple[str, Any]]:
    yield from trial.item.fields.items()
    yield "target", trial.item.target


def _is_odd(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_odd, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return any(map(_is_odd, value))
    return type(value) not in _PLAIN


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
