"""Small requests for health checks, which run in threads of their own and must never raise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a request brought: a status and a body, or else `error` says why there is none."""

    status: int | None
    body: bytes = b""
    error: str = ""


def fetch(url: str, timeout: float, api_key: str | None = None) -> Fetched:
    """Get a url directly, whatever proxies the environment names.

    `timeout` is in seconds for each wait: for the connection, and between pieces of the answer.
    """
    return _send("GET", url, timeout, api_key, None)


def post(url: str, timeout: float, body: bytes, api_key: str | None = None) -> Fetched:
    """Post JSON to a url, the rest as `fetch`."""
    return _send("POST", url, timeout, api_key, body)


def _send(
    method: str, url: str, timeout: float, api_key: str | None, body: bytes | None
) -> Fetched:
    import httpx  # takes 0.1 s to import

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    headers |= {"Content-Type": "application/json"} if body is not None else {}
    try:
        response = httpx.request(
            method,
            url,
            headers=headers,
            content=body,
            timeout=timeout,
            trust_env=False,
            verify=not url.startswith("http:"),  # reading the certificates takes 20 ms of CPU
        )
    except httpx.TimeoutException:
        return Fetched(None, error=f"no answer within {timeout:g} s")
    except httpx.ConnectError as error:
        return Fetched(None, error=f"cannot connect: {error}")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Fetched(None, error=f"{type(error).__name__}: {error}")
    return Fetched(response.status_code, response.content)
