"""The interface on a socket: uvicorn, without its signals and its log of accesses."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 1
"""Seconds that calls in flight have left when the server ends; what they began goes on."""

HEAD_SECONDS = 10.0
"""How long a client may take to ask something; longer than one that keeps its connection may."""


class WebServer:
    """Answers for the app until it is told to stop (`listening.Listener`)."""

    def __init__(self, app: FastAPI, listening: socket.socket, head_seconds: float = HEAD_SECONDS):
        self._office = app.state.office
        self._listening = listening
        config = uvicorn.Config(
            app,
            http="h11",  # the other parser takes a head of any length
            access_log=False,
            log_level="warning",
            log_config=None,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=PATIENCE,
        )
        self._server = _Server(config, head_seconds)

    async def run(self) -> None:
        """Answer until `stop`."""
        await self._server.serve([self._listening])

    def stop(self) -> None:
        """End soon. Who waits for something is let go first: they would never leave."""
        self._office.close()
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Ends connections that take a place and ask nothing, and leaves signals alone: several servers
    run in one loop, so they are for whoever runs them all.
    """

    def __init__(self, config: uvicorn.Config, head_seconds: float):
        super().__init__(config)
        self._head_seconds = head_seconds
        # Those that owe us a request, with what they were answered last, and since when.
        self._silent: dict[H11Protocol, tuple[object, float]] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[Any]:
        yield

    async def on_tick(self, counter: int) -> bool:
        self._end_silent(time.monotonic())
        return await super().on_tick(counter)

    def _end_silent(self, now: float) -> None:
        before, self._silent = self._silent, {}
        for client in self.server_state.connections:
            if not isinstance(client, H11Protocol) or _is_being_answered(client):
                continue
            last, since = before.get(client, (client.cycle, now))
            if last is not client.cycle:  # it has been answered once more in the meantime
                since = now
            self._silent[client] = client.cycle, since
            if now - since > self._head_seconds:
                client.transport.abort()


def _is_being_answered(client: H11Protocol) -> bool:
    # uvicorn says that there is always a cycle; before the first request there is none.
    cycle: Any = client.cycle
    return cycle is not None and not cycle.response_complete
