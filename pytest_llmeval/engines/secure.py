"""Requests over https, by httpx: certificates and proxies are not worth code of our own."""

from __future__ import annotations

import asyncio

import httpx

from pytest_llmeval.engines.address import Address
from pytest_llmeval.engines.connection import BODY_LIMIT, Reply
from pytest_llmeval.errors import BadAnswer, EndpointTimeout, EndpointUnreachable


class SecureWire:
    """A `Wire` for https. Proxies and certificates of the environment hold, but for loopback."""

    def __init__(self, address: Address, *, api_key: str | None, timeout: float) -> None:
        self._place = address.place
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            base_url=f"{address.scheme}://{address.place}{address.path}/",
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "pytest-llmeval",
                **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            },
            limits=httpx.Limits(max_connections=None),
            timeout=None,  # noqa: S113 - httpx counts each wait; `send` limits the whole
            trust_env=not address.is_loopback,
        )

    async def send(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Send one request and wait for the whole reply (`Wire`)."""
        try:
            return await asyncio.wait_for(self._exchange(method, path, body), self._timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            raise EndpointTimeout(
                f"{self._place} gave no complete answer within {self._timeout:g} s"
            ) from error
        except httpx.TransportError as error:
            raise EndpointUnreachable(
                f"The connection to {self._place} failed: {error or type(error).__name__}"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadAnswer(f"{self._place} sent what cannot be read: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _exchange(self, method: str, path: str, body: bytes) -> Reply:
        async with self._client.stream(method, path.lstrip("/"), content=body) as response:
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > BODY_LIMIT:
                    raise BadAnswer(
                        f"{self._place} sent an answer of more than {BODY_LIMIT:,} bytes"
                    )
            return Reply(response.status_code, tuple(response.headers.raw), b"".join(parts))
