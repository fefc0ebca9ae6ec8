"""The keeper of one instance: a thread that hears what happens, decides, and has it done.

What to do is decided by `keeping.py`; what takes time is done by a `Launch`, in threads of its own.
So the keeper itself never waits for anything but news, and for the time that it decided on.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.orchestrator.keep import (
    Asked,
    Deed,
    Finish,
    Given,
    Happened,
    Keep,
    Look,
    Looked,
    Needed,
    Quit,
    Restarting,
    Start,
    Stop,
    Tell,
    Tick,
    Want,
)
from pytest_llmeval.orchestrator.keeping import decide, due
from pytest_llmeval.orchestrator.launch import Launch, Measured, Plan
from pytest_llmeval.orchestrator.notebook import RETRY_SECONDS, Notebook
from pytest_llmeval.orchestrator.rows import InstanceRow, Outcome
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.servers.identity import Identity, identity_of
from pytest_llmeval.servers.server import GRACE_SECONDS

HANGING_GRACE = 1.0
"""What a server that hangs gets to end by itself: it will hardly do so."""

log = logging.getLogger("llama-orch")


class Planner(Protocol):
    """Says what is to be started for one instance (`plans.py`)."""

    def check(self) -> None:
        """Read the config as it is now; raises what is wrong with it."""
        ...

    def plan(self, *, anew: bool, port: int | None) -> Plan:
        """What to start, by the config as it is now (`anew`) or as it was read last.

        `port` is one to have again where the config leaves it open. Raises what stands in the way.
        """
        ...

    def drift(self) -> str | None:
        """What has become of the config since its server was started, in words; None if nothing.

        Told once for each change.
        """
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the server that runs, or starts."""

    server: Identity | None = None
    guard: Identity | None = None
    port: int | None = None
    url: str | None = None
    memory: int | None = None
    tokens_per_second: float | None = None


