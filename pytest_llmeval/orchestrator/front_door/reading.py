"""Bytes of a client to requests, or to the page that says why what came is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from pytest_llmeval.orchestrator.front_door.messages import (
    OWN_OF_REQUEST,
    Page,
    Request,
    error,
    header_lines,
    passed_on,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may ask of us: bytes of a head and of a body, seconds, and open connections.

    A head must be complete within `head_seconds`, a body within `body_seconds` and as many more as
    it takes at `slowest` bytes a second. A connection without a request is closed after
    `idle_seconds`; one whose request was refused is listened to for `farewell_seconds`. Of
    `clients` each may need another connection to a server, and many systems give a process 1,024
    files.
    """

    head: int = 32 * 1024
    body: int = 64 * 2**20
    head_seconds: float = 10
    body_seconds: float = 30
    slowest: int = 64 * 1024
    idle_seconds: float = 120
    farewell_seconds: float = 2
    clients: int = 480

    def overdue(self, reader: RequestReader, waited: float) -> str | None:
        """Why a request that began so many seconds ago is given up, or None."""
        if reader.in_head and waited > self.head_seconds:
            return f"the head took more than {self.head_seconds:g} s"
        if reader.in_body and waited > self.body_seconds + reader.size / self.slowest:
            return f"the body comes too slowly: {reader.size:,} bytes in {waited:.0f} s"
        return None


class RequestReader:
    """Reads the requests of one connection; `go_on` is called when a body waits for our word.

    After something that is refused nothing is read any more: where the next request begins is then
    anybody's guess, and guessing differently than others is how requests are smuggled.
    """

    def __init__(self, limits: Limits, go_on: Callable[[], None]) -> None:
        self._limits = limits
        self._go_on = go_on
        self._parser = HttpRequestParser(self)
        self._complete: list[Request | Page] = []
        self._refusal: Page | None = None
        self._fields: dict[bytes, bytes] = {}
        self.begun = 0
        self.size = 0
        self._forget_message()

    def feed(self, data: bytes) -> list[Request | Page]:
        """Read on; what is complete now. A page is a refusal, and the last one ever."""
        if self._refusal is not None:
            return []
        self._read(data)
        if self.in_head:
            self._head_size += len(data)
            if self._head_size > self._limits.head:
                self._refuse_head()
        complete, self._complete = self._complete, []
        return complete if self._refusal is None else [*complete, self._refusal]

    def give_up(self, status: int, why: str) -> Page:
        """Refuse what is only half there."""
        self._refuse(status, why)
        assert self._refusal is not None
        return self._refusal

    # Called by the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._refusal is None:
            self._forget_message()
            self.in_head = True
            self.begun += 1

    def on_url(self, url: bytes) -> None:
        """Keep the target, which may come in pieces."""
        self._target += url
        self.size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what follows a body of chunks (trailers) is nothing for us."""
        if not self.in_body:
            self._headers.append((name, value))
            self.size += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Refuse what is too long before it comes; let a body come that waits for our word."""
        self.in_head, self.in_body = False, True
        if self.size > self._limits.head:
            self._refuse_head()
        self.size = 0
        self._fields = {name.lower(): value for name, value in self._headers}
        self._check_head(self._parser.get_http_version())
        expected = self._fields.get(b"expect")
        if expected is not None and expected.lower() != b"100-continue":
            self._refuse(417, f"cannot do what the header Expect asks for: {expected!r}")
        elif expected is not None and self._refusal is None and not self._complete:
            self._go_on()

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body, up to the limit."""
        self.size += len(piece)
        if self.size > self._limits.body:
            self._refuse_body()
        elif self._refusal is None:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """Hand the request out; one that wishes for another protocol is first read without it."""
        if self._refusal is not None or self._parser.should_upgrade():
            return
        request = Request(
            self._parser.get_method(),
            self._target,
            self._headers,
            b"".join(self._body),
            self._parser.get_http_version(),
            self._parser.should_keep_alive(),
            self._fields,
        )
        self._complete.append(request)
        self._forget_message()

    # --------------------------------------------------------------------------------------------

    def _forget_message(self) -> None:
        """No request has begun. `size` is bytes of the head, or of the body once that has begun."""
        self.in_head = self.in_body = False
        self.size = 0
        self._head_size = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields = {}
        self._body: list[bytes] = []

    def _read(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._read_without_upgrade(data[upgrade.args[0] :])
        except HttpParserError as wrong:
            self._refuse(400, f"this is no HTTP request: {wrong}")

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Read a request again without its wish for another protocol, which may be ignored.

        The parser takes its body for the other protocol. Java's own client sends such requests.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "this is no proxy for other places: CONNECT is not served")
        if self._refusal is not None:
            return
        own = [(name, value) for name, value in self._headers if name.lower() in _KEPT]
        lines = passed_on(self._headers) + header_lines(own)
        self._parser = HttpRequestParser(self)
        self._read(b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._target, lines, rest))

    def _check_head(self, version: str) -> None:
        hosts = sum(name.lower() == b"host" for name, _ in self._headers)
        if version not in ("1.0", "1.1"):
            self._refuse(505, f"HTTP {version} is not spoken here, 1.1 is")
        elif hosts > 1 or (hosts == 0 and version == "1.1"):
            self._refuse(400, f"a request has one header Host, and this has {hosts or 'none'}")
        elif int(self._fields.get(b"content-length", b"0")) > self._limits.body:
            self._refuse_body()

    def _refuse(self, status: int, why: str) -> None:
        """Note why a request, and so the connection, is refused; the first reason counts."""
        if self._refusal is None:
            self._refusal = error(status, why)

    def _refuse_head(self) -> None:
        self._refuse(431, f"the head is longer than {self._limits.head:,} bytes")

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body is longer than {self._limits.body:,} bytes")


#: Headers that are not for the instance, but still for us when a request is read again.
_KEPT = (OWN_OF_REQUEST | {b"transfer-encoding"}) - {b"connection", b"upgrade"}
