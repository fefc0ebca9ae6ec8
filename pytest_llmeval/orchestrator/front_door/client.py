"""One client's connection: requests in, one after the other, and answers in their order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine

from pytest_llmeval.orchestrator.front_door.answer import Answer
from pytest_llmeval.orchestrator.front_door.messages import Page, Request, page_bytes
from pytest_llmeval.orchestrator.front_door.reading import Limits, RequestReader

HELD_LIMIT = 64 * 1024
"""Bytes of requests sent ahead (pipelined) that are kept while one is answered.

Past it nothing is read until then; who sends that much ahead is noticed late when he goes.
"""

Serve = Callable[[Request, Answer], Coroutine[None, None, None]]
"""Answers a request; what it leaves incomplete is broken off."""

_log = logging.getLogger(__name__)


class Client(asyncio.Protocol):
    """Has requests answered. A client that goes has its request cancelled at once.

    A client that closes its side only (half-close) has gone, too: nobody can tell the two apart.
    """

    def __init__(
        self,
        serve: Serve,
        limits: Limits,
        clock: Callable[[], float],
        on_lost: Callable[[Client], None],
    ) -> None:
        self._serve = serve
        self._limits = limits
        self._clock = clock
        self._on_lost = on_lost
        self._reader = RequestReader(limits, self._go_on)
        self._complete: deque[Request | Page] = deque()
        self._answer: Answer | None = None
        self._task: asyncio.Task[None] | None = None
        self._held = bytearray()
        self._reading_paused = False
        self._since = clock()
        self._refused = False
        self._refusal: Page | None = None

    def refuse(self, page: Page) -> None:
        """Say this as soon as it is connected, and read nothing."""
        self._refusal = page

    # Called by asyncio --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that answers are written to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._refusal is not None:
            self._say_farewell(self._refusal)

    def data_received(self, data: bytes) -> None:
        """Read on; what is sent ahead is held until the request before it is answered."""
        if self._refused:
            return
        if self._task is None:
            self._read(data)
            return
        self._held += data
        if len(self._held) > HELD_LIMIT and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # how does not matter
        """Give up what was asked: nobody waits for the answer."""
        self._complete.clear()
        self._held.clear()
        if self._task is not None:
            self._task.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than its answer comes."""
        if self._answer is not None:
            self._answer.pause()

    def resume_writing(self) -> None:
        """The client has read on."""
        if self._answer is not None:
            self._answer.resume()

    # Called by the door ------------------------------------------------------------------------

    def close_if_overdue(self, now: float) -> None:
        """Close what is idle for too long; refuse a request that comes too slowly."""
        waited = now - self._since
        if self._refused:
            if waited > self._limits.farewell_seconds:
                self._transport.abort()
        elif self._task is not None:
            return
        elif self._reader.in_head or self._reader.in_body:
            why = self._limits.overdue(self._reader, waited)
            if why is not None:
                self._say_farewell(self._reader.give_up(408, why))
        elif waited > self._limits.idle_seconds:
            self._transport.close()

    def abort(self) -> None:
        """End it now."""
        self._transport.abort()

    # --------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        begun = self._reader.begun
        self._complete += self._reader.feed(data)
        if self._reader.begun != begun:
            self._since = self._clock()
        self._answer_next()

    def _go_on(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer_next(self) -> None:
        if not self._complete or self._transport.is_closing():
            return
        request = self._complete.popleft()
        if isinstance(request, Page):
            self._say_farewell(request)
            return
        self._answer = Answer(self._transport, request)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._serve(request, self._answer))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        answer, self._answer, self._task = self._answer, None, None
        assert answer is not None
        self._since = self._clock()
        if not task.cancelled() and task.exception() is not None:
            _log.error("a request could not be answered", exc_info=task.exception())
        if task.cancelled() or not answer.complete:
            answer.break_off()
        elif not answer.keep_alive:
            self._transport.close()
        elif self._complete:
            self._answer_next()
        else:
            self._read_held()

    def _read_held(self) -> None:
        """Go on with what was sent ahead."""
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            self._read(held)

    def _say_farewell(self, page: Page) -> None:
        """Refuse and close, but listen a little longer: to close on what still comes would reset
        the connection, and the client might never see why.
        """
        self._refused = True
        self._since = self._clock()
        self._transport.write(page_bytes(page, keep_alive=False))
        if self._transport.can_write_eof():
            self._transport.write_eof()
