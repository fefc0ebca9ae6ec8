"""The daemon of a home, seen from outside: is there one, have one, end it.

It holds the lock `daemon.lock` as long as it lives, and says who it is in `daemon.json` beside it:
a file that is locked cannot be read on Windows. What it does is in `daemon_run.py`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval.atomic import write_json
from pytest_llmeval.errors import DaemonError, StateError
from pytest_llmeval.orchestrator.home import VARIABLE, Home
from pytest_llmeval.orchestrator.rows import THE_DAEMON
from pytest_llmeval.orchestrator.state import State
from pytest_llmeval.servers.detached import start_detached
from pytest_llmeval.servers.identity import Identity
from pytest_llmeval.servers.trees import kill_tree

START_SECONDS = 30.0
"""What a daemon gets to answer: it imports for a second, and sweeps what the last one left."""

STOP_SECONDS = 15.0
"""What a daemon gets to end its servers and itself, before it is killed and they with it."""

RUN = "pytest_llmeval.orchestrator.daemon_run"
"""The module that is the daemon when it runs in the background."""

LOOK_SECONDS = 0.02
"""How often to look whether it is there, or gone."""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The daemon at a moment; `up` are the instances that run, of those that are `wanted`."""

    home: Path
    log: Path
    pid: int | None
    started_at: float | None
    answers: bool
    wanted: tuple[str, ...]
    up: tuple[str, ...]


def status(home: Home) -> DaemonStatus:
    """Whether it runs, and what it keeps."""
    identity = running(home)
    wanted: list[str] = []
    up: list[str] = []
    if identity is not None:
        with contextlib.closing(State.open(home.state)) as state:
            rows = state.rows()
        wanted = [row.name for row in rows if row.wanted == "up"]
        up = [row.name for row in rows if row.health in {"healthy", "busy"}]
    return DaemonStatus(
        home=home.root,
        log=log_path(home),
        pid=None if identity is None else identity.pid,
        started_at=None if identity is None else identity.create_time,
        answers=answering(home) is not None,
        wanted=tuple(wanted),
        up=tuple(up),
    )


def running(home: Home) -> Identity | None:
    """Who is the daemon of this home; None if there is none. It may not answer yet."""
    identity = _read_owner(home)
    return identity if identity is not None and identity.lives() else None


def answering(home: Home) -> Identity | None:
    """The daemon, if it takes requests."""
    identity = running(home)
    if identity is None:
        return None
    with contextlib.closing(State.open(home.state)) as state:
        return identity if state.daemon() == identity else None


def ensure_running(home: Home, environ: Mapping[str, str]) -> Identity:
    """Have a daemon that answers, by starting one if there is none; who it is.

    However many ask at once, one is started. Raises DaemonError when it does not come up.
    """
    daemon = answering(home)
    if daemon is not None:
        return daemon
    _prepare(home)
    try:
        with FileLock(home.root / "daemon.start.lock", timeout=START_SECONDS):
            return _have(home, environ)
    except Timeout as error:
        raise DaemonError(
            f"the daemon of {home.root} is being started by another process, and after "
            f"{START_SECONDS:.0f} s it does not answer; see {log_path(home)}"
        ) from error
    except OSError as error:
        raise DaemonError(not_usable(home, error)) from error


def stop(home: Home, seconds: float = STOP_SECONDS) -> Identity | None:
    """Have the daemon end all its servers and itself; killed after `seconds`, with all of them.

    Who it was, None if there was none. Raises DaemonError when it cannot be ended.
    """
    daemon = running(home)
    if daemon is None:
        return None
    # Damaged, locked, or its disk is full: then the daemon hears nothing, and is killed.
    with contextlib.suppress(StateError), contextlib.closing(State.open(home.state)) as state:
        state.ask(THE_DAEMON, "down")
    deadline = time.monotonic() + seconds
    while daemon.lives() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    if daemon.lives():
        _want_none(home)  # as it would have said itself
    if not kill_tree(daemon):
        raise DaemonError(
            f"the daemon (pid {daemon.pid}) did not end within {seconds:.0f} s and cannot be "
            "killed: it may belong to another user, or hang in a driver"
        )
    return daemon


def _want_none(home: Home) -> None:
    """Leave nothing wanted that the next daemon would bring up."""
    with contextlib.suppress(StateError), contextlib.closing(State.open(home.state)) as state:
        for row in state.rows():
            state.want(row.name, "down")


def log_path(home: Home) -> Path:
    """The daemon's log."""
    return home.logs / "daemon.log"


def owner_path(home: Home) -> Path:
    """Where the daemon says who it is."""
    return home.daemon_lock.with_suffix(".json")


def write_owner(home: Home, identity: Identity) -> None:
    """Say who the daemon is."""
    write_json(owner_path(home), identity)


def _read_owner(home: Home) -> Identity | None:
    try:
        said = json.loads(owner_path(home).read_text(encoding="utf-8"))
        return Identity(int(said["pid"]), float(said["create_time"]), str(said["mark"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _have(home: Home, environ: Mapping[str, str]) -> Identity:
    """Wait until it answers; start one where there is none, or the last one is just leaving."""
    started: Identity | None = None
    tried = False
    deadline = time.monotonic() + START_SECONDS
    while (daemon := answering(home)) is None:
        if running(home) is None and (started is None or not started.lives()):
            if tried:
                raise DaemonError(f"the daemon ended as it started{_last_words(home)}")
            with contextlib.suppress(PermissionError):  # of Windows, where the last one has it open
                _output(home).write_bytes(b"")
            environ = {**environ, VARIABLE: str(home.root), "PYTHONUTF8": "1"}
            tried = True
            started = start_detached(
                [sys.executable, "-m", RUN, str(home.root)], _output(home), environ=environ
            )
        if time.monotonic() > deadline:
            raise DaemonError(
                f"the daemon does not answer after {START_SECONDS:.0f} s{_last_words(home)}"
            )
        time.sleep(LOOK_SECONDS)
    return daemon


def _output(home: Home) -> Path:
    """Where what a daemon prints goes: the interpreter's last words, nothing else.

    Not into its log, which it renames when that has grown: on Windows nobody may have it open.
    """
    return home.logs / "daemon.out.log"


def _prepare(home: Home) -> None:
    """Make sure that a daemon could live here."""
    try:
        home.logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DaemonError(not_usable(home, error)) from error


def not_usable(home: Home, error: OSError) -> str:
    """Why no daemon can live in this home."""
    return (
        f"no daemon can live in {home.root}: {error}. The folder must be yours to write; another "
        f"home is given by --home or {VARIABLE}"
    )


def _last_words(home: Home) -> str:
    """The last lines of what it printed and logged."""
    lines: list[str] = []
    for path in (log_path(home), _output(home)):
        with contextlib.suppress(OSError):
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    if not lines:
        return f"; it said nothing, not even in {log_path(home)}"
    return "; its last words:\n" + "\n".join(f"    {line}" for line in lines)
