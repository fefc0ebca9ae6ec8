"""One keep-alive connection: bytes of a request out, a whole reply or an error back."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from pytest_llmeval.engines.bounded import BODY_LIMIT
from pytest_llmeval.errors import BadAnswer, EndpointTimeout, EndpointUnreachable, EngineError

HEAD_LIMIT = 64 * 1024
"""Bytes a reply may have before its headers are complete."""

STALE_WITHIN = 1.0
"""Seconds within which a server that had closed an idle connection lets us know.

A close that comes later means that it was working on our request and died over it; that is an
attempt of its own and must be seen as one.
"""


TRAILER_WITHIN = 1.0
"""Seconds that a stream which has said all may take to end as HTTP, so that its connection can be
used again; after that its answer counts as it is.
"""

#: The way out where nobody listens, for a server that is not ours.
START_IT = ". Start the server, or correct url"

Sink = Callable[[bytes], bool]
"""Takes an event stream's pieces as they come, and says whether that was all it needs.

It may raise `EngineError`, which gives the request up. It is called within the event loop, so it
must not wait.
"""


class Flow(Protocol):
    """Where a relayed reply comes from: it can be told to wait."""

    def pause(self) -> None:
        """Let nothing come for now; what the server sends meanwhile stays with the server."""
        ...

    def resume(self) -> None:
        """Let it come again."""
        ...


class Taker(Protocol):
    """Takes a reply in pieces, as they come, and passes it on.

    It is called within the event loop, so it must not wait: `Flow` is how it slows things down.
    """

    def begin(self, status: int, headers: list[tuple[bytes, bytes]], flow: Flow) -> None:
        """The head of a reply proper is complete; headers are as received. `take` follows."""
        ...

    def take(self, piece: bytes, *, last: bool) -> None:
        """What one read has brought of the body, which may be nothing; `last`: it is complete."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. `raw_headers` are as received, in order. `body` is empty when a sink took
    it.
    """

    status: int
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name; the last one of a name wins."""
        return {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in self.raw_headers
        }


def no_connection(place: str, error: OSError | UnicodeError) -> str:
    """Why nothing can be connected to, with the way out where nobody listens.

    asyncio tells an error's number and the address once more, as a tuple, and for a host of several
    addresses all of them in one text.
    """
    numbers = dict.fromkeys(map(int, re.findall(r"\[Errno (\d+)\] Connect call", str(error))))
    if isinstance(error, ConnectionRefusedError) or list(numbers) == [errno.ECONNREFUSED]:
        return f"Cannot connect to {place} (connection refused): nothing answers there{START_IT}"
    return f"Cannot connect to {place}: {', '.join(map(os.strerror, numbers)) or error}"


def is_event_stream(status: int, content_type: str) -> bool:
    """Whether a reply is what a sink is for: anything else is read whole, to be quoted."""
    return status == 200 and content_type.partition(";")[0].strip().lower() == "text/event-stream"


