"""Who of pytest-xdist's workers lives, and where those are that do not get on.

xdist waits for a worker for ever. So each tells the controller every second that it lives and at
which trial's test it is, from a thread of its own; the controller counts the seconds in which it
hears nothing. What it counts are its own looks, not a clock: a machine that slept has not looked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pytest_llmeval.parcels import Pulse
from pytest_llmeval.servers.identity import Identity
from pytest_llmeval.servers.trees import kill_tree

#: Seconds between two pulses, and between two looks.
SECOND = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """After how many seconds a worker that is not heard of is named, and ended; and after how many
    a test is named whose answer is there, and which does not return.
    """

    silent: int = 30
    end: int = 300
    long: int = 60


@dataclass(slots=True)
class _Worker:
    pulse: Pulse
    silent: int = 0
    told: float = 0.0  # the seconds of its test that were told last


class PulseWatch:
    """The controller's eye on its workers.

    `say` tells the user a line; `end` ends a process, and says whether it is gone.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        patience: Patience,
        end: Callable[[Identity], bool] = kill_tree,
    ):
        self._say = say
        self._patience = patience
        self._end = end
        self._workers: dict[str, _Worker] = {}
        self._gone: set[str] = set()
        self._looks = 0
        self._under_way: dict[str, int] = {}  # tests, by the look before they began
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Look every second, in a thread of its own."""
        threading.Thread(target=self._run, name="llmeval-pulses", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def heard(self, pulse: Pulse) -> None:
        """A worker lives."""
        with self._lock:
            if pulse.worker in self._gone:  # its last one was late
                return
            worker = self._workers.setdefault(pulse.worker, _Worker(pulse))
            if pulse.nodeid != worker.pulse.nodeid or pulse.seconds < worker.pulse.seconds:
                worker.told = 0.0
            worker.pulse, worker.silent = pulse, 0

    def gone(self, name: str) -> None:
        """A worker has ended, or crashed: that is noticed elsewhere."""
        with self._lock:
            self._gone.add(name)
            self._workers.pop(name, None)

    def began(self, nodeid: str) -> None:
        """A test has begun, at some worker."""
        self._under_way[nodeid] = self._looks

    def ended(self, nodeid: str) -> None:
        """It is through."""
        self._under_way.pop(nodeid, None)

    def look(self) -> None:
        """One second has passed: name who does not get on, and end who is not heard of."""
        with self._lock:
            workers = list(self._workers.values())
        self._looks += 1
        for worker in workers:
            worker.silent += 1
            if worker.silent == self._patience.silent:
                others = {each.pulse.nodeid for each in workers if each is not worker}
                self._say(self._words_of_silence(worker.pulse, others))
            if worker.silent == self._patience.end:
                self._say(f"llmeval: {_name(worker.pulse)} is ended")
                self._end(worker.pulse.process)
            if worker.pulse.seconds >= max(self._patience.long, 2 * worker.told):
                worker.told = worker.pulse.seconds
                self._say(_words_of_length(worker.pulse))

    def _run(self) -> None:
        while not self._stopped.wait(SECOND):
            self.look()

    def _words_of_silence(self, pulse: Pulse, others: Collection[str]) -> str:
        """With the test that it is at: begun as long ago, and no other worker's. Its last pulse is
        older than that.
        """
        since = self._looks - self._patience.silent + 1
        begun = [nodeid for nodeid, look in list(self._under_way.items()) if look <= since]
        at = "".join(f", at {nodeid}" for nodeid in begun if nodeid not in others)
        return (
            f"llmeval: {_name(pulse)} has not been heard of for {self._patience.silent} s{at}: it "
            "is stopped, or in code that does not let go of Python's lock. It is ended after "
            f"{self._patience.end} s; Ctrl-C ends the run"
        )


def _words_of_length(pulse: Pulse) -> str:
    return (
        f"llmeval: worker {pulse.worker} has been at {pulse.nodeid} for {pulse.seconds:.0f} s, "
        "waiting for no model: its test or scorer does not return. pytest-timeout limits tests; "
        "Ctrl-C ends the run"
    )


def _name(pulse: Pulse) -> str:
    return f"worker {pulse.worker} (pid {pulse.process.pid})"
