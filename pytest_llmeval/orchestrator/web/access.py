"""Who may call the interface: decided by a pure function over what a request says of itself.

Three things are asked, in this order. The Host header must name us: a page whose own name is made
to point at this machine (DNS rebinding) carries that name. The call must not come from another
site's page: browsers say so in Origin and Sec-Fetch-Site. And whoever changes something must have
the token, which no other site can read.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ASSETS = frozenset(
    {
        "/",
        "/icon.svg",
        "/page.css",
        *(f"/{name}.js" for name in ("page", "link", "log", "rows", "words")),
    }
)
"""What anybody may load: it holds nothing but the page itself, which asks for the rest."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Access:
    """What the interface demands.

    `hosts` are the names in Host headers that are ours. Where it can be reached from other
    machines (`remote`), every call needs the token, and any address in digits may be ours too:
    an attacker's name can be made to point here, an address cannot.
    """

    token: str = field(repr=False)
    hosts: frozenset[str] = LOOPBACK
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """What a request says of itself; None is a header that is not there."""

    method: str
    path: str
    host: str | None = None
    origin: str | None = None
    fetch_site: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not answered: a status of HTTP, a word for programs, a sentence for people."""

    status: int
    type: str
    message: str


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def access_to(host: str, token: str, names: Iterable[str]) -> Access:
    """The rules for an interface that listens on `host`, of a machine that has these names."""
    if is_loopback(host):
        return Access(token, LOOPBACK | {host.lower()})
    own = {name.lower() for name in names}
    return Access(
        token, LOOPBACK | {host.lower()} | own | {f"{name}.local" for name in own}, remote=True
    )


def refusal(call: Call, access: Access) -> Refusal | None:
    """Why this call is not answered; None if it is."""
    return _foreign_host(call, access) or _foreign_site(call) or _without_token(call, access)


def _foreign_host(call: Call, access: Access) -> Refusal | None:
    name = _host_name(call.host)
    if name in access.hosts or (access.remote and _is_address(name)):
        return None
    return Refusal(
        403,
        "foreign_host",
        f"the Host header is {call.host!r}, which is no name of this interface; "
        f"open it by one of: {', '.join(sorted(access.hosts))}",
    )


def _foreign_site(call: Call) -> Refusal | None:
    """Another site may link to the page, but no page of it may call us."""
    if call.path in ASSETS and call.method in READING:
        return None
    same = call.origin is None or _host_of(call.origin) == (call.host or "").lower()
    if same and call.fetch_site in {None, "same-origin", "none"}:
        return None
    return Refusal(
        403,
        "cross_origin",
        f"the call comes from a page of another site ({call.origin or call.fetch_site}); "
        "only the interface's own page and programs that are no browser may call it",
    )


def _without_token(call: Call, access: Access) -> Refusal | None:
    if call.method in READING and (call.path in ASSETS or not access.remote):
        return None
    if call.token is None:
        return Refusal(
            401,
            "token_missing",
            "this call needs the token that `llama-orch serve` has printed or was given: send it "
            "as `Authorization: Bearer TOKEN` or `X-Llama-Orch-Token: TOKEN`",
        )
    # By bytes: compare_digest takes no text beyond ASCII.
    if hmac.compare_digest(call.token.encode(), access.token.encode()):
        return None
    return Refusal(
        401,
        "token_wrong",
        "the token is not the one of this interface: take the one that `llama-orch serve` has "
        "printed or was given",
    )


def _host_name(host: str | None) -> str:
    """`[::1]:9640` -> `::1`; "" for what is no host."""
    try:
        return urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return ""


def _host_of(origin: str) -> str:
    """`http://127.0.0.1:9640` -> `127.0.0.1:9640`; "" for `null` and whatever else is no site."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
