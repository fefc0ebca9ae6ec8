"""HTTP messages as the front door reads and writes them; all pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Headers = Sequence[tuple[bytes, bytes]]

#: What is about a connection, and so ends with it (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)

#: Of a request, what the front door says itself: the key of the client is for the door alone.
OWN_OF_REQUEST = HOP_BY_HOP | {b"host", b"authorization", b"content-length", b"expect"}

_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode("ascii"))
    for status in HTTPStatus
}


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request. `target` is path and query as sent, `headers` are as received; `fields`
    are the same by lower-case name, of which the last one of a name wins.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    version: str
    keep_alive: bool
    fields: Mapping[bytes, bytes]

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer of the front door's own: JSON, or nothing."""

    status: int
    content: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


def page(content: object, status: int = 200) -> Page:
    """An answer in JSON."""
    return Page(status, json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def error(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    retry_after: int | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Page:
    """A refusal in OpenAI's shape, which their clients show to the user."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    content: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    shown = page({"error": content}, status)
    if retry_after is not None:
        headers = (*headers, (b"Retry-After", b"%d" % retry_after))
    return Page(status, shown.content, headers)


def passed_on(headers: Headers) -> bytes:
    """The lines of a request's headers that the instance is to see."""
    dropped = _dropped(headers, OWN_OF_REQUEST)
    return header_lines((name, value) for name, value in headers if name.lower() not in dropped)


def relayed_head(status: int, headers: Headers, *, chunked: bool, keep_alive: bool) -> bytes:
    """The head of an answer that an instance gives, for the client's own connection."""
    dropped = _dropped(headers, HOP_BY_HOP)
    kept = header_lines((name, value) for name, value in headers if name.lower() not in dropped)
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    return b"%b%b%b%b\r\n" % (_line(status), kept, framing, _connection(keep_alive))


def page_bytes(answer: Page, *, keep_alive: bool, with_body: bool = True) -> bytes:
    """An answer of our own as it is sent; to HEAD it has the same head and no body."""
    length = b"" if answer.status == 204 else b"Content-Length: %d\r\n" % len(answer.content)
    kind = b"Content-Type: application/json\r\n" if answer.content else b""
    parts = (
        _line(answer.status),
        kind,
        length,
        header_lines(answer.headers),
        _connection(keep_alive),
    )
    return b"%b%b%b%b%b\r\n" % parts + (answer.content if with_body else b"")


def has_length(headers: Headers) -> bool:
    """Whether an answer says how long it is."""
    return any(name.lower() == b"content-length" for name, _ in headers)


def _dropped(headers: Headers, always: frozenset[bytes]) -> frozenset[bytes]:
    """What may not be passed on: always, and because the header Connection names it."""
    named = [value for name, value in headers if name.lower() == b"connection"]
    if not named:
        return always
    return always.union(word.strip().lower() for word in b",".join(named).split(b","))


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _line(status: int) -> bytes:
    return _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _connection(keep_alive: bool) -> bytes:
    return b"" if keep_alive else b"Connection: close\r\n"
