"""The owner's side of the process in which math-verify works: started, asked, started again."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

#: The worker gets the paths of this process, whatever they are, and nothing of the current folder.
_CODE = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from pytest_llmeval.scoring.math_worker import main; main()"
)
#: How `faulthandler` ends a process that took too long.
_OUT_OF_TIME = 1
#: How long a worker that was told to end may take over it.
_PATIENCE = 2.0


class MathProcess:
    """One worker process, started when it is first needed and again after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._asked = 0
        self._broken: str | None = None

    def compare(self, targets: Sequence[str], text: str, limit: float) -> dict[str, Any]:
        """Ask the worker, see `math_worker.compared`.

        Raises:
            TimeoutError: it took longer than `limit` seconds; the worker is gone.
            RuntimeError: the worker cannot start, died, or the comparison raised.

        """
        with self._lock:
            try:
                reply = self._reply({"targets": list(targets), "text": text, "limit": limit})
            except BaseException:
                # Interrupted: the reply is still to come, and would be taken for the next one's.
                self._end(patience=0)
                raise
        if "error" in reply:
            raise RuntimeError(f"math-verify: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the worker, if there is one."""
        with self._lock:
            self._broken = None
            if self._process is not None:
                self._end()

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and read the reply; where the worker dies, with another one once more."""
        status = None
        for _ in range(2):
            self._asked += 1
            process = self._running()
            line = _exchanged(process, json.dumps({**request, "id": self._asked}).encode() + b"\n")
            if line:
                reply: dict[str, Any] = json.loads(line)
                if reply.pop("id") != self._asked:
                    raise RuntimeError("math-verify: a reply to something else; nothing is judged")
                return reply
            status = self._end()
            if status == _OUT_OF_TIME:
                limit = request["limit"]
                raise TimeoutError(f"math took longer than its limit of {limit:g} s")
        raise RuntimeError(f"the process of math-verify died twice (exit status {status})")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._broken is not None:
            raise RuntimeError(self._broken)
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            atexit.register(self.close)
            self._await_start(self._process)
        return self._process

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        """Read the line with which a worker begins; one that cannot begin is not tried again."""
        assert process.stdout is not None
        line = process.stdout.readline()
        problem = json.loads(line).get("error") if line else None
        if line and problem is None:
            return
        status = self._end()
        problem = problem or f"it ended by itself, or took too long (exit status {status})"
        self._broken = f"the process of math-verify cannot be started: {problem}"
        raise RuntimeError(self._broken)

    def _end(self, patience: float = _PATIENCE) -> int | None:
        """Let go of the worker, whatever it does; its exit status."""
        process, self._process = self._process, None
        atexit.unregister(self.close)
        if process is None:
            return None
        if not patience:  # before its pipe is closed, which would wait for it to read the rest
            process.kill()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # what was not sent yet cannot be
                pass
        try:
            return process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _exchanged(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    """The line that a worker gives back; b"" when it ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except OSError:
        return b""
    return process.stdout.readline()


#: One for the whole process, whatever number of suites use it.
MATH = MathProcess()
