"""The guard: a small process between us and one server, so that no server outlives its owner.

It is started by path (`python -I -S guard.py ORDER COMMAND…`) and knows nothing but the standard
library, so it is up within some 20 ms and owes nothing to the package around it. Its order is JSON:
``{"owner": pid, "log": path}``, where the server itself writes to the end of one file; or an
``"output"`` instead of the log (`spec.Output`). The pump writes (`pump.py`), without secrets.

Towards its owner it speaks lines. On its standard output, JSON: ``{"event": "started", "pid": n}``,
``{"event": "failed", "error": text}``, ``{"event": "exited", "code": n}``. On its standard input,
``stop SECONDS``: terminate the server, and kill it when that much time has passed.

Who may die, and what ends the server then:

- the owner, even by SIGKILL: the guard's standard input ends (or its parent changes), it kills;
- the guard, even by SIGKILL: on Linux the kernel kills the server (PR_SET_PDEATHSIG), on Windows
  the job object closes (`job.py`), everywhere the server's standard input ends, and so do its
  pumped output and error; and the owner sees the guard's output end and kills what it knows by pid;
- a wrapper that started the real server: what is left of its process group is killed.

Every call that only POSIX or only Windows knows is in this module, in `job.py`, `process.py`,
`detached.py` or `trees.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pytest_llmeval.servers.pump import Pump

CHECK_SECONDS = 0.5
"""How often to look whether the server is still needed: whether the parent is still the owner.

The end of standard input says it at once, unless the owner forked: then a child of its may hold
the other end of the pipe open.
"""

SWEEP_SECONDS = 0.5
"""How long to wait for killed processes: one that hangs in a driver ends when it can."""

AT_ONCE = 0.0
"""The grace of a server that nobody needs any more."""


class Stop(NamedTuple):
    """End the server; kill it after `grace` seconds."""

    grace: float


class Exited(NamedTuple):
    """The server ended, by itself or by our hand."""

    code: int


Event = Stop | Exited


def main(order: Mapping[str, Any], command: list[str]) -> int:
    """Run one server until it ends or must end; 0, or 1 if it could not even be started."""
    events = take_signals()
    try:
        server, pumps = start(command, order, complaint=beside("job").enclose_in_job())
    except OSError as error:
        tell(event="failed", error=describe(error, command))
        return 1
    tell(event="started", pid=server.pid)
    start_thread(lambda: listen(events.put))
    code = see_through(server, pumps, events, needed=lambda: not is_orphan(order["owner"]))
    tell(event="exited", code=code)
    return 0


def take_signals() -> queue.SimpleQueue[Event]:
    """Make an order of what would end us, and events of them."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is pytest's; the server inherits this
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, lambda *_: events.put(Stop(AT_ONCE)))
    return events


def start(
    command: Sequence[str], order: Mapping[str, Any], *, complaint: str = ""
) -> tuple[subprocess.Popen[bytes], list[Pump]]:
    """Start the server, its output going where the order says, after a complaint of ours.

    Raises OSError.
    """
    output = order.get("output") or {"out": order["log"], "err": None, "max_bytes": None, "keep": 0}
    pump = beside("pump")
    paths = [path for path in (output["out"], output["err"]) if path is not None]
    logs = [pump.LogFile(path, output["max_bytes"], output["keep"]) for path in paths]
    logs[-1].write(complaint.encode())
    server = spawn(command, subprocess.PIPE, subprocess.PIPE if logs[1:] else subprocess.STDOUT)
    pipes = [pipe for pipe in (server.stdout, server.stderr) if pipe is not None]
    # The server's environment, in which some of its secrets are, is ours.
    redaction = beside(os.path.join("..", "redaction"))  # noqa: PTH118 - as below
    redactor = redaction.Redactor(redaction.known_secrets(os.environ), as_latin_1=True)
    return server, [
        pump.Pump(pipe.fileno(), log, redaction.Pieces(redactor))
        for pipe, log in zip(pipes, logs, strict=True)
    ]


