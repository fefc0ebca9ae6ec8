"""One process on its way to good health: on which port, how it is waited for, what may go wrong.

Whatever goes wrong is a ServerStartError that says what, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_llmeval.errors import EngineError, ServerStartError, WrongDeviceError
from pytest_llmeval.servers import ports
from pytest_llmeval.servers.device_log import await_use
from pytest_llmeval.servers.device_use import find_device_fault
from pytest_llmeval.servers.health import Fetch, Health, Progress, Waited, wait_until_healthy
from pytest_llmeval.servers.kinds import KindOfServer
from pytest_llmeval.servers.logs import read_tail
from pytest_llmeval.servers.process import ServerProcess
from pytest_llmeval.servers.spec import ServerSpec
from pytest_llmeval.servers.trees import Usage

TAIL_LINES = 8
"""How many of a server's last lines are told with an error."""

Report = Callable[[float, str], None]
"""Told once a second how long a server has been starting, and the last line of its log."""


class PortLostError(Exception):
    """Somebody else took the free port before the server did."""


def choose_port(spec: ServerSpec, last: int | None) -> int:
    """The spec's port; else the `last` one, so that the address stays; else a free one.

    Raises ServerStartError; PortLostError where the last one is taken, and it is no accident.
    """
    wished = spec.port or last
    try:
        if wished is not None and ports.is_free(spec.host, wished):
            return wished
        if spec.port is None:
            return ports.free_port(spec.host)
    except OSError as error:
        raise start_error(
            spec,
            f"nobody can listen at host {spec.host!r} ({error.strerror or error}): name an address "
            "of this machine, such as 127.0.0.1",
        ) from error
    raise port_taken(spec, spec.port)


def port_taken(spec: ServerSpec, port: int) -> Exception:
    """What to raise when somebody else has the port: with a named one, that is the end."""
    if spec.port is None:
        return PortLostError()
    holder = ports.describe_listener(port)
    return start_error(
        spec,
        f"port {port} is in use{f' by {holder}' if holder else ''}; "
        "name another `port`, or none to have a free one chosen",
    )


def start_error(spec: ServerSpec, text: str, *, log: bool = False) -> ServerStartError:
    """An error of this server, with the last lines of its log if they may say more."""
    tail = read_tail(spec.log_path, TAIL_LINES) if log else ()
    return ServerStartError(f"{spec.name}: {text}", log_tail=tail)


def url_of(spec: ServerSpec, port: int) -> str:
    """Where a server is asked that listens on a port."""
    return f"http://{ports.reachable(spec.host)}:{port}"


def progress_of(spec: ServerSpec, process: ServerProcess | None) -> Progress:
    """Signs of life of a process and all that it started; costs a walk over all processes."""
    usage = Usage(0.0, 0) if process is None else process.usage()
    try:
        log_size = spec.log_path.stat().st_size
    except OSError:
        log_size = 0
    return Progress(log_size, "".join(read_tail(spec.log_path, 1)), usage.cpu_seconds, usage.memory)


@dataclass(frozen=True, slots=True)
class Startup:
    """A process that has been started for a spec on a port; `stopped` says to give up on it."""

    spec: ServerSpec
    kind: KindOfServer
    fetch: Fetch
    process: ServerProcess
    port: int
    stopped: Callable[[], bool]

    @property
    def url(self) -> str:
        """Where it is asked."""
        return url_of(self.spec, self.port)

    def await_health(
        self, clock: Callable[[], float], sleep: Callable[[float], None], report: Report
    ) -> None:
        """Wait until it is healthy. Raises ServerStartError or PortLostError."""
        waited = wait_until_healthy(
            lambda: self.kind.check_health(self.fetch, self.url),
            alive=lambda: self.process.alive() and not self.stopped(),
            progress=lambda: progress_of(self.spec, self.process),
            patience=self.spec.start_timeout,
            clock=clock,
            sleep=sleep,
            report=report,
        )
        if waited.end == "died":
            raise self._death()
        if waited.end == "stalled":
            raise self._stall(waited)

    def verify(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> str | None:
        """Make sure that it is our server that answers, and has what the spec asks for.

        Gives the devices that it computes on, in words; None for the CPU, or if it does not say.
        Raises ServerStartError or PortLostError.
        """
        if ports.listener(self.port) not in {None, *self.process.pids()}:
            raise port_taken(self.spec, self.port)
        try:
            fault = self.kind.find_fault(self.fetch, self.url)
        except (EngineError, OSError, ValueError) as error:
            raise self._error(f"the server does not say what it has: {error}", log=True) from error
        if fault is not None:
            raise self._error(fault)
        use = await_use(self.spec, clock, sleep)
        fault = find_device_fault(use, self.spec)
        if fault is not None:
            raise WrongDeviceError(f"{self.spec.name}: {fault}")
        return use.in_words

    def _death(self) -> Exception:
        if self.stopped():
            return self._error("it was stopped while it started")
        if not ports.is_free(self.spec.host, self.port):
            return port_taken(self.spec, self.port)
        ended = self.process.exit_description
        return self._error(f"the server ended while it started: {ended}", log=True)

    def _stall(self, waited: Waited) -> Exception:
        return self._error(
            f"the server is not healthy after {waited.seconds:.0f} s ({_said(waited.health)}), and "
            f"in the last {self.spec.start_timeout:.0f} s it used no CPU, took no memory and "
            "logged nothing; `start_timeout` says how long that may last",
            log=True,
        )

    def _error(self, text: str, *, log: bool = False) -> ServerStartError:
        return start_error(self.spec, text, log=log)


def _said(health: Health) -> str:
    return health.detail or health.state
