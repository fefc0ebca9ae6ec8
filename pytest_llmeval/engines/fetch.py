"""One small request for health checks, which run in threads of their own and must never raise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a request brought: a status and a body, or else `error` says why there is none."""

    status: int | None
    body: bytes = b""
    error: str = ""


def fetch(
    url: str, timeout: float, api_key: str | None = None, *, content: bytes | None = None
) -> Fetched:
    """Get a url directly, whatever proxies the environment names; with `content`, post it there.

    `timeout` is in seconds for each wait: for the connection, and between pieces of the answer.
    """
    import httpx  # takes 0.1 s to import

    try:
        response = httpx.request(
            "GET" if content is None else "POST",
            url,
            content=content,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
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
