"""The interface on a socket: uvicorn, without its signals and its log of accesses."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

PATIENCE = 1
"""Seconds that calls in flight have left when the server ends; what they began goes on."""


class WebServer:
    """Answers for the app until it is told to stop (`listening.Listener`)."""

    def __init__(self, app: FastAPI, listening: socket.socket):
        self._office = app.state.office
        self._listening = listening
        self._server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                log_config=None,
                server_header=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=PATIENCE,
            )
        )

    async def run(self) -> None:
        """Answer until `stop`."""
        await self._server.serve([self._listening])

    def stop(self) -> None:
        """End soon. Who waits for something is let go first: they would never leave."""
        self._office.close()
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Several servers run in one loop, so signals are for whoever runs them all."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[Any]:
        yield
