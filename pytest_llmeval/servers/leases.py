"""Leases: many processes share one server, without anybody who keeps it for them.

The first starts it, under a guard that none of them owns (`lease_guard.py`); the others find it.
It ends when nobody holds it any more, however they ended. How they agree: `lease_files.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_llmeval import __version__
from pytest_llmeval.atomic import plain
from pytest_llmeval.servers import lease_guard
from pytest_llmeval.servers.detached import start_detached
from pytest_llmeval.servers.exits import describe_exit
from pytest_llmeval.servers.identity import Identity, identity_of, neighbourhood
from pytest_llmeval.servers.lease_files import Kept, LeaseFiles
from pytest_llmeval.servers.logs import read_tail
from pytest_llmeval.servers.process import ProcessStartError, output_order
from pytest_llmeval.servers.spec import Output, ServerSpec
from pytest_llmeval.servers.trees import Usage, cpu_of, kill_tree, pids_of, process_of, usage_of

LOG_BYTES = 2**24
"""How big the log of a shared server grows before it is rotated: it may be kept for weeks."""

LOOK_SECONDS = 0.02
"""How often to look whether a guard has done what it was asked for."""

WORDS_SECONDS = 2.0
"""How long to wait for the guard's word on how its server ended."""

SHAPES_NOTHING = frozenset({"log_path", "output", "restart", "start_timeout"})
"""What a spec says of the keeping of a server, not of the server."""

LAYOUT = 2
"""Of the files by which holders and guards agree: versions that do not agree share nothing."""

SWITCHES = (
    *("CUDA_", "CUBLAS_", "GGML_", "GPU_", "LLAMA_", "NVIDIA_", "OLLAMA_"),
    *("AMD_", "HIP_", "HIPBLAS", "HSA_", "ROCBLAS_", "ROCR_", "TENSILE_"),
    *("IGC_", "MUSA_", "ONEAPI_", "SYCL_", "UR_", "ZE_", "ZES_"),
    *("ANV_", "MESA_", "MTL_", "RADV_", "VK_"),
    *("ASCEND_", "DRI_", "OCL_"),
    *("BLIS_", "FLEXIBLAS", "GOMP_", "GOTO_", "KMP_", "MKL_", "OMP_", "OPENBLAS_", "VECLIB_"),
    *("DNNL_", "DYLD_", "LD_", "ONEDNN_", "TZ"),
)
"""Beginnings of variables by which servers, drivers and libraries are told what to do, loaders
which libraries these are, and templates what time it is.
"""


