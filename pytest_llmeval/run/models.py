"""A model of the config while the run lives: its server if we start one, its engine, its facts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_llmeval.engines.engine import EndpointFacts, Engine
from pytest_llmeval.errors import EndpointUnreachable, EngineError, LlmevalError, ServerError
from pytest_llmeval.records import Answer, Request


class ManagedServer(Protocol):
    """What is needed of a server process; see `servers.server.Server`."""

    url: str
    log_path: Path

    def start(self) -> None:
        """Start it and wait until it is healthy."""

    def restart(self) -> None:
        """Start it again within its policy."""

    def alive(self) -> bool:
        """Whether the process lives."""

    def stop(self) -> None:
        """Stop it; more than once does no harm."""

    def log_tail(self, lines: int = 8) -> tuple[str, ...]:
        """The last lines it wrote."""


@dataclass(frozen=True, slots=True)
class Backing:
    """How a model is reached: a server of ours or None, and what makes the engine for its url."""

    server: ManagedServer | None
    make_engine: Callable[[str], Engine]
    url: str
    digest: Callable[[], str | None]


class LiveModel:
    """Opens, asks, recovers and closes one model. Its methods belong to the scheduler's loop.

    `opened` is called when the endpoint has said what it is, before anything is asked; what it
    raises (LlmevalError) refuses the model.
    """

    def __init__(
        self, name: str, backing: Backing, opened: Callable[[LiveModel], None] = lambda _: None
    ):
        self.name = name
        self._backing = backing
        self._opened = opened
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()
        self._refused: LlmevalError | None = None
        self.facts: EndpointFacts | None = None
        self.digest: str | None = None

    @property
    def url(self) -> str:
        """Where it answers, once it is open."""
        server = self._backing.server
        return server.url if server is not None else self._backing.url

    @property
    def log_path(self) -> str | None:
        """The file its server writes to, None for a server that is not ours."""
        server = self._backing.server
        return str(server.log_path) if server is not None else None

    async def open(self) -> None:
        """Start the server if there is one, and ask the endpoint what it is.

        The weights' digest is computed while the server loads, and is there before anything is
        asked. Raises LlmevalError; once it has, it does so for good.
        """
        async with self._opening:
            if self._refused is not None:
                raise self._refused
            if self._engine is not None:
                return
            try:
                await self._open()
            except LlmevalError as error:
                self._refused = error
                raise

    async def _open(self) -> None:
        digest = asyncio.ensure_future(asyncio.to_thread(self._backing.digest))
        try:
            if self._backing.server is not None:
                await asyncio.to_thread(self._backing.server.start)
            await self._greet(self._backing.make_engine(self.url), digest)
        finally:
            await asyncio.gather(digest, return_exceptions=True)

    async def _greet(self, engine: Engine, digest: Awaitable[str | None]) -> None:
        try:
            self.facts = await engine.describe()
            self.digest = await digest
            self._opened(self)
        except BaseException:
            await engine.close()
            raise
        self._engine = engine

    async def ask(self, request: Request) -> Answer:
        """Make one attempt; raises EngineError."""
        if self._engine is None:
            raise EndpointUnreachable(f"{self.name} is not open")
        return await self._engine.complete(request)

    async def recover(self) -> None:
        """Bring the server back if its process is gone; a live one needs nothing.

        The new process may answer on another port, so the engine is made anew. Raises ServerError.
        """
        server = self._backing.server
        if server is None or server.alive():
            return
        await asyncio.to_thread(server.restart)
        old, self._engine = self._engine, self._backing.make_engine(server.url)
        if old is not None:
            await old.close()

    async def close(self) -> None:
        """Close the connections and stop the server; it can be opened again."""
        async with self._opening:
            engine, self._engine = self._engine, None
            if engine is not None:
                await engine.close()
            if self._backing.server is not None:
                await asyncio.to_thread(self._backing.server.stop)

    def explain(self, error: EngineError) -> str:
        """The error's words, and for a lost connection the server's last ones."""
        server = self._backing.server
        if server is None or not isinstance(error, EndpointUnreachable):
            return str(error)
        return str(ServerError(str(error), log_tail=server.log_tail()))


async def close_all(models: list[LiveModel]) -> None:
    """Close every model, whatever one of them says; the first trouble is raised at the end."""
    work: list[Awaitable[None]] = [model.close() for model in models]
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
