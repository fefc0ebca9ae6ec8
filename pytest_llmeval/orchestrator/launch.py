"""One start of an instance's server, from its config to its end. It takes threads of its own.

What it meets it tells as data (`keep.py`), with the number of the start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pytest_llmeval.engines.fetch import fetch, post
from pytest_llmeval.errors import (
    InstanceConfigError,
    LlmevalError,
    MissingExtraError,
    ModelFileError,
    ServerStartError,
    UnknownInstanceError,
    WrongDeviceError,
)
from pytest_llmeval.orchestrator.keep import (
    CameUp,
    Died,
    Given,
    Gone,
    Happened,
    Loading,
    Looked,
    Policies,
    StartFailed,
)
from pytest_llmeval.orchestrator.rows import Outcome
from pytest_llmeval.servers.health import Progress
from pytest_llmeval.servers.metrics import (
    Metrics,
    Throughput,
    next_throughput,
    read_metrics,
    with_slots,
)
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec
from pytest_llmeval.servers.vitals import observed

GLANCE_SECONDS = 1.0
"""How often to glance at the CPU time of a server, which tells whether it has something to do."""

IDLE_SHARE = 0.02
"""The share of one CPU that a server uses which only waits: less than this is nothing to do."""

METRICS_SECONDS = 2.0
"""The patience with /metrics, which waits for the end of the batch that is computed."""

FINAL = (
    InstanceConfigError,
    UnknownInstanceError,
    ModelFileError,
    MissingExtraError,
    WrongDeviceError,
)
"""What does not go away by trying again: the user has to change something."""

log = logging.getLogger("llama-orch")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started, as the config says, and how it is kept; `notes` are for its events."""

    spec: ServerSpec
    policies: Policies
    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What a server has: its resident bytes, and how fast it generates."""

    start: int
    memory: int | None
    throughput: Throughput | None


class Launch:
    """One start. `plan` says what to start, or raises; `tell` is given all that happens."""

    def __init__(
        self,
        start: int,
        plan: Callable[[], Plan],
        tell: Callable[[Happened | Measured], None],
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self.start = start
        self.plan: Plan | None = None
        self.server: Server | None = None
        self._make_plan = plan
        self._tell = tell
        self._environ = environ
        self._clock = clock
        self._cancelled = False
        self._turn = threading.Lock()
        self._seen: tuple[float, Progress] | None = None
        self._throughput: Throughput | None = None
        self._thread = threading.Thread(target=self._run, name="launch", daemon=True)

    def begin(self) -> None:
        """Start; back at once."""
        self._thread.start()

    def end(self, grace: float) -> None:
        """Stop the server, or give the start up; back at once, Gone is told when it is done."""
        threading.Thread(target=self._end, args=(grace,), name="stop", daemon=True).start()

    def look(self, check: int) -> None:
        """Ask for health; back at once, Looked is told when there is an answer."""
        threading.Thread(target=self._look, args=(check,), name="health", daemon=True).start()

    def _run(self) -> None:
        try:
            self._bring_up()
        except LlmevalError as error:
            self._tell(StartFailed(self.start, Outcome.of(error), isinstance(error, FINAL)))
        except Exception as error:  # whatever it is, the instance must not stay "starting" for ever
            log.exception("a start failed in a way that nobody has thought of")
            text = f"the server could not be started: {type(error).__name__}: {error}"
            self._tell(StartFailed(self.start, Outcome(text, kind="ServerStartError"), final=True))
        else:
            self._tell(CameUp(self.start))
            self._attend()

    def _bring_up(self) -> None:
        plan = self._make_plan()
        self.plan = plan
        self._tell(Given(self.start, plan.policies))
        patience = plan.policies.health.timeout
        server = Server(
            plan.spec,
            lambda url, key: fetch(url, patience, key).answer(),
            post=lambda url, body: post(url, patience, body).answer(),
            environ=self._environ,
            report=self._report,
        )
        with self._turn:
            if self._cancelled:
                raise ServerStartError(f"{plan.spec.name}: it was stopped before it started")
            self.server = server
        server.start()

    def _report(self, seconds: float, line: str) -> None:
        words = f"starting for {seconds:.0f} s" + (f": {line}" if line else "")
        self._tell(Loading(self.start, words))

    def _end(self, grace: float) -> None:
        with self._turn:
            self._cancelled = True
            server = self.server
        if server is not None:
            server.stop(grace)
        self._thread.join()
        self._tell(Gone(self.start))

    # While it is up -------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Wait for the server's end; meanwhile see how fast it is whenever it computes."""
        server = self._running()
        _, memory = self._look_for_progress(server)
        self._tell(Measured(self.start, memory, None))
        self._measure()
        seen, at = server.cpu_seconds(), time.monotonic()
        while not server.wait(GLANCE_SECONDS):
            cpu, now = server.cpu_seconds(), time.monotonic()
            computes = cpu - seen > IDLE_SHARE * (now - at)
            seen, at = cpu, now
            if computes or not self._rests():
                self._measure()
        self._tell(Died(self.start, server.exit_description or "for an unknown reason"))

    def _rests(self) -> bool:
        """Whether it had nothing to do when it was measured last, and so has had nothing since."""
        with self._turn:
            if self._throughput is None:
                return True
            if self._throughput.idle:
                self._throughput = replace(self._throughput, at=self._clock())
            return self._throughput.idle

    def _measure(self) -> Metrics | None:
        """Take in what /metrics say, and tell it."""
        metrics = self._fetch_metrics()
        if metrics is None:
            return None
        with self._turn:
            throughput = next_throughput(self._throughput, metrics, self._clock())
            self._throughput = throughput
        self._tell(Measured(self.start, None, throughput))
        return metrics

    def _fetch_metrics(self) -> Metrics | None:
        server = self._running()
        answer = fetch(f"{server.url}/metrics", METRICS_SECONDS, server.spec.api_key)
        return None if answer.status is None else read_metrics(answer.status, answer.body)

    def _look(self, check: int) -> None:
        server = self._running()
        began = time.monotonic()
        health = server.check_health()
        seconds = time.monotonic() - began
        if health.ready:
            metrics = self._measure()
            health = with_slots(health, metrics.processing if metrics else 0, server.spec.slots)
        moved, memory = self._look_for_progress(server)
        self._tell(Measured(self.start, memory, self._throughput))
        self._tell(Looked(self.start, check, observed(health, seconds, cpu_moved=moved)))

    def _look_for_progress(self, server: Server) -> tuple[bool, int]:
        """Whether the server has done something since the last look, and its memory."""
        now, progress = time.monotonic(), server.progress()
        before, self._seen = self._seen, (now, progress)
        moved = before is not None and progress.moved_since(before[1], now - before[0])
        return moved, progress.memory

    def _running(self) -> Server:
        assert self.server is not None, "looked at only while it is up"
        return self.server