def lease_key(spec: ServerSpec, files: Sequence[Path | str], environ: Mapping[str, str]) -> str:
    """What tells a server from every other one: its spec, environment and the files it is made of.

    `files` are executable, package and weights: a new build is another server, and so are new
    weights under an old name. A folder may be that of many machines or containers: whose processes
    we cannot see, with them we share nothing.
    """
    fields = [each.name for each in dataclasses.fields(spec) if each.name not in SHAPES_NOTHING]
    shape = {
        "layout": [LAYOUT, __version__],
        "among": neighbourhood(),
        "spec": {name: plain(getattr(spec, name)) for name in fields},
        "environ": switches(environ),
        "files": [fingerprint(file) for file in files],
    }
    text = json.dumps(shape, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def switches(environ: Mapping[str, str]) -> dict[str, str]:
    """What an environment tells servers and drivers."""
    return {name: environ[name] for name in environ if name.startswith(SWITCHES)}


def fingerprint(file: Path | str) -> tuple[str, int, int, int] | tuple[str]:
    """What tells a file from every other one at its path, without reading it."""
    path = os.fspath(file)
    try:
        status = os.stat(path)  # noqa: PTH116 - whoever finds a server that runs is in a hurry
    except OSError:
        return (path,)
    return path, status.st_ino, status.st_size, status.st_mtime_ns


class LeasedProcess:
    """A server's process that others may use too (`process.ServerProcess`)."""

    def __init__(self, files: LeaseFiles, kept: Kept) -> None:
        self.order = kept.order
        self.port = kept.port
        self._files = files
        self._guard = kept.guard
        self._server = kept.server

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    @property
    def guard_pid(self) -> int:
        """The guard's process id."""
        return self._guard.pid

    @property
    def exit_description(self) -> str | None:
        """What ended the server, in words; None while it lives."""
        if self.alive():
            return None
        deadline = time.monotonic() + WORDS_SECONDS
        while (ended := self._files.ended(self.order)) is None and self._guard.lives():
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        if ended is None or ended.code is None:
            return "its guard process was killed, and the server with it"
        return describe_exit(ended.code)

    def alive(self) -> bool:
        """Whether the process exists. One whose guard is gone is ended: it would be an orphan."""
        if not self._server.lives():
            return False
        return self._guard.lives() or not kill_tree(self._server)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the server's end; whether it ended in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.alive():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def pids(self) -> set[int]:
        """The server's process and everything it started; empty once they are gone."""
        return pids_of(process_of(self._server))

    def cpu_seconds(self) -> float:
        """CPU seconds of the server's process alone; 0 once it is gone."""
        return cpu_of(process_of(self._server))

    def usage(self) -> Usage:
        """What the server and everything it started have used; zeros once they are gone."""
        return usage_of(process_of(self._server))

    def stop(self, grace: float) -> None:
        """End the server for all who use it; back when nothing is left.

        There is nothing to be graceful about: either it is no good, or it hangs.
        """
        del grace
        kill_tree(self._guard)
        kill_tree(self._server)


class Lease:
    """The use of one shared server by this process, and the way to one that there is not yet."""

    def __init__(self, folder: Path) -> None:
        self.files = LeaseFiles(folder)
        self.output = Output(self.files.log, max_bytes=LOG_BYTES, keep=1)
        self._holder: Path | None = None
        self._met = False

    @property
    def was_shared(self) -> bool:
        """Whether another process has held the server too while we did."""
        return self._met or (self._holder is not None and self.files.met(self._holder))

    def hold(self) -> None:
        """Say that we use the server, before we look whether there is one."""
        if self._holder is None:
            self._holder = self.files.hold(_own_identity(os.getpid()))

    def release(self) -> bool:
        """Say that we do not use it any more; whether we did. Harmless when called again."""
        if self._holder is None:
            return False
        self._met = self.was_shared
        self._holder.unlink(missing_ok=True)
        self._holder = None
        return True

    def attach(self) -> LeasedProcess | None:
        """The server, if there is one that is ready. Takes no lock; `hold` first."""
        kept = self.files.ready()
        return LeasedProcess(self.files, kept) if kept is not None and kept.lives() else None

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Be the one who sees to it that there is a server, unless somebody else is."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(FileLock(self.files.start_lock, blocking=False))
            except Timeout:
                ours = False
            else:
                ours = True
            yield ours

    def begun(self) -> LeasedProcess | None:
        """A server that runs, and that nobody may have found healthy; for whose turn it is."""
        kept = self.files.kept()
        return LeasedProcess(self.files, kept) if kept is not None and kept.lives() else None

    def is_free(self) -> bool:
        """Whether no guard is left, not even one that is about to end; for whose turn it is."""
        try:
            with FileLock(self.files.guard_lock, blocking=False):
                return True
        except Timeout:
            return False

    def start(
        self, command: Sequence[str], port: int, *, environ: Mapping[str, str]
    ) -> LeasedProcess:
        """Start the server for all; back as soon as it runs. For whose turn it is.

        It may turn out to be the one of somebody who was killed, on another port. Raises
        ProcessStartError when it cannot be started.
        """
        left_over = self.files.kept()
        if left_over is not None:  # its guard was killed, and not every system ends it then
            kill_tree(left_over.server)
        order = {
            "order": uuid.uuid4().hex,
            "folder": str(self.files.folder),
            "port": port,
            "output": output_order(self.output),
        }
        guard_command = [sys.executable, lease_guard.__file__, json.dumps(order), *command]
        guard = start_detached(guard_command, self.files.guard_log, environ=environ)
        return self._await_start(str(order["order"]), guard)

    def publish(self, process: LeasedProcess) -> None:
        """Say that a server is healthy and what was asked for."""
        self.files.write_ready(process.order)

    def _await_start(self, order: str, guard: Identity | None) -> LeasedProcess:
        while True:
            gone = guard is None or not guard.lives()  # looked at first: what it wrote is there
            kept, ended = self.files.kept(), self.files.ended(order)
            if kept is not None and (kept.order == order or kept.lives()):
                return LeasedProcess(self.files, kept)
            if ended is not None and ended.error is not None:
                raise ProcessStartError(ended.error)
            if gone and self.is_free():
                words = "; ".join(read_tail(self.files.guard_log, 3))
                words = words or f"it could write no word of why in {self.files.folder}"
                raise ProcessStartError(f"its guard process ended at once: {words}")
            time.sleep(LOOK_SECONDS)


@cache
def _own_identity(pid: int) -> Identity:
    """Who we are; a fork of us has another pid."""
    me = identity_of(pid)
    assert me is not None, "we live"
    return me