class Connection(asyncio.Protocol):
    """One connection, one request at a time; asyncio sets TCP_NODELAY on it by itself."""

    def __init__(self, place: str, on_lost: Callable[[Connection], None]) -> None:
        self._place = place
        self._on_lost = on_lost
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._take: Callable[[bytes], object] = self._body.extend
        self._sink: Sink | None = None
        self._taker: Taker | None = None
        self._pieces: list[bytes] = []
        self._has_all = False
        self._limit = HEAD_LIMIT
        self._sent_at = 0.0
        self._received = 0
        self._paused = False
        self.lost = False
        self.reusable = False

    def send(self, payload: bytes, now: float, sink: Sink | None = None) -> asyncio.Future[Reply]:
        """Write a request; the future brings its reply or an `EngineError`.

        With a sink the body of an event stream goes there.
        """
        assert self._transport is not None
        assert not self.lost  # asyncio drops what is written to one that is gone, in silence
        waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._headers = []
        self._body = bytearray()
        self._take = self._body.extend
        self._sink = sink
        self._taker = None
        self._has_all = False
        self._limit = HEAD_LIMIT
        self._sent_at = now
        self._received = 0
        self.reusable = False
        self._transport.write(payload)
        return waiter

    def relay(self, payload: bytes, now: float, taker: Taker) -> asyncio.Future[Reply]:
        """Write a request whose reply goes to a taker, of whatever length; the future's is empty
        and comes after the last piece.
        """
        waiter = self.send(payload, now)
        self._taker = taker
        return waiter

    def pause(self) -> None:
        """Read no more for now (`Flow`)."""
        if self._transport is not None and not self._paused and self._waiter is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again (`Flow`)."""
        if self._transport is not None and self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def was_stale(self, now: float) -> bool:
        """The server closed it before our request can have reached it."""
        return self._received == 0 and now - self._sent_at < STALE_WITHIN

    def expire(self, timeout: float) -> None:
        """Give the reply up: its time is over; a stream that has said all is taken as it is."""
        if self._has_all:
            self._finish(keep=False)
        came = f" ({self._received:,} bytes of it came)" if self._received else ""
        self.fail(
            EndpointTimeout(f"{self._place} gave no complete answer within {timeout:g} s{came}")
        )

    def fail(self, error: EngineError) -> None:
        """Close at once, with this error for the request in flight if there is one."""
        waiter, self._waiter = self._waiter, None
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def abort(self) -> None:
        """Close at once: no reply of this connection may reach a later request."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that requests are written to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse on; the reply is delivered from within, when it is complete."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.fail(BadAnswer(f"{self._place} answered with something that is not HTTP: {error}"))
            return
        if self._taker is not None and self._limit == sys.maxsize:
            self._hand_over(self._taker, last=False)
        if self._received > self._limit:
            part = "headers" if self._limit == HEAD_LIMIT else "an answer"
            self.fail(BadAnswer(f"{self._place} sent {part} of more than {self._limit:,} bytes"))

    def eof_received(self) -> None:
        """Complete a reply that gave no length; asyncio closes the connection then."""
        if self._ends_with_connection():
            self._finish(keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request in flight, if there is one, unless its stream has said all."""
        self.lost = True
        if self._has_all:
            self._finish(keep=False)
        how = "closed" if exc is None else "broke"
        when = (
            f"in the middle of an answer, after {self._received:,} bytes"
            if self._received
            else "before it answered"
        )
        self.fail(EndpointUnreachable(f"{self._place} {how} the connection {when}"))
        self._on_lost(self)

    # Called by the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Refuse what nobody asked for: it would be taken for the next reply."""
        if self._waiter is None:
            raise ValueError("data that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header as it is: few replies are ever asked for theirs."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Allow for a body."""
        self._limit = BODY_LIMIT
        if self._taker is not None:
            self._begin_relay(self._taker)
        elif self._sink is not None and self._is_event_stream():
            self._take = self._pass_on

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, or pass it on."""
        self._take(body)

    def on_message_complete(self) -> None:
        """Deliver the reply, unless it is an interim one (1xx) before the reply proper."""
        if self._parser.get_status_code() < 200:
            self._headers = []
            self._limit = HEAD_LIMIT
        else:
            self._finish(keep=self._parser.should_keep_alive())

    # --------------------------------------------------------------------------------------------

    def _is_event_stream(self) -> bool:
        types = [v for name, v in self._headers if name.lower() == b"content-type"]
        content_type = types[-1].decode("latin-1") if types else ""
        return is_event_stream(self._parser.get_status_code(), content_type)

    def _pass_on(self, piece: bytes) -> None:
        sink, waiter = self._sink, self._waiter
        if sink is None or waiter is None or self._has_all:
            return  # given up, or the rest of a stream that has said all
        try:
            self._has_all = sink(piece)
        except EngineError as error:
            self.fail(error)
            return
        if self._has_all:
            asyncio.get_running_loop().call_later(TRAILER_WITHIN, self._end_stream, waiter)

    def _end_stream(self, waiter: asyncio.Future[Reply]) -> None:
        if self._waiter is waiter:
            self._finish(keep=False)

    def _begin_relay(self, taker: Taker) -> None:
        """Pass the head on, and then the body, which may be endless: what each read brings in one
        piece, since each costs the taker a system call.
        """
        status = self._parser.get_status_code()
        if status >= 200:
            self._limit = sys.maxsize
            self._take = self._pieces.append
            taker.begin(status, self._headers, self)

    def _hand_over(self, taker: Taker, *, last: bool) -> None:
        taker.take(b"".join(self._pieces), last=last)
        self._pieces.clear()

    def _ends_with_connection(self) -> bool:
        """The reply gives no length, so that closing the connection is what completes it."""
        names = {name.lower() for name, _ in self._headers}
        return self._limit != HEAD_LIMIT and not names & {b"content-length", b"transfer-encoding"}

    def _finish(self, *, keep: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        self.reusable = keep
        self.resume()
        taker, self._taker = self._taker, None
        if taker is not None:
            self._hand_over(taker, last=True)
        status = self._parser.get_status_code()
        waiter.set_result(Reply(status, tuple(self._headers), bytes(self._body)))
