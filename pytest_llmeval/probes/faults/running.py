"""The proxy in a thread of its own: for tests, and for the command."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from pytest_llmeval.errors import FaultError

from .parsing import parse_fault
from .plan import Plan
from .proxy import FaultServer, Injected
from .vocabulary import Fault

Result = TypeVar("Result")


class FaultProxy:
    """A proxy on 127.0.0.1 before the http endpoint at `url`, from `start` to `close`.

    Faults are written as for the command, or come from `parse_fault`. `url` is what takes the
    endpoint's place, `injected` what has happened so far, `requests` how many requests came. It is
    a context manager, too. Raises FaultError for a fault that there is not, an endpoint that does
    not answer, and a port that is taken.
    """

    def __init__(
        self,
        url: str,
        *faults: str | Fault,
        seed: int = 0,
        port: int = 0,
        tell: Callable[[Injected], None] = lambda _: None,
    ):
        self._injected: list[Injected] = []
        self._tell = tell
        self._server = FaultServer(url, Plan(_parsed(faults), seed), self._record, port)
        self._seed = seed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="llmeval-faults", daemon=True)

    def __repr__(self) -> str:
        return f"<faults before {self._server.address.place} at {self.url}>"

    @property
    def url(self) -> str:
        """What takes the place of the endpoint's url."""
        return self._server.url

    @property
    def injected(self) -> tuple[Injected, ...]:
        """The faults that have happened, in their order."""
        return tuple(self._injected)

    @property
    def requests(self) -> int:
        """How many requests have come."""
        return self._server.requests

    def start(self) -> FaultProxy:
        """Begin to listen."""
        self._thread.start()
        try:
            self._call(self._server.open())
        except BaseException:
            self._end()
            raise
        return self

    def change(self, *faults: str | Fault) -> None:
        """Other faults from now on, counted anew; none: let everything pass.

        Raises FaultError before `start` and after `close`.
        """
        if not self._thread.is_alive():
            raise FaultError(
                "this fault proxy does not run: change its faults between start() and close(), or "
                "inside of `with`"
            )
        self._call(self._server.change(Plan(_parsed(faults), self._seed)))

    def close(self) -> None:
        """End every connection and listen no more."""
        if self._thread.is_alive():
            with contextlib.suppress(concurrent.futures.CancelledError):
                self._call(self._server.close())
            self._end()

    def __enter__(self) -> FaultProxy:  # noqa: PYI034 - Self needs Python 3.11
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _record(self, injected: Injected) -> None:
        self._injected.append(injected)
        self._tell(injected)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._call(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _parsed(faults: Sequence[str | Fault]) -> list[Fault]:
    return [parse_fault(each) if isinstance(each, str) else each for each in faults]
