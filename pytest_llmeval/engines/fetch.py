"""Small requests for health checks, which run in threads of their own and must never raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmeval.engines.bounded import UNPACKED, packing_of
from pytest_llmeval.errors import EndpointTimeout, EndpointUnreachable

if TYPE_CHECKING:
    import httpx

FETCH_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer about a server's state."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a request brought: a status and a body, or else `error` says why there is none.

    `timed_out` says that the time was up; else nobody took the connection, or it broke.
    """

    status: int | None
    body: bytes = b""
    error: str = ""
    timed_out: bool = False

    def answer(self) -> tuple[int, bytes]:
        """Status and body; raises EndpointTimeout or EndpointUnreachable where there are none."""
        if self.status is not None:
            return self.status, self.body
        raise (EndpointTimeout if self.timed_out else EndpointUnreachable)(self.error)


def fetch(
    url: str,
    timeout: float,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Fetched:
    """Get a url directly, whatever proxies the environment names.

    `timeout` is in seconds for each wait: for the connection, and between pieces of the answer.
    The key travels as a bearer token, or else in `headers`.
    """
    return _send("GET", url, timeout, {**_bearer(api_key), **(headers or {})}, None)


def post(url: str, timeout: float, body: bytes, api_key: str | None = None) -> Fetched:
    """Post JSON to a url, the rest as `fetch`."""
    headers = {**_bearer(api_key), "Content-Type": "application/json"}
    return _send("POST", url, timeout, headers, body)


def _bearer(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _send(
    method: str, url: str, timeout: float, headers: Mapping[str, str], body: bytes | None
) -> Fetched:
    import httpx  # takes 0.1 s to import

    try:
        with httpx.stream(
            method,
            url,
            headers={**UNPACKED, **headers},
            content=body,
            timeout=timeout,
            trust_env=False,
            verify=not url.startswith("http:"),  # reading the certificates takes 20 ms of CPU
        ) as response:
            return _read(response)
    except httpx.TimeoutException:
        return Fetched(None, error=f"no answer within {timeout:g} s", timed_out=True)
    except httpx.ConnectError as error:
        return Fetched(None, error=f"cannot connect: {error}")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Fetched(None, error=f"{type(error).__name__}: {error}")


def _read(response: httpx.Response) -> Fetched:
    packing = packing_of(response)
    if packing:
        return Fetched(None, error=f"it is compressed ({packing}), which nobody asked for")
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > FETCH_LIMIT:
            return Fetched(None, error=f"an answer of more than {FETCH_LIMIT:,} bytes")
    return Fetched(response.status_code, bytes(body))
