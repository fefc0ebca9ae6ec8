"""Requests over https, by httpx: certificates and proxies are not worth code of our own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import httpx

from pytest_llmeval.engines.address import Address
from pytest_llmeval.engines.bounded import BODY_LIMIT, UNPACKED, pieces
from pytest_llmeval.engines.connection import (
    TRAILER_WITHIN,
    Reply,
    Sink,
    is_event_stream,
    no_connection,
)
from pytest_llmeval.errors import BadAnswer, EndpointTimeout, EndpointUnreachable


class SecureWire:
    """A `Wire` for https. Proxies and certificates of the environment hold, but for loopback."""

    def __init__(self, address: Address, *, headers: Mapping[str, str], timeout: float) -> None:
        self._place = address.place
        self._is_loopback = address.is_loopback
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            base_url=f"{address.scheme}://{address.place}{address.path}/",
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "pytest-llmeval",
                **UNPACKED,
                **headers,
            },
            limits=httpx.Limits(max_connections=None),
            timeout=None,  # noqa: S113 - httpx counts each wait; `send` limits the whole
            trust_env=not address.is_loopback,
        )

    async def send(
        self, method: str, path: str, body: bytes = b"", sink: Sink | None = None
    ) -> Reply:
        """Send one request and wait for the whole reply (`Wire`)."""
        try:
            return await asyncio.wait_for(self._exchange(method, path, body, sink), self._timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            raise EndpointTimeout(
                f"{self._place} gave no complete answer within {self._timeout:g} s"
            ) from error
        except httpx.TransportError as error:
            refusal = _refusal_behind(error)
            if refusal is not None:
                others = "" if self._is_loopback else " or the proxy that the environment names"
                words = f"{no_connection(self._place, refusal)}{others}"
                raise EndpointUnreachable(words) from error
            raise EndpointUnreachable(
                f"The connection to {self._place} failed: {error or type(error).__name__}"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadAnswer(f"{self._place} sent what cannot be read: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _exchange(self, method: str, path: str, body: bytes, sink: Sink | None) -> Reply:
        async with self._client.stream(method, path.lstrip("/"), content=body) as response:
            coming = pieces(response, self._place, BODY_LIMIT)
            content_type = response.headers.get("content-type", "")
            if sink is not None and is_event_stream(response.status_code, content_type):
                await _pour(coming, sink)
                whole = b""
            else:
                whole = b"".join([piece async for piece in coming])
            return Reply(response.status_code, tuple(response.headers.raw), whole)


def _refusal_behind(error: BaseException | None) -> ConnectionRefusedError | None:
    """What httpx tells as "All connection attempts failed"."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error


async def _pour(coming: AsyncIterator[bytes], sink: Sink) -> None:
    """Give the sink all it needs; then a short while, so that the connection can be kept."""
    async for piece in coming:
        if sink(piece):
            with contextlib.suppress(asyncio.TimeoutError, httpx.HTTPError):
                await asyncio.wait_for(_drain(coming), TRAILER_WITHIN)
            return


async def _drain(coming: AsyncIterator[bytes]) -> None:
    async for _ in coming:
        pass