def beside(name: str) -> Any:
    """A module that lies beside this one: run by path, we have no package to import it from."""
    import importlib.util

    path = os.path.join(os.path.dirname(__file__), f"{name}.py")  # noqa: PTH118, PTH120 - as above
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def see_through(
    server: subprocess.Popen[bytes],
    pumps: Sequence[Pump],
    events: queue.SimpleQueue[Event],
    *,
    needed: Callable[[], bool],
    every: float = CHECK_SECONDS,
) -> int:
    """Keep the server until it ends, must end or is not `needed`, and leave nothing; its code.

    Whether it is needed is looked at after so many seconds in which nothing happens.
    """
    start_thread(lambda: events.put(Exited(server.wait())))
    code = attend(server, events, needed, every)
    sweep(server)
    for each in pumps:  # so that its last words are in the log before anybody hears of its end
        each.finish()
    return code


def attend(
    server: subprocess.Popen[bytes],
    events: queue.SimpleQueue[Event],
    needed: Callable[[], bool],
    every: float,
) -> int:
    """Wait for the server's end, and bring it about when asked; its exit code."""
    while True:
        try:
            event = events.get(timeout=every)
        except queue.Empty:
            if needed():
                continue
            event = Stop(AT_ONCE)
        if isinstance(event, Exited):
            return event.code
        if event.grace > 0:
            terminate(server)
            with contextlib.suppress(queue.Empty):
                urgent = events.get(timeout=event.grace)
                if isinstance(urgent, Exited):
                    return urgent.code
        kill(server)
        return server.wait()


def spawn(command: Sequence[str], out: Any, err: int) -> subprocess.Popen[bytes]:
    """Start the server in a group of its own, its output going to `out` and `err` as Popen has it.

    Its standard input is a pipe that nobody writes to, whose end tells it that the guard is gone.
    """
    own_group: dict[str, Any]
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:
        # The function is safe, since the guard has one thread until the server runs; and that
        # thread is the main one, as it must be: the signal comes when the thread that forked ends.
        own_group = {"start_new_session": True, "preexec_fn": dying_with(os.getpid())}
    return subprocess.Popen(
        list(command), stdin=subprocess.PIPE, stdout=out, stderr=err, **own_group
    )


def dying_with(parent: int) -> Callable[[], None] | None:
    """What a child does before exec so that the kernel kills it when `parent` dies; Linux only."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>

    def prepare() -> None:
        prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew that we care
            os._exit(1)

    return prepare


def listen(put: Callable[[Event], None]) -> None:
    """Turn the owner's lines into events; the end of them means that the owner is gone.

    It reads the descriptor itself: a daemon thread inside `sys.stdin` makes the interpreter abort
    as it shuts down.
    """
    pending = b""
    while chunk := read_input():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            word, _, seconds = line.decode("ascii", "replace").partition(" ")
            if word == "stop":
                put(Stop(float(seconds)))
    put(Stop(AT_ONCE))


def read_input() -> bytes:
    """Read what the owner wrote; nothing when it is gone."""
    try:
        return os.read(0, 4096)
    except OSError:
        return b""


def describe(error: OSError, command: Sequence[str]) -> str:
    """Why the server could not be started."""
    return f"{error.strerror or error}: {error.filename or command[0]}"


def tell(**event: object) -> None:
    """Write one line to the owner; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(event).encode("ascii") + b"\n")


def start_thread(target: Callable[[], None]) -> None:
    """Run `target` beside the main thread, and never wait for it."""
    threading.Thread(target=target, daemon=True).start()


def is_orphan(owner: int) -> bool:
    """Whether the owner is gone, where the operating system tells it cheaply.

    Windows has no fork, so there the end of standard input is enough.
    """
    return sys.platform != "win32" and os.getppid() != owner


def terminate(server: subprocess.Popen[bytes]) -> None:
    """Ask the server, and everything in its group, to end."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            # It reaches those who share our console: an invisible one that only we two have.
            os.kill(server.pid, signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(server.pid, signal.SIGTERM)


def kill(server: subprocess.Popen[bytes]) -> None:
    """End the server and everything in its group; on Windows the rest goes with the job."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            server.kill()
        else:
            os.killpg(server.pid, signal.SIGKILL)


def sweep(server: subprocess.Popen[bytes]) -> None:
    """End what the server started and left behind, and see it gone.

    A group's number is not handed out again while it has a member; if it has none, the server
    ended this very moment and its number is the last in the queue.
    """
    kill(server)
    if sys.platform != "win32":
        deadline = time.monotonic() + SWEEP_SECONDS
        with contextlib.suppress(OSError):  # raised once nobody is left, which is what we wait for
            while time.monotonic() < deadline:
                os.killpg(server.pid, 0)
                time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
