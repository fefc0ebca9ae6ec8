"""Which trials' tests ended their workers, and what becomes of them.

The first time the test is run again, by another worker. One that ends two is withdrawn: it is an
error that names them, and its scores are failures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: As often as this a test may end its worker.
MOST = 2


@dataclass(slots=True)
class _Crash:
    trial_id: str
    workers: list[str] = field(default_factory=list)
    settled: bool = False


class Crashes:
    """The crashes of a run, by the node ids of the tests."""

    def __init__(self) -> None:
        self._crashes: dict[str, _Crash] = {}

    def note(self, nodeid: str, trial_id: str, worker: str) -> str:
        """A worker crashed while running a test; what follows from it, in words."""
        crash = self._crashes.setdefault(nodeid, _Crash(trial_id))
        crash.workers.append(worker)
        crash.settled = False
        again = ", as others before: it is not run again" if len(crash.workers) >= MOST else ""
        return f"worker {worker} crashed while running {nodeid}{again}"

    def settle(self, nodeid: str) -> None:
        """The test is through, in whatever way."""
        if nodeid in self._crashes:
            self._crashes[nodeid].settled = True

    def withdrawn(self) -> Mapping[str, str]:
        """The tests that are not run any more, and why."""
        return {
            nodeid: f"the test ended the workers {', '.join(crash.workers)} and is not run again"
            for nodeid, crash in self._crashes.items()
            if len(crash.workers) >= MOST
        }

    def unsettled(self) -> Iterator[tuple[str, str]]:
        """The tests that no worker was left to run again, and their words."""
        for nodeid, crash in self._crashes.items():
            if not crash.settled:
                workers = ", ".join(crash.workers)
                yield nodeid, f"worker {workers} crashed while running it; it was not run again"

    def trials(self) -> Mapping[str, str]:
        """The trials of those tests, with the same words."""
        return {self._crashes[nodeid].trial_id: words for nodeid, words in self.unsettled()}
