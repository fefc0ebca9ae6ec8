"""What a keeper writes down of its instance: in order, and later what cannot be written now."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from pytest_llmeval.errors import StateError
from pytest_llmeval.orchestrator.keep import Restarting
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.orchestrator.views import HealthEntry, RestartEntry, Wanted
from pytest_llmeval.servers.vitals import Vitals

RETRY_SECONDS = 1.0
"""How long to wait before the state is written to again, after it could not be."""

log = logging.getLogger("llama-orch")


class Notebook:
    """The way of one instance into the state. All but `begin_anew` is for its keeper's thread.

    What is noted is written by `write`, after the row that was known by then: who hears of an
    outcome finds the row as it is.
    """

    def __init__(self, name: str, state: State, clock: Callable[[], float]) -> None:
        self.behind = False  # whether something could not be written, and is to be tried again
        self._name = name
        self._state = state
        self._clock = clock
        self._unwritten: deque[Callable[[], None]] = deque()
        self._written: InstanceRow | None = None

    def begin_anew(self) -> None:
        """Forget what was written: the database is another one."""
        self._written = None

    def finish(self, numbers: tuple[int, ...], outcome: Outcome) -> None:
        """Tell those who asked how it ended."""
        for number in numbers:
            self._note(partial(self._state.finish, number, outcome))

    def want(self, wanted: Wanted) -> None:
        """Note what is wanted, where nobody has asked for it."""
        self._note(partial(self._state.want, self._name, wanted))

    def note_health(self, vitals: Vitals, seconds: float | None) -> None:
        """Add to the history of health; `seconds` is what an answer took."""
        entry = HealthEntry(self._clock(), vitals.health, vitals.detail, seconds)
        self._note(partial(self._state.note_health, self._name, entry))

    def note_restart(self, restarting: Restarting) -> None:
        """Add to the history of restarts."""
        number, delay, reason = restarting.number, restarting.delay, restarting.reason
        entry = RestartEntry(self._clock(), number, delay, reason)
        self._note(partial(self._state.note_restart, self._name, entry))
        self.tell("restart", f"restart {number} in {delay:.1f} s, because {reason}")

    def tell(self, kind: str, text: str) -> None:
        """Add to what has happened, and to the daemon's log."""
        log.info("%s: %s", self._name, text)
        self._note(partial(self._state.note_event, kind, text, name=self._name))

    def write(self, row: InstanceRow) -> None:
        """Write what is known to the state, and then all that was noted.

        What cannot be written now (a full disk, a lock that lasts) is written later.
        """
        try:
            if row != self._written:
                self._state.put(row)
                self._written = row
            while self._unwritten:
                self._unwritten[0]()
                self._unwritten.popleft()
            self.behind = False
        except StateError as error:
            self.behind = True
            log.warning("%s: not written down yet: %s", self._name, error)

    def _note(self, write: Callable[[], None]) -> None:
        self._unwritten.append(write)
