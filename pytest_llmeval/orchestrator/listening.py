"""Servers of our own, side by side in one loop: bound, run, and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence
from typing import Protocol

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.servers.ports import describe_listener

BACKLOG = 2048


class Listener(Protocol):
    """Something that answers on a socket that is bound already."""

    async def run(self) -> None:
        """Answer until it is told to stop."""
        ...

    def stop(self) -> None:
        """End soon: take nothing new, and let `run` return."""
        ...


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that listens there; of port 0 the system chooses one. `option` names the port."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise OrchestratorError(
            f"--host {host}: no address of this machine has that name ({error}); "
            "127.0.0.1 is this machine alone, 0.0.0.0 all its addresses"
        ) from error
    family, _, _, _, address = found[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # The same word means two things: on Windows SO_REUSEADDR would take a port in use.
        if sys.platform == "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise OrchestratorError(_not_bound(host, port, option, error)) from error
    listening.setblocking(False)
    return listening


async def serve(listeners: Sequence[Listener]) -> None:
    """Run all of them until one ends or we are cancelled; then end the others too."""
    running = [asyncio.ensure_future(listener.run()) for listener in listeners]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
    finally:
        for listener in listeners:
            listener.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*running, return_exceptions=True)


def _not_bound(host: str, port: int, option: str, error: OSError) -> str:
    holder = describe_listener(port) if port else None
    if holder is not None:
        return f"port {port} is in use by {holder}; stop that, or choose another with {option}"
    return f"cannot listen on {host}:{port} ({error.strerror or error}); choose another {option}"
