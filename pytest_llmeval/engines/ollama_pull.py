"""Having Ollama pull a model, which may take hours: told as it goes, taken up again when it breaks.

Ollama answers with a line of JSON for every step (NDJSON) and keeps what it has, so that asking
again goes on where the last time ended. That is what httpx is here for: reading as lines come.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.engines.bounded import UNPACKED, lines, whole
from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.refusals import error_from_reply, quote
from pytest_llmeval.errors import EndpointUnreachable, EngineError, RequestRefused

QUIET_SECONDS = 600.0
"""How long Ollama may say nothing: it does so while it checks what it has got."""

LINE_LIMIT = 2**20
TOLD_LIMIT = 2**30
"""Bytes of one line, and of all that Ollama tells while it pulls: some 200 every tenth second."""

TELL_EVERY = 5.0
"""Seconds between two lines for the user."""

TRIES = 3
"""So many times in a row a pull may break without having got any further."""


class Progress:
    """How far a pull is, over all layers that have been named so far."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._layers: dict[str, tuple[int, int]] = {}
        self._step = ""
        self.done = False

    @property
    def fetched(self) -> int:
        """Bytes that are there."""
        return sum(completed for completed, _ in self._layers.values())

    def take(self, line: dict[str, Any]) -> None:
        """Take in a line; raises `RequestRefused` for one that is an error."""
        if "error" in line:
            raise RequestRefused(
                f"Ollama cannot pull {self._model}: {line['error']} "
                f"(does `ollama pull {self._model}` say the same?)"
            )
        digest, total = line.get("digest"), line.get("total")
        self._step = str(line.get("status", "")) if digest is None else ""
        if isinstance(digest, str) and isinstance(total, int):
            completed = line.get("completed", 0)
            self._layers[digest] = (completed if isinstance(completed, int) else 0, total)
        self.done = line.get("status") == "success"

    def words(self) -> str:
        """One line for the user."""
        total = sum(total for _, total in self._layers.values())
        how = self._step
        if total and not self._step:
            share = 100 * self.fetched / total
            how = f"{self.fetched / 1e9:.1f} of {total / 1e9:.1f} GB, {share:.0f} %"
        return f"Ollama is pulling {self._model}{': ' if how else ''}{how}"


async def pull(
    endpoint: Endpoint,
    tell: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: float = 1.0,
) -> None:
    """Pull the endpoint's model, and tell the user how far it is; a broken pull is taken up again.

    Raises `RequestRefused` when Ollama cannot, in its own words, and `EndpointUnreachable` when it
    breaks `TRIES` times in a row, `pause` seconds apart, without having got any further.
    """
    progress = Progress(endpoint.model or "")
    tries = 0
    while True:
        before = progress.fetched
        try:
            await _pull_once(endpoint, progress, tell, clock)
        except (EndpointUnreachable, RequestRefused) as error:
            # Its own lost connections are errors too; what nothing helps against gets no further.
            tries = 0 if progress.fetched > before else tries + 1
            if tries >= (TRIES if isinstance(error, EndpointUnreachable) else 1):
                raise
            await asyncio.sleep(pause)
        else:
            tell(f"Ollama has pulled {endpoint.model}")
            return


async def _pull_once(
    endpoint: Endpoint,
    progress: Progress,
    tell: Callable[[str], None],
    clock: Callable[[], float],
) -> None:
    import httpx  # takes 0.1 s to import

    address = parse_address(endpoint.url)
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    timeout = httpx.Timeout(max(QUIET_SECONDS, endpoint.timeout), connect=10.0)
    next_at = clock()
    try:
        async with (
            httpx.AsyncClient(
                headers={**UNPACKED, **headers},
                timeout=timeout,
                trust_env=not address.is_loopback,
                verify=address.scheme == "https",  # reading the certificates takes 20 ms of CPU
            ) as client,
            client.stream(
                "POST", f"{endpoint.url}/api/pull", json={"model": endpoint.model, "stream": True}
            ) as response,
        ):
            if response.status_code != 200:
                body = await whole(response, address.place)
                raise _refusal(response.status_code, body, endpoint)
            told = lines(response, address.place, longest=LINE_LIMIT, most=TOLD_LIMIT)
            async for line in told:
                progress.take(_object(line))
                now = clock()
                if not progress.done and now >= next_at:
                    next_at = now + TELL_EVERY
                    tell(progress.words())
    except httpx.HTTPError as error:
        raise EndpointUnreachable(
            f"Pulling {endpoint.model} broke off: {error or type(error).__name__}"
        ) from error
    if not progress.done:
        raise EndpointUnreachable(f"Pulling {endpoint.model} ended before it was through")


def _refusal(status: int, body: bytes, endpoint: Endpoint) -> EngineError:
    error = error_from_reply(status, {}, body, now=time.time, secret=endpoint.api_key)
    return RequestRefused(
        f"Ollama cannot pull {endpoint.model}: {error} "
        f"(does `ollama pull {endpoint.model}` say the same?)",
        status=status,
    )


def _object(line: bytes) -> dict[str, Any]:
    """A line's object; one that is none, as of a proxy, is an error in its own words."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        data = None
    return data if isinstance(data, dict) else {"error": quote(line)}