class Keeper:
    """One instance, kept as it is wanted. Any thread may tell it something.

    `clock` gives seconds since 1970 and is never set; `draw` is uniform in [0, 1). `known` is what
    is known of it from an earlier daemon, and `port` where it was then.
    """

    def __init__(
        self,
        name: str,
        planner: Planner,
        state: State,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        draw: Callable[[], float],
        known: Keep | None = None,
        port: int | None = None,
    ) -> None:
        self.name = name
        self._planner = planner
        self._environ = environ
        self._clock = clock
        self._draw = draw
        self._keep = known or Keep()
        self._facts = Facts()
        self._launch: Launch | None = None
        self._port = port
        self._grace = GRACE_SECONDS
        self._news: queue.SimpleQueue[Happened | Measured] = queue.SimpleQueue()
        self._notebook = Notebook(name, state, clock)
        self._quitting = False
        self._thread = threading.Thread(target=self._run, name=f"keeper {name}", daemon=True)
        self._thread.start()

    def hear(self, happened: Asked | Needed) -> None:
        """Take in what somebody asks for, or what is needed; back at once."""
        self._news.put(happened)

    def tell_all(self) -> None:
        """Write down what is known of it although nothing has changed; back at once."""
        self._notebook.begin_anew()
        self._news.put(Tick())

    def quit(self, grace: float) -> None:
        """End the server, give it `grace` seconds for it, and then this thread; back at once."""
        self._grace = grace
        self._news.put(Quit())

    def wait(self, timeout: float) -> bool:
        """Wait for the end after `quit`; whether it came in time."""
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    # The thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        self._notebook.write(self._make_row())
        while not (self._quitting and self._keep.phase == "down" and not self._notebook.behind):
            happened = self._next()
            try:
                self._take(happened)
                self._notebook.write(self._make_row())
            except Exception:  # a mistake of ours must not leave an instance without its keeper
                log.exception("%s: what happened could not be dealt with: %r", self.name, happened)

    def _next(self) -> Happened | Measured:
        """The next that happens, or Tick when something is due."""
        times = [time for time in (due(self._keep),) if time is not None]
        if self._notebook.behind:
            times.append(self._clock() + RETRY_SECONDS)
        try:
            if not times:
                return self._news.get()
            return self._news.get(timeout=max(0.0, min(times) - self._clock()))
        except queue.Empty:
            return Tick()

    def _take(self, happened: Happened | Measured) -> None:
        """Decide what follows and have it done; what is to be said of it is noted."""
        if isinstance(happened, Measured):
            return self._note_measures(happened)
        if isinstance(happened, Quit):
            self._quitting = True
        if isinstance(happened, Asked) and self._refuses(happened):
            return None
        before, now = self._keep, self._clock()
        self._keep, deeds = decide(before, happened, now=now, draw=self._draw())
        if isinstance(happened, Given) and self._launch is not None and self._launch.plan:
            for note in self._launch.plan.notes:
                self._notebook.tell("start", note)
        self._learn()
        asked = isinstance(happened, Looked) and bool(before.looking)
        if asked or self._keep.vitals.health != before.vitals.health:
            seconds = happened.found.seconds if isinstance(happened, Looked) else None
            self._notebook.note_health(self._keep.vitals, seconds)
        for deed in deeds:
            self._do(deed)
        return None

    def _refuses(self, asked: Asked) -> bool:
        """Leave a running server alone when what it is to be restarted as cannot even be read."""
        if asked.wish != "restart" or self._keep.phase not in {"running", "starting"}:
            return False
        try:
            self._planner.check()
        except LlmevalError as error:
            self._notebook.tell("refused", f"not restarted: {error}")
            self._notebook.finish((asked.number,), Outcome.of(error))
            return True
        return False

    # What is done ---------------------------------------------------------------------------------

    def _do(self, deed: Deed) -> None:
        match deed:
            case Start():
                self._start(deed)
            case Stop():
                hangs = self._keep.then in {"wait", "error"}
                self._launched().end(HANGING_GRACE if hangs else self._grace)
            case Look():
                self._launched().look(deed.check)
                drift = self._planner.drift()
                if drift is not None:
                    self._notebook.tell("config", drift)
            case Finish():
                self._notebook.finish(deed.numbers, deed.outcome)
            case Restarting():
                self._notebook.note_restart(deed)
            case Want():
                self._notebook.want(deed.wanted)
            case Tell():
                self._notebook.tell(deed.kind, deed.text)

    def _start(self, deed: Start) -> None:
        port = self._port
        self._launch = Launch(
            deed.start,
            lambda: self._planner.plan(anew=deed.anew, port=port),
            self._news.put,
            environ=self._environ,
            clock=self._clock,
        )
        self._launch.begin()

    def _launched(self) -> Launch:
        assert self._launch is not None, "only what was started is stopped and looked at"
        return self._launch

    # What is known --------------------------------------------------------------------------------

    def _learn(self) -> None:
        """See which process it is by now, and that there is none any more."""
        server = None if self._launch is None else self._launch.server
        if self._keep.phase not in {"starting", "running", "stopping"} or server is None:
            self._facts = Facts()
            return
        pid, guard_pid = server.pid, server.guard_pid
        known = self._facts.server
        if pid is None or guard_pid is None or (known is not None and known.pid == pid):
            return
        self._port = int(server.url.rpartition(":")[2])
        self._facts = Facts(
            server=identity_of(pid), guard=identity_of(guard_pid), port=self._port, url=server.url
        )

    def _note_measures(self, measured: Measured) -> None:
        if measured.start != self._keep.start or self._keep.phase != "running":
            return
        rate = measured.throughput.rate if measured.throughput else None
        memory = self._facts.memory if measured.memory is None else measured.memory
        self._facts = replace(self._facts, memory=memory, tokens_per_second=rate)

    def _make_row(self) -> InstanceRow:
        keep, facts = self._keep, self._facts
        plan = None if self._launch is None else self._launch.plan
        server = None if self._launch is None else self._launch.server
        lives = keep.phase in {"starting", "running", "stopping"}
        return InstanceRow(
            name=self.name,
            wanted=keep.wanted,
            health=keep.vitals.health,
            detail=keep.vitals.detail,
            since=keep.vitals.since or None,
            server=facts.server,
            guard=facts.guard,
            port=self._port if facts.port is None else facts.port,  # to have it again
            url=facts.url,
            device=server.devices if server is not None and lives else None,
            started_at=keep.vitals.started_at,
            restarts=keep.restarts,
            retry_at=keep.retry_at if keep.phase == "waiting" else None,
            memory=facts.memory,
            tokens_per_second=facts.tokens_per_second,
            fingerprint=plan.fingerprint if plan is not None and lives else None,
            log_folder=str(plan.spec.log_path.parent) if plan is not None else None,
        )
