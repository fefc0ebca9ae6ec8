"""One model server from start to end: the door of this room."""

from __future__ import annotations

import contextlib
import os
import random as random_module
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from pytest_llmeval.errors import ServerLostError, ServerStartError
from pytest_llmeval.servers.health import Fetch, Health, Post, Progress
from pytest_llmeval.servers.kinds import kind_of
from pytest_llmeval.servers.logs import read_tail, start_section
from pytest_llmeval.servers.process import (
    SLICE_SECONDS,
    GuardedProcess,
    ProcessStartError,
    ServerProcess,
)
from pytest_llmeval.servers.restart import GivenUp, RestartHistory, after_answer, after_death
from pytest_llmeval.servers.spec import ServerSpec
from pytest_llmeval.servers.startup import (
    TAIL_LINES,
    PortLostError,
    Report,
    Startup,
    choose_port,
    progress_of,
    start_error,
    url_of,
)

GRACE_SECONDS = 5.0
"""What a server gets to end by itself."""

PORT_ATTEMPTS = 3
"""How often a free port may be lost to somebody else before it is no accident any more."""


class Server:
    """One server process, started, watched and ended by us, and never longer alive than we are.

    `start` and `restart` block until the server is healthy; call them off the event loop. `stop`
    may be called from any thread at any time, is for good, and makes a blocked start give up.
    `environ` is what the server inherits; `clock`, `sleep` and `random` are the outside world.
    `post` is needed where adapters have scales of their own.
    """

    def __init__(
        self,
        spec: ServerSpec,
        fetch: Fetch,
        *,
        post: Post | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
        report: Report = lambda _seconds, _line: None,
    ) -> None:
        self.spec = spec
        self.restarts = 0
        self._fetch = fetch
        self._environ = environ
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._report = report
        self._kind = kind_of(spec, post)
        self._port: int | None = None
        self._process: ServerProcess | None = None
        self._devices: str | None = None
        self._generation = 0  # how many starts ended well
        self._history = RestartHistory()
        self._lost: ServerLostError | None = None
        self._stopped = threading.Event()
        self._one_start = threading.RLock()  # held while a start or restart is under way
        self._hand_over = threading.RLock()  # held to exchange the process against stop()

    # What it is ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it answers. It may change with a restart if no port was named."""
        assert self._port is not None, "start it first"
        return url_of(self.spec, self._port)

    @property
    def pid(self) -> int | None:
        """The process id of the server, the last one's if it is gone; None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def guard_pid(self) -> int | None:
        """The process id of its guard, likewise."""
        return None if self._process is None else self._process.guard_pid

    @property
    def exit_description(self) -> str | None:
        """What ended it, in words; None while it lives and before it is started."""
        return None if self._process is None else self._process.exit_description

    @property
    def devices(self) -> str | None:
        """The devices that it computes on, by its log; None for the CPU, and if it does not say."""
        return self._devices

    def alive(self) -> bool:
        """Whether its process exists."""
        return self._process is not None and self._process.alive()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of its process; whether it ended in time."""
        return self._process is None or self._process.wait(timeout)

    def cpu_seconds(self) -> float:
        """What its process alone has computed so far; cheap enough to be asked every second."""
        return 0.0 if self._process is None else self._process.cpu_seconds()

    def progress(self) -> Progress:
        """Signs of life of its process and all that it started; costs a walk over all processes."""
        return progress_of(self.spec, self._process)

    def check_health(self) -> Health:
        """Ask it for its health once, as long as `fetch` has patience."""
        return self._kind.check_health(self._fetch, self.url)

    def log_tail(self, count: int = TAIL_LINES) -> tuple[str, ...]:
        """The last lines that the server wrote since its last start, fit for a terminal."""
        return read_tail(self.spec.log_path, count)

    # What it does ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it is healthy and has what the spec asks for.

        Raises ModelFileError, MissingExtraError or ServerStartError; then nothing is left running.
        """
        with self._one_start:
            self._bring_up()

    def restart(self) -> None:
        """End what is left of it, wait as the policy says, and start it again.

        It does so even if the process lives: the caller knows that it hangs, or has asked `alive`.
        Starts that fail count as restarts. When several threads ask at once, one does it for all.
        Raises ServerLostError once the policy allows no more, and ever after.
        """
        seen = self._generation
        with self._one_start:
            if self._generation != seen:
                return
            if self._lost is not None:
                raise ServerLostError(self._lost.message, log_tail=self._lost.log_tail)
            self._note_health()  # nobody asked meanwhile: it was well until now
            reason = self._end_process()
            while True:
                self._wait_for_restart(reason)
                try:
                    self._bring_up()
                except ServerStartError as error:
                    if self._stopped.is_set():
                        raise
                    reason = error.message
                else:
                    return

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """End it for good; back when the process is gone. Harmless when called again."""
        with self._hand_over:
            self._stopped.set()
            process = self._process
        if process is not None:
            process.stop(grace)
        with self._one_start:  # a start that is under way notices, and leaves nothing behind
            pass

    # How it does it --------------------------------------------------------------------------

    def _bring_up(self) -> None:
        self._give_up_if_stopped()
        program = self._kind.find_program(self._environ)
        for attempt in range(PORT_ATTEMPTS):
            with contextlib.suppress(PortLostError):
                last = self._port if attempt == 0 else None
                return self._launch(choose_port(self.spec, last), program)
        raise start_error(
            self.spec,
            f"each of {PORT_ATTEMPTS} free ports was taken by somebody else before the server "
            "could have it; name a `port` of your own",
        )

    def _launch(self, port: int, program: tuple[str, ...]) -> None:
        """Start one process on one port and see it healthy; or leave none behind and raise."""
        self._port = port
        try:
            process = self._run(
                self._kind.command(port, program), self._kind.environment(port, self._environ)
            )
        except (ProcessStartError, OSError) as error:
            raise start_error(self.spec, f"the server could not be started: {error}") from error
        self._see_healthy(process)

    def _run(self, command: Sequence[str], environ: Mapping[str, str]) -> ServerProcess:
        for path in self.spec.log_paths:
            start_section(path, self.spec.name)
        return GuardedProcess.start(
            command, self.spec.log_path, environ=environ, output=self.spec.output
        )

    def _see_healthy(self, process: ServerProcess) -> None:
        with self._hand_over:
            self._process = process
        try:
            startup = self._startup(process)
            startup.await_health(self._clock, self._sleep, self._report)
            self._devices = startup.verify(self._clock, self._sleep)
        except BaseException as error:
            self._discard(process, error)
            raise
        self._note_health()
        self._generation += 1

    def _startup(self, process: ServerProcess) -> Startup:
        assert self._port is not None
        return Startup(
            self.spec, self._kind, self._fetch, process, self._port, self._stopped.is_set
        )

    def _discard(self, process: ServerProcess, error: BaseException) -> None:
        """End a process that did not become what was asked for."""
        del error  # whatever it is: this process is nobody's but ours
        process.stop(0)

    def _note_health(self) -> None:
        policy = self.spec.restart
        self._history = after_answer(self._history, policy, self._clock(), ready=True)

    def _end_process(self) -> str:
        """End what is left of the process; what was the matter with it, in words."""
        description = self.exit_description
        if self._process is not None:
            self._process.stop(GRACE_SECONDS)
        return f"the server ended: {description}" if description else "the server hung"

    def _wait_for_restart(self, reason: str) -> None:
        """Wait as long as the policy says, or raise because it says no."""
        decision = after_death(self._history, self.spec.restart, self._clock(), self._random())
        self._history = decision.history
        if isinstance(decision, GivenUp):
            self._lost = ServerLostError(
                f"{self.spec.name}: {decision.why}; the last time {reason}",
                log_tail=self.log_tail(),
            )
            raise self._lost
        self.restarts += 1
        self._pause(decision.delay)

    def _pause(self, seconds: float) -> None:
        deadline = self._clock() + seconds
        while (left := deadline - self._clock()) > 0:
            self._give_up_if_stopped()
            self._sleep(min(left, SLICE_SECONDS))

    def _give_up_if_stopped(self) -> None:
        if self._stopped.is_set():
            text = "it was stopped, and a stopped server does not start again"
            raise start_error(self.spec, text)
