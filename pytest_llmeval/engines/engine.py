"""What an engine is, and how one is found by the name of its kind.

An engine makes single attempts. Whether to ask again, when, and how many requests to have in
flight is the scheduler's business.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.records import Answer, Request

GROUP = "pytest_llmeval.engines"
"""The entry-point group under which other packages offer engines: kind = "module:factory"."""

_BUILT_IN = {
    "embedded": "pytest_llmeval.engines.llama_server",
    "fake": "pytest_llmeval.engines.fake",
    "llama-server": "pytest_llmeval.engines.llama_server",
    "openai": "pytest_llmeval.engines.openai",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that answers.

    `model` is the name sent with each request, None to send none. `timeout` is in seconds, from
    sending a request (connecting included) to the last byte of its answer. `api_key` never shows
    in a repr or a message.
    """

    url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """What an endpoint says about itself; None is what it does not say.

    `context` is tokens per slot, `template_sha256` the hex digest of the chat template's UTF-8.
    """

    slots: int | None = None
    context: int | None = None
    model_path: str | None = None
    model_name: str | None = None
    build: str | None = None
    template_sha256: str | None = None


class Engine(Protocol):
    """Speaks to one endpoint. Its methods belong to one event loop and may run concurrently."""

    async def describe(self) -> EndpointFacts:
        """Ask the endpoint about itself; raises `EngineError` when it cannot be reached."""
        ...

    async def complete(self, request: Request) -> Answer:
        """Make one attempt at a request; raises subclasses of `EngineError` and nothing else.

        Cancelling it gives the connection up, so that the server can stop working on the answer.
        """
        ...

    async def close(self) -> None:
        """Close every connection; requests still in flight fail as unreachable."""
        ...


EngineFactory = Callable[[Endpoint], Engine]
_F = TypeVar("_F", bound=EngineFactory)
_registered: dict[str, EngineFactory] = {}


def register(kind: str) -> Callable[[_F], _F]:
    """Make a factory known under the name that a config gives as `engine:`."""

    def keep(factory: _F) -> _F:
        _registered[kind] = factory
        return factory

    return keep


def kinds() -> tuple[str, ...]:
    """Every kind that `make_engine` knows, sorted: built in, registered, or from entry points."""
    return tuple(sorted({*_BUILT_IN, *_registered, *(point.name for point in _offered())}))


def make_engine(kind: str, endpoint: Endpoint) -> Engine:
    """Return a new engine of a kind; raises `ConfigError` when there is none of that name.

    Modules are imported, and entry points looked up, only for the kind that is asked for.
    """
    if kind not in _registered:
        if kind in _BUILT_IN:
            importlib.import_module(_BUILT_IN[kind])
        else:
            _registered[kind] = _from_entry_point(kind)
    return _registered[kind](endpoint)


def _offered() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _from_entry_point(kind: str) -> EngineFactory:
    for point in _offered():
        if point.name == kind:
            return _load(point)
    known = kinds()
    near = difflib.get_close_matches(kind, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"There is no engine {kind!r}; known are {', '.join(known)}.{hint}")


def _load(point: EntryPoint) -> EngineFactory:
    try:
        factory: EngineFactory = point.load()
    except Exception as error:  # somebody else's module may raise anything while it is imported
        raise ConfigError(
            f"The engine {point.name!r} ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}. Repair or remove the package that offers it."
        ) from error
    return factory
