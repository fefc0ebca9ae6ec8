"""The answer to one request, written to its client as it comes."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable

from pytest_llmeval.engines.wire import Flow
from pytest_llmeval.orchestrator.front_door.messages import (
    Page,
    Request,
    has_length,
    page_bytes,
    relayed_head,
)

_WITHOUT_BODY = (204, 304)


class Answer:
    """Takes an instance's reply (a `Taker`), or a page of the front door's own.

    `begun` and `complete` say how far it is; `when_complete` is called once an instance has said
    all. One that was begun and cannot be completed is broken off: its client must see that
    something is missing.
    """

    def __init__(self, transport: asyncio.Transport, request: Request) -> None:
        self.begun = False
        self.complete = False
        self.when_complete: Callable[[], None] = lambda: None
        self.keep_alive = request.keep_alive
        self._transport = transport
        self._request = request
        self._head = b""
        self._chunked = False
        self._until_close = False
        self._flow: Flow | None = None
        self._held_up = False

    def send(self, page: Page) -> None:
        """Answer with a page."""
        self.begun = self.complete = True
        with_body = self._request.method != b"HEAD"
        self._transport.write(page_bytes(page, keep_alive=self.keep_alive, with_body=with_body))

    # What an instance replies --------------------------------------------------------------------

    def begin(self, status: int, headers: list[tuple[bytes, bytes]], flow: Flow) -> None:
        """Pass the head on (`Taker`)."""
        self.begun = True
        self._flow = flow
        if self._held_up:
            flow.pause()
        if not has_length(headers) and status not in _WITHOUT_BODY:
            # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
            self._chunked = self._request.version != "1.0"
            self._until_close = not self._chunked
            self.keep_alive = self.keep_alive and self._chunked
        self._head = relayed_head(
            status, headers, chunked=self._chunked, keep_alive=self.keep_alive
        )

    def take(self, piece: bytes, *, last: bool) -> None:
        """Pass a piece of the body on (`Taker`)."""
        if self._chunked and piece:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        end = b"0\r\n\r\n" if self._chunked and last else b""
        head, self._head = self._head, b""
        self._transport.write(b"%b%b%b" % (head, piece, end))
        if last:
            self.complete = True
            self._flow = None
            self.when_complete()

    # What the client's connection says -----------------------------------------------------------

    def pause(self) -> None:
        """The client does not read as fast as the instance writes."""
        self._held_up = True
        if self._flow is not None:
            self._flow.pause()

    def resume(self) -> None:
        """The client has read on."""
        self._held_up = False
        if self._flow is not None:
            self._flow.resume()

    def break_off(self) -> None:
        """End the connection so that nobody takes what was sent for a whole answer.

        A body with a length, or of chunks, is incomplete for everybody; one that ends with the
        connection must see it reset.
        """
        if not self._until_close or self._transport.is_closing():
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()
