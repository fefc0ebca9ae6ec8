"""What an engine is, and how one is found by the name of its kind.

An engine makes single attempts. Whether to ask again, when, and how many requests to have in
flight is the scheduler's business.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Protocol, TypeVar

from pytest_llmeval.engines.template_clock import Clock
from pytest_llmeval.errors import ConfigError, Unsupported
from pytest_llmeval.records import Answer, Likelihood, Request

GROUP = "pytest_llmeval.engines"
"""The entry-point group under which other packages offer engines: kind = "module:factory"."""

_BUILT_IN = {
    "anthropic": "pytest_llmeval.engines.anthropic",
    "embedded": "pytest_llmeval.engines.llama_server",
    "fake": "pytest_llmeval.engines.fake",
    "fireworks": "pytest_llmeval.engines.fireworks",
    "llama-cpp-python": "pytest_llmeval.engines.llama_cpp_python",
    "llama-server": "pytest_llmeval.engines.llama_server",
    "ollama": "pytest_llmeval.engines.ollama",
    "openai": "pytest_llmeval.engines.openai",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that answers.

    `model` is the name sent with each request, None to send none. `timeout` is in seconds, from
    sending a request (connecting included) to the last byte of its answer. `api_key` never shows
    in a repr or a message. `settings` are what only engines of one kind know, by the config's keys.
    """

    url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 600.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """What an endpoint says about itself; None is what it does not say.

    `context` is tokens per slot, `template_sha256` the hex digest of the chat template's UTF-8,
    `digest` the sha256 of the weights, in hex; `served` are the names of the models it lists, their
    aliases among them. `clock` is what its chat template tells the model of the time.
    """

    slots: int | None = None
    context: int | None = None
    model_path: str | None = None
    model_name: str | None = None
    build: str | None = None
    template_sha256: str | None = None
    digest: str | None = None
    served: tuple[str, ...] = ()
    clock: Clock = "none"


class Engine(Protocol):
    """Speaks to one endpoint. Its methods belong to one event loop and may run concurrently.

    Each but `close` raises subclasses of `EngineError` and nothing else, and cancelling it gives
    the connection up, so that the server can stop working. What an engine cannot honestly do it
    refuses by raising `Unsupported`; `Refusing` does so for whatever is not overridden. A factory
    may also have a function `refuse(request)` that raises `Unsupported` for requests of which that
    is known before anything is contacted.
    """

    async def describe(self) -> EndpointFacts:
        """Ask the endpoint about itself."""
        ...

    async def complete(self, request: Request) -> Answer:
        """Make one attempt at an answer."""
        ...

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Make one attempt at the likelihoods of the request's continuations, in their order."""
        ...

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the model's token ids of a text, without any that mark a beginning or an end."""
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Return a vector for each text, in their order, all of one length."""
        ...

    async def close(self) -> None:
        """Close every connection; requests still in flight fail as unreachable."""
        ...


class Refusing:
    """What engines of a kind cannot do, refused by its name: a base class for engines."""

    kind: ClassVar[str]

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Refuse: a likelihood that is not the model's own would be invented."""
        del request
        raise no_likelihoods(self.kind)

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Refuse: the endpoint has no tokenizer that could be asked."""
        del text
        raise Unsupported(f"The engine {self.kind} has no tokenizer that could be asked.")

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Refuse: the endpoint gives no embeddings."""
        del texts
        raise Unsupported(f"The engine {self.kind} gives no embeddings.")


def no_likelihoods(kind: str) -> Unsupported:
    """The error of an engine that cannot say how likely a given text is."""
    return Unsupported(
        f"The engine {kind} cannot say how likely a given text is; the engines embedded, "
        f"llama-server and llama-cpp-python can."
    )


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


def offered() -> tuple[str, ...]:
    """The kinds that are not built in, sorted: those of other packages, and of a conftest."""
    return tuple(kind for kind in kinds() if kind not in _BUILT_IN)


def make_engine(kind: str, endpoint: Endpoint) -> Engine:
    """Return a new engine of a kind; raises `ConfigError` when there is none of that name.

    Modules are imported, and entry points looked up, only for the kind that is asked for.
    """
    return _factory(kind)(endpoint)


def refuse_request(kind: str, request: Request) -> None:
    """Raise `Unsupported` for a request that no engine of this kind can honestly fulfil."""
    factory = _factory(kind)
    if request.continuations and getattr(factory, "likelihoods", None) is Refusing.likelihoods:
        raise no_likelihoods(kind)
    refuse: Callable[[Request], None] | None = getattr(factory, "refuse", None)
    if refuse is not None:
        refuse(request)


def refuse_embedding(kind: str) -> None:
    """Raise `Unsupported` where it is known that engines of this kind give no embeddings."""
    factory = _factory(kind)
    if getattr(factory, "embed", None) is Refusing.embed:
        raise Unsupported(f"The engine {kind} gives no embeddings.")


def _factory(kind: str) -> EngineFactory:
    if kind not in _registered:
        if kind in _BUILT_IN:
            importlib.import_module(_BUILT_IN[kind])
        else:
            _registered[kind] = _from_entry_point(kind)
    return _registered[kind]


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
