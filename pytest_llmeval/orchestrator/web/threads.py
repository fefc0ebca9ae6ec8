"""Calls that block, made from the loop: each in a daemon thread of its own.

The loop's own pool would do for few short calls. But bringing a model up may take minutes, several
of those would fill the pool, and the interpreter does not end before a pool's threads have:
Ctrl-C could not end the interface at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """What `function(*arguments)` returns or raises, without blocking the loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: Exception | None) -> None:
        if future.done():  # whoever waited has gone
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # None is a result of its type here

    def work() -> None:
        result, failure = None, None
        try:
            result = function(*arguments)
        except Exception as error:  # noqa: BLE001 # handed over to who waits for it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name=f"web-{function.__name__}", daemon=True).start()
    return await future


class Threads:
    """At most so many of such calls at a time; the others wait for their turn."""

    def __init__(self, most: int = 16):
        self._turns = asyncio.Semaphore(most)

    async def __call__(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As `in_thread`."""
        async with self._turns:
            return await in_thread(function, *arguments)
