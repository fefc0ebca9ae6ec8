"""Answers that come as a stream of events, read while they come."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pytest_llmeval.engines.connection import Reply, is_event_stream
from pytest_llmeval.engines.reading import Unexpected, bad_answer
from pytest_llmeval.engines.sse import Event, EventParser
from pytest_llmeval.engines.wire import Wire
from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer


class Assembler(Protocol):
    """Puts the events of one answer together; `begun` says whether any of it has come.

    Raises `Unexpected` for what is not as the format promises, or an `EngineError`.
    """

    begun: bool

    def add(self, event: Event) -> bool:
        """Take an event; returns whether it was the last one."""
        ...

    def answer(self) -> Answer:
        """Return what an unstreamed reply would have said."""
        ...


@dataclass(frozen=True, slots=True)
class Streaming:
    """How an engine asks for streams: on which wire, and what a reply that is none stands for.

    `secret` is taken out of whatever is quoted; `clock` is in seconds.
    """

    wire: Wire
    refusal: Callable[[Reply], EngineError]
    secret: str | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.perf_counter

    async def ask(self, path: str, body: bytes, assembler: Assembler) -> Answer:
        """Make one attempt with a body that asks for a stream.

        The answer's `first_token_ms` is from sending to the first piece that holds something of it
        (text, reasoning or a call): what a reader waits, the wait for a free slot included.
        """
        reader = _Reader(assembler, self.secret, self.clock)
        sent = self.clock()
        reply = await self.wire.send("POST", path, body, reader)
        if reply.status != 200:
            raise self.refusal(reply)
        kind = reply.headers.get("content-type", "")
        if not is_event_stream(reply.status, kind):
            problem = f"a stream of events was asked for, and what came is {kind or 'untyped'}"
            raise bad_answer(Unexpected(problem), reply.body, self.secret)
        try:
            answer = assembler.answer()
        except Unexpected as wrong:
            raise bad_answer(wrong, reader.last, self.secret) from None
        first = None if reader.first_at is None else 1000 * (reader.first_at - sent)
        return dataclasses.replace(answer, first_token_ms=first)


class _Reader:
    """The sink: bytes to events, events to the assembler. `last` is the latest event's data."""

    def __init__(
        self, assembler: Assembler, secret: str | None, clock: Callable[[], float]
    ) -> None:
        self._assembler = assembler
        self._secret = secret
        self._clock = clock
        self._events = EventParser()
        self.first_at: float | None = None
        self.last = b""

    def __call__(self, piece: bytes) -> bool:
        return any(self._add(event) for event in self._events.feed(piece))

    def _add(self, event: Event) -> bool:
        self.last = event.data
        try:
            done = self._assembler.add(event)
        except Unexpected as problem:
            raise bad_answer(problem, event.data, self._secret) from None
        if self.first_at is None and self._assembler.begun:
            self.first_at = self._clock()
        return done
