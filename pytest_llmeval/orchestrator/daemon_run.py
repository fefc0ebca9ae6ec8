"""The daemon itself: one process for a home, which owns all its servers, from start to end.

Whatever ends it ends them: their guards see to that. What it was to keep up is in the state, so the
next daemon brings it up again.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval.errors import DaemonError, LlmevalError
from pytest_llmeval.orchestrator import daemon
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.rows import THE_DAEMON, Outcome
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.orchestrator.supervisor import Supervisor
from pytest_llmeval.redaction import shown_error
from pytest_llmeval.servers.detached import survive_terminal
from pytest_llmeval.servers.identity import Identity, identity_of
from pytest_llmeval.servers.server import GRACE_SECONDS
from pytest_llmeval.visible import visible

POLL_SECONDS = 0.05
"""How often to look for requests, which costs some ten microseconds."""

QUIT_SECONDS = 10.0
"""What all servers together get to end; those that do not are killed."""

LOCK_SECONDS = 1.0
"""What a daemon that is just leaving gets to let go of the lock."""

LOG_BYTES = 2 * 2**20
LOG_COUNT = 3

log = logging.getLogger("llama-orch")


def main(root: str) -> int:
    """Be the daemon of the home at `root`, in the background; the exit status."""
    multiprocessing.freeze_support()
    try:
        run(Home(Path(root)), os.environ, in_background=True)
    except LlmevalError as error:
        sys.stderr.write(f"llama-orch: {shown_error(error, os.environ)}\n")
        return 1
    return 0


def run(home: Home, environ: Mapping[str, str], *, in_background: bool) -> None:
    """Be the daemon of this home until somebody ends it; back when all its servers are gone.

    Raises DaemonError when there is one already, or none can live here.
    """
    end = threading.Event()
    with _locked(home), _logging(home, to_terminal=not in_background):
        survive_terminal()
        _on_signals(end.set)
        state = State.open(home.state)
        try:
            with _known(home, state) as identity:
                _serve(home, state, identity, environ, end)
        finally:
            state.close()


def _serve(
    home: Home,
    state: State,
    identity: Identity,
    environ: Mapping[str, str],
    end: threading.Event,
) -> None:
    log.info("the daemon of %s starts, pid %d", home.root, identity.pid)
    for note in state.notes:
        log.warning(note)
    supervisor = Supervisor(home, state, environ=environ, clock=steady_clock(), draw=random.random)
    supervisor.begin()
    state.set_daemon(identity)
    state.note_event("daemon", f"the daemon has started, pid {identity.pid}")
    while not (end.wait(POLL_SECONDS) or supervisor.dismissed):
        try:
            if supervisor.hear() and state.daemon() != identity:
                state.set_daemon(identity)
                supervisor.tell_all()
        except LlmevalError as error:  # of the state: it may be readable again in a moment
            log.warning("requests cannot be read: %s", error)
            end.wait(1.0)
    log.info("the daemon ends")
    if not supervisor.quit(GRACE_SECONDS, QUIT_SECONDS):
        log.error("some servers did not end within %.0f s; they are killed", QUIT_SECONDS)
    state.note_event("daemon", "the daemon has ended")
    state.set_daemon(None)


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 as of now, which go on steadily even when the system's clock is set."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


@contextlib.contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Hold the lock of the home's one daemon."""
    try:
        home.logs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home.daemon_lock, timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise DaemonError(_held(home)) from error
    except OSError as error:
        raise DaemonError(daemon.not_usable(home, error)) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _known(home: Home, state: State) -> Iterator[Identity]:
    """Say who the daemon is; from then on it may be asked to end.

    What was asked of the one before it is over first: who asks from then on means this one.
    """
    identity = identity_of(os.getpid())
    assert identity is not None, "we run"
    for request in state.requests_after(0):
        if request.name == THE_DAEMON:
            state.finish(request.number, Outcome())
    daemon.write_owner(home, identity)
    try:
        yield identity
    finally:
        with contextlib.suppress(OSError):  # Windows, while somebody reads it: we are gone anyway
            daemon.owner_path(home).unlink()


def _held(home: Home) -> str:
    owner = daemon.running(home)
    who = f" (pid {owner.pid})" if owner is not None else ""
    return (
        f"there is a daemon of {home.root} already{who}. `llama-orch daemon status` tells more; "
        "`llama-orch daemon stop` ends it"
    )


class _Visibly(logging.Formatter):
    """Spells out what servers say: people read it in a terminal, now or later."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


@contextlib.contextmanager
def _logging(home: Home, *, to_terminal: bool) -> Iterator[None]:
    """Write the daemon's log, and to the terminal as well where somebody looks at it."""
    handlers: list[logging.Handler] = [
        RotatingFileHandler(
            daemon.log_path(home), maxBytes=LOG_BYTES, backupCount=LOG_COUNT, encoding="utf-8"
        )
    ]
    if to_terminal:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(_Visibly("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    except LlmevalError as error:
        log.warning("the daemon ends: %s", error)
        raise
    except Exception:
        log.exception("the daemon ends by a mistake of its own")
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _on_signals(end: Callable[[], None]) -> None:
    """End well when asked to: by Ctrl-C, by whoever stops services, by a console that closes."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda *_: end())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
