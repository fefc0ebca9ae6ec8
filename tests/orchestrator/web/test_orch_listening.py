"""Listeners side by side: bound with a message, ended together."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.listening import listen, serve


class Waiter:
    """A listener that answers nobody; `fails` is what ends it."""

    def __init__(self, fails: Exception | None = None):
        self.fails = fails
        self.ended = False
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        if self.fails is not None:
            raise self.fails
        await self._stopped.wait()
        self.ended = True

    def stop(self) -> None:
        self._stopped.set()


def test_the_system_chooses_a_port_for_0() -> None:
    with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as other:
        assert one.getsockname()[1] != other.getsockname()[1]
        with socket.create_connection(one.getsockname()):
            pass


def test_a_port_in_use_is_told_with_who_has_it() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OrchestratorError) as raised:
            listen("127.0.0.1", port)
    told = str(raised.value)
    known = f"port {port} is in use by " in told and f"(pid {os.getpid()})" in told
    # Where the system tells nobody who has a port (macOS), the message does without.
    assert known or told.startswith(f"cannot listen on 127.0.0.1:{port} (")
    assert "--port" in told


@pytest.mark.parametrize("host", ["no-such-host.invalid", "300.1.1.1", "192.0.2.1"])
def test_an_address_that_is_not_of_this_machine_is_told(host: str) -> None:
    with pytest.raises(OrchestratorError) as raised:
        listen(host, 0)
    assert host in str(raised.value)


def test_when_one_ends_all_end() -> None:
    async def both() -> tuple[bool, bool]:
        one, other = Waiter(), Waiter()
        running = asyncio.ensure_future(serve([one, other]))
        await asyncio.sleep(0)
        one.stop()
        await running
        return one.ended, other.ended

    assert asyncio.run(both()) == (True, True)


def test_what_one_fails_with_is_raised_when_the_others_have_ended() -> None:
    async def both() -> bool:
        other = Waiter()
        with pytest.raises(ValueError, match="broken"):
            await serve([other, Waiter(ValueError("broken"))])
        return other.ended

    assert asyncio.run(both())


def test_who_is_cancelled_ends_all() -> None:
    async def one() -> bool:
        waiter = Waiter()
        running = asyncio.ensure_future(serve([waiter]))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return waiter.ended

    assert asyncio.run(one())
