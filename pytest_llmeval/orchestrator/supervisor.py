"""All instances of a home, each with its keeper: what the daemon does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.orchestrator.autostart import read_autostart
from pytest_llmeval.orchestrator.configs import instance_names, require_instance
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.keep import Asked, Keep, Needed
from pytest_llmeval.orchestrator.keeper import Keeper
from pytest_llmeval.orchestrator.plans import InstancePlans
from pytest_llmeval.orchestrator.rows import THE_DAEMON, WANTED_BY, InstanceRow, Outcome, Request
from pytest_llmeval.orchestrator.state import Changes, State
from pytest_llmeval.servers.identity import Identity
from pytest_llmeval.servers.trees import kill_tree
from pytest_llmeval.servers.vitals import Vitals
from pytest_llmeval.servers.watching import Watched

ORPHAN_SECONDS = 2.0
"""What the processes of a killed daemon get to end by themselves, as their guards see to it."""

log = logging.getLogger("llama-orch")


class Supervisor:
    """Hands what is asked for to the keepers. One thread calls it; keepers have threads of theirs.

    `clock` and `draw` are as for `Keeper`.
    """

    def __init__(
        self,
        home: Home,
        state: State,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._home = home
        self._state = state
        self._environ = environ
        self._clock = clock
        self._draw = draw
        self._devices = KnownDevices(home.root)
        self._keepers: dict[str, Keeper] = {}
        self._changes: Changes | None = None
        self._heard = 0
        self._farewells: list[int] = []

    @property
    def dismissed(self) -> bool:
        """Whether somebody has asked for the end of the daemon."""
        return bool(self._farewells)

    def begin(self) -> None:
        """Take over from the last daemon: sweep what it left, and bring up what is wanted.

        Those to be started with the daemon come first, in their order.
        """
        rows = self._state.rows()
        self._sweep(rows)
        first = self._autostart()
        for row in rows:
            self._know(row, anew=row.name in first)
        asked = {each.name for each in self._state.requests_after(0) if each.wish in WANTED_BY}
        for name in dict.fromkeys([*first, *(row.name for row in rows if _is_needed(row))]):
            if name not in asked:  # else `hear` has it done, and somebody may wait for it
                self._keeper(name).hear(Needed())

    def hear(self) -> bool:
        """Hand over what has been asked for since the last time; whether anything has changed.

        It is cheap when nothing has.
        """
        changes = self._state.changes()
        if changes == self._changes:
            return False
        for request in self._state.requests_after(self._heard):
            self._hand_over(request)
            self._heard = request.number
        self._changes = changes
        return True

    def tell_all(self) -> None:
        """Write down all that is known: the database is a new one, since the last was damaged."""
        self._heard = 0
        self._changes = None
        for keeper in self._keepers.values():
            keeper.tell_all()

    def quit(self, grace: float, deadline: float) -> bool:
        """End all instances, each with `grace` seconds; whether all are gone within `deadline`."""
        until = time.monotonic() + deadline
        for keeper in self._keepers.values():
            keeper.quit(grace)
        gone = [keeper.wait(until - time.monotonic()) for keeper in self._keepers.values()]
        for number in self._farewells:
            self._state.finish(number, Outcome())
        return all(gone)

    def _hand_over(self, request: Request) -> None:
        if request.name == THE_DAEMON:
            self._farewells.append(request.number)
            return
        if request.wish in {"up", "restart"} and request.name not in self._keepers:
            try:
                require_instance(self._home, request.name)
            except LlmevalError as error:
                self._state.forget(request.name)
                self._state.finish(request.number, Outcome.of(error))
                return
        self._keeper(request.name).hear(Asked(request.number, request.wish))

    def _keeper(self, name: str, known: Keep | None = None, port: int | None = None) -> Keeper:
        if name not in self._keepers:
            self._keepers[name] = Keeper(
                name,
                InstancePlans(name, self._home, self._environ, self._devices),
                self._state,
                environ=self._environ,
                clock=self._clock,
                draw=self._draw,
                known=known,
                port=port,
            )
        return self._keepers[name]

    def _know(self, row: InstanceRow, *, anew: bool) -> None:
        """Have a keeper for an instance that there is a row of; what was given up stays so."""
        known = Keep(wanted=row.wanted)
        if row.health == "error" and not anew:
            vitals = Vitals("error", row.detail, row.since or self._clock())
            known = replace(known, phase="error", watched=Watched(vitals))
        self._keeper(row.name, known, row.port)

    def _autostart(self) -> tuple[str, ...]:
        """Which instances are brought up because the daemon starts, and why some are not."""
        try:
            names = read_autostart(self._home)
        except LlmevalError as error:
            self._tell(f"autostart is not obeyed: {error}")
            return ()
        there = set(instance_names(self._home))
        for name in names:
            if name in there:
                self._state.want(name, "up")
            else:
                self._tell(f"autostart names {name!r}, of which there is no config any more")
        return tuple(name for name in names if name in there)

    def _sweep(self, rows: tuple[InstanceRow, ...]) -> None:
        """See that no process of a killed daemon is left, before its port and memory are needed."""
        left = [each for row in rows for each in (row.guard, row.server) if each is not None]
        until = time.monotonic() + ORPHAN_SECONDS
        while left := [each for each in left if each.lives()]:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        for orphan in left:
            self._end_orphan(orphan)

    def _end_orphan(self, orphan: Identity) -> None:
        gone = kill_tree(orphan)
        verdict = "ended" if gone else "and cannot be ended"
        self._tell(f"process {orphan.pid} was left by an earlier daemon, {verdict}")

    def _tell(self, text: str) -> None:
        log.warning(text)
        self._state.note_event("daemon", text)


def _is_needed(row: InstanceRow) -> bool:
    return row.wanted == "up" and row.health != "error"
