"""Requests to a service's API of files and jobs, by httpx: few and large, unlike a run's many.

The sibling of `secure.py`, with what files need besides: uploads as forms, and downloads line by
line from where the service says they lie.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.engines.bounded import BODY_LIMIT, DOWNLOAD_LIMIT, UNPACKED, lines, whole
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.errors import (
    BadAnswer,
    ConfigError,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
)


class WebClient:
    """Speaks to the API at one address; `timeout` is in seconds, for a whole exchange.

    The key goes to that address and nowhere else: downloads are asked for without it. Redirects
    are not followed.
    """

    def __init__(self, url: str, *, api_key: str | None, timeout: float) -> None:
        address = parse_address(url)
        self._place = address.place
        self._base = f"{address.scheme}://{address.place}{address.path}"
        self._timeout = timeout
        self._key = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(
            headers={"User-Agent": "pytest-llmeval", **UNPACKED},
            timeout=timeout,
            trust_env=not address.is_loopback,
        )

    async def get(self, path: str) -> Reply:
        """Get a small document. Without any body: some front ends refuse a GET that has one."""
        return await self._send("GET", path, headers={"Accept": "application/json"})

    async def post(self, path: str, body: dict[str, Any]) -> Reply:
        """Post a JSON document."""
        return await self._send(
            "POST",
            path,
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            content=json.dumps(body).encode("ascii"),
        )

    async def upload(self, path: str, name: str, content: bytes) -> Reply:
        """Post a file as the field `file` of a form."""
        return await self._send("POST", path, files={"file": (name, content, "application/jsonl")})

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        r"""Download the lines of a file that a service has named; raises `EngineError`.

        Only `\n` ends a line. Over plain http only from the service's own address.
        """
        self._check_download(url)
        with self._in_our_words():
            async with self._client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise _download_error(response.status_code, url)
                place = parse_address(url.partition("?")[0]).place
                async for line in lines(response, place, longest=BODY_LIMIT, most=DOWNLOAD_LIMIT):
                    yield line

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, **request: Any) -> Reply:
        headers = {**self._key, **request.pop("headers", {})}
        with self._in_our_words():
            return await asyncio.wait_for(
                self._exchange(method, self._base + path, headers, request), self._timeout
            )

    async def _exchange(
        self, method: str, url: str, headers: dict[str, str], request: dict[str, Any]
    ) -> Reply:
        async with self._client.stream(method, url, headers=headers, **request) as response:
            body = await whole(response, self._place)
            return Reply(response.status_code, tuple(response.headers.raw), body)

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
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

    def _check_download(self, url: str) -> None:
        """A service names where its files lie; what it names is not trusted further than that."""
        try:
            address = parse_address(url.partition("?")[0])
        except ConfigError as error:
            raise BadAnswer(f"{self._place} names a download that is no url: {error}") from error
        if address.scheme != "https" and address.place != self._place:
            raise BadAnswer(
                f"{self._place} names a download at {address.place} over plain http, which is "
                f"followed only to the service's own address"
            )


def _download_error(status: int, url: str) -> EngineError:
    """A signed url that has run out gets a new one when the download is tried again."""
    place = parse_address(url.partition("?")[0]).place
    return EndpointUnreachable(f"HTTP {status} for a download from {place}", status=status)
