"""The guard: a small process between us and one server, so that no server outlives its owner.

It is started by path (`python -I -S guard.py OWNER-PID LOG COMMAND…`) and knows nothing but the
standard library, so it is up within some 20 ms and owes nothing to the package around it.

Towards its owner it speaks lines. On its standard output, JSON: ``{"event": "started", "pid": n}``,
``{"event": "failed", "error": text}``, ``{"event": "exited", "code": n}``. On its standard input,
``stop SECONDS``: terminate the server, and kill it when that much time has passed.

Who may die, and what ends the server then:

- the owner, even by SIGKILL: the guard's standard input ends (or its parent changes), it kills;
- the guard, even by SIGKILL: on Linux the kernel kills the server (PR_SET_PDEATHSIG), on Windows
  the job object closes, everywhere the server's standard input ends, and the owner sees the
  guard's output end and kills what it knows by pid;
- a wrapper that started the real server: what is left of its process group is killed.

Every call that only POSIX or only Windows knows is in this module or in `process.py`.
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
from collections.abc import Callable
from typing import Any, NamedTuple

OWNER_CHECK_SECONDS = 0.5
"""How often to look whether the parent is still the owner.

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


def main(owner: int, log: str, command: list[str]) -> int:
    """Run one server until it ends or must end; 0, or 1 if it could not even be started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is pytest's; the server inherits this
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, lambda *_: events.put(Stop(AT_ONCE)))
    enclose_in_job()
    try:
        server = spawn(command, log)
    except OSError as error:
        tell(event="failed", error=f"{error.strerror or error}: {command[0]}")
        return 1
    tell(event="started", pid=server.pid)
    start_thread(lambda: events.put(Exited(server.wait())))
    start_thread(lambda: listen(events.put))
    code = attend(server, events, owner)
    sweep(server)
    tell(event="exited", code=code)
    return 0


def attend(server: subprocess.Popen[bytes], events: queue.SimpleQueue[Event], owner: int) -> int:
    """Wait for the server's end, and bring it about when asked; its exit code."""
    while True:
        try:
            event = events.get(timeout=OWNER_CHECK_SECONDS)
        except queue.Empty:
            if not is_orphan(owner):
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


def spawn(command: list[str], log: str) -> subprocess.Popen[bytes]:
    """Start the server in a group of its own, its output going to the end of the log file.

    A file, never a pipe: a forking wrapper would hold a pipe open, and a full pipe stops a server.
    Its standard input is a pipe that nobody writes to, whose end tells it that the guard is gone.
    """
    own_group: dict[str, Any]
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:
        # The function is safe, since the guard has one thread until the server runs; and that
        # thread is the main one, as it must be: the signal comes when the thread that forked ends.
        own_group = {"start_new_session": True, "preexec_fn": dying_with(os.getpid())}
    with open(log, "ab") as output:  # noqa: PTH123 - importing pathlib is a quarter of our start
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            **own_group,
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


def enclose_in_job() -> None:
    """Put this process, and so all it will start, into a job that ends with it; Windows only.

    Nobody closes the handle of the job but the system, as this process ends: it is the last one,
    and everything in the job ends with it. A failure goes to the log and is no reason to give up:
    the owner still ends the tree by pid.
    """
    if sys.platform != "win32":
        return
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateJobObjectW.restype = wintypes.HANDLE
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    job = wintypes.HANDLE(kernel.CreateJobObjectW(None, None))
    limits = job_limits()
    extended_limit_information = 9  # JobObjectExtendedLimitInformation of <winnt.h>
    enclosed = kernel.SetInformationJobObject(
        job, extended_limit_information, ctypes.byref(limits), ctypes.sizeof(limits)
    ) and kernel.AssignProcessToJobObject(job, wintypes.HANDLE(kernel.GetCurrentProcess()))
    if not enclosed:
        os.write(2, f"guard: no job object, error {ctypes.get_last_error()}\n".encode("ascii"))


def job_limits() -> Any:
    """A JOBOBJECT_EXTENDED_LIMIT_INFORMATION whose one limit is to end with its last handle."""
    import ctypes

    class BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", ctypes.c_uint32),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", ctypes.c_uint32),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", ctypes.c_uint32),
            ("SchedulingClass", ctypes.c_uint32),
        )

    class ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    kill_on_job_close = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    return ExtendedLimits(BasicLimits(LimitFlags=kill_on_job_close))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
