"""An event loop whose time is no real time: where everybody waits, it jumps to the next timer.

What runs in threads runs at once, so that a run is the same every time. Where nobody can go on and
no timer is left, nothing would ever happen again: that is a deadlock, and is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Deadlock(Exception):
    """All wait for each other."""


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: what would be waited is what the time goes on by."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout is None:
            raise Deadlock
        if not ready:
            self.now += max(0.0, timeout or 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0 and is in virtual seconds."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override] # the result is there at once
        self, _: object, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Call it here and now."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        return future


def run_virtually(loop: VirtualLoop, work: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end; raises Deadlock where it has none."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        with contextlib.suppress(Deadlock):  # what waits for ever even so is left to its fate
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
