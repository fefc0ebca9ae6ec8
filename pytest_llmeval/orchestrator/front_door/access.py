"""Who may ask; pure.

A front door on the loopback interface may be without a key. Then it must not be a way in for web
pages of others: a browser on this machine sends their requests from here. So a request is refused
that comes from a page of another host (Origin), or that asks for another host (Host: a name that a
page's owner has pointed at 127.0.0.1).
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.front_door.messages import Page, Request, error
from pytest_llmeval.orchestrator.web.access import is_loopback

_PREFLIGHT = (
    (b"Access-Control-Allow-Methods", b"GET, POST, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"*, Authorization, Content-Type"),
    (b"Access-Control-Max-Age", b"600"),
)


def check_key(host: str, key: str | None) -> None:
    """Refuse a front door that anybody in the network may use."""
    if not key and not is_loopback(host):
        raise OrchestratorError(
            f"The front door on {host} can be reached by other machines, so it needs a key: "
            "name the variable that holds it with --proxy-token-env, or listen on 127.0.0.1"
        )


def refusal(request: Request, key: str | None) -> Page | None:
    """Why this request is not answered, or None."""
    if key:
        return None if _carries(request, key) else _wrong_key()
    host = request.fields.get(b"host")
    if host is not None and not _is_ours(b"//" + host):
        return error(403, f"this is the front door of 127.0.0.1, not of {_text(host)}")
    origin = request.fields.get(b"origin")
    if origin is not None and not _is_ours(origin):
        return error(
            403,
            f"web pages of {_text(origin)} may not ask here: only pages of this machine may, "
            "or whoever has the key where one is set",
        )
    return None


def options(request: Request) -> Page:
    """The answer to OPTIONS; a page of this machine is told that it may ask."""
    allow = ((b"Allow", b"GET, HEAD, POST, OPTIONS"),)
    origin = request.fields.get(b"origin")
    if origin is None or not _is_ours(origin):
        return Page(204, headers=allow)
    allowed = ((b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin"), *_PREFLIGHT)
    return Page(204, headers=(*allow, *allowed))


def _carries(request: Request, key: str) -> bool:
    scheme, _, given = request.fields.get(b"authorization", b"").partition(b" ")
    expected = key.encode("utf-8")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), expected)


def _wrong_key() -> Page:
    return error(
        401,
        "the front door's key is missing or wrong: send it as 'Authorization: Bearer KEY' "
        "(api_key in OpenAI's clients)",
        code="invalid_api_key",
        headers=((b"WWW-Authenticate", b"Bearer"),),
    )


def _is_ours(url: bytes) -> bool:
    try:
        host = urlsplit(url.decode("ascii")).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _text(value: bytes) -> str:
    return repr(value.decode("latin-1"))
