"""Replies that stand for the answer: written out as real servers write them. Pure."""

from __future__ import annotations

import json
from email.utils import formatdate
from http import HTTPStatus

from .vocabulary import Fault

PAGE = (
    b"<!doctype html><html><head><title>Sign in</title></head>"
    b"<body><h1>Sign in to the network</h1></body></html>\n"
)


def refusal(fault: Fault, now: float, *, head_only: bool = False) -> bytes:
    """The whole reply of a fault that refuses; `now` in seconds since 1970, for dates.

    `head_only` is for HEAD, whose replies have no body, and the length that it would have.
    """
    reply = _refusal(fault, now)
    return reply[: reply.index(b"\r\n\r\n") + 4] if head_only else reply


def _refusal(fault: Fault, now: float) -> bytes:
    if fault.kind.name == "html":
        return _reply(200, PAGE, ("Content-Type: text/html; charset=utf-8",))
    if fault.kind.name == "loading":
        return _error(503, "Loading model", "unavailable_error")
    if fault.kind.name == "rate_limit":
        seconds = fault.number("retry_after")
        # HTTP's dates have no fractions: rounded up, nobody comes back too early.
        date = formatdate(int(now) + 1 + seconds, usegmt=True)
        wait = date if fault.values["form"] == "date" else str(seconds)
        return _error(429, "Rate limit reached", "rate_limit_error", f"Retry-After: {wait}")
    status = fault.number("status")
    return _error(status, "Internal server error (injected fault)", "server_error")


def _error(status: int, message: str, kind: str, *headers: str) -> bytes:
    error = {"code": status, "message": message, "type": kind}
    body = json.dumps({"error": error}).encode("utf-8")
    return _reply(status, body, ("Content-Type: application/json; charset=utf-8", *headers))


def _reply(status: int, body: bytes, headers: tuple[str, ...]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Fault"
    lines = [f"HTTP/1.1 {status} {phrase}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("ascii") + body
