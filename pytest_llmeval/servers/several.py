"""Several servers of one model that are started, watched and ended together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pytest_llmeval.servers.server import GRACE_SECONDS, Server
from pytest_llmeval.servers.spec import ServerSpec


class ServerGroup:
    """Towards its owner it is one `Server`, which is alive when all of them are.

    Each has a guard, a log and a restart policy of its own. The methods are `Server`'s.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = tuple(servers)

    @property
    def spec(self) -> ServerSpec:
        """What the first of them is to be; the others differ by their log."""
        return self._servers[0].spec

    @property
    def url(self) -> str:
        """Where they answer, with blanks between."""
        return " ".join(server.url for server in self._servers)

    @property
    def restarts(self) -> int:
        """How often one of them was started again."""
        return sum(server.restarts for server in self._servers)

    @property
    def exit_description(self) -> str | None:
        """What ended the first of them that is gone, in words; None while all live."""
        return self._first_gone.exit_description

    def alive(self) -> bool:
        """Whether all their processes exist."""
        return all(server.alive() for server in self._servers)

    def log_tail(self, count: int = 8) -> tuple[str, ...]:
        """The last lines of the first of them that is gone, else of the first."""
        return self._first_gone.log_tail(count)

    def start(self) -> None:
        """Start them side by side; when one cannot be, none is left running."""
        try:
            self._each(self._servers, Server.start)
        except BaseException:
            self.stop(0)
            raise

    def restart(self) -> None:
        """Start those again that are gone."""
        self._each([server for server in self._servers if not server.alive()], Server.restart)

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """End them for good, side by side."""
        self._each(self._servers, lambda server: server.stop(grace))

    @property
    def _first_gone(self) -> Server:
        return next((server for server in self._servers if not server.alive()), self._servers[0])

    @staticmethod
    def _each(servers: Sequence[Server], do: Callable[[Server], None]) -> None:
        """Do something with each; when all have been through it, raise what the first raised."""
        with ThreadPoolExecutor(max(1, len(servers)), "llmeval-group") as threads:
            works = [threads.submit(do, server) for server in servers]
        for work in works:
            work.result()
