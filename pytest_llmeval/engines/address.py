"""The url of an endpoint, taken apart and checked once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from pytest_llmeval.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is. `path` has no slash at its end; `place` is host and port as shown."""

    scheme: str
    host: str
    port: int
    path: str
    place: str

    @property
    def is_loopback(self) -> bool:
        """It is this machine, so that no proxy may come between."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(url: str) -> Address:
    """Take a url apart; raises `ConfigError` for what no engine can use."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:
        raise ConfigError(f"{url!r} is no usable url: {error}.") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"The url of {parts.hostname} carries a user name or password. "
            f"Leave it out and name the variable that holds the API key instead."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"{url!r} is no usable url: it must look like http://127.0.0.1:8080 or https://host/v1."
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no usable url: nothing may follow its path ('?', '#').")
    shown = f"[{host}]" if ":" in host else host
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/")
    return Address(parts.scheme, host, port, path, f"{shown}:{port}")
