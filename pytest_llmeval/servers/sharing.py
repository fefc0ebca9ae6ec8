"""A server that every process which asks for the same has together: `with shared(…) as server`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmeval.servers.health import Fetch
from pytest_llmeval.servers.leases import Lease, LeasedProcess, lease_key, switches
from pytest_llmeval.servers.logs import copy_from, last_section_at, start_section
from pytest_llmeval.servers.made_of import parts_of, weights_of
from pytest_llmeval.servers.process import ServerProcess
from pytest_llmeval.servers.server import GRACE_SECONDS, Server
from pytest_llmeval.servers.spec import ServerSpec
from pytest_llmeval.servers.startup import start_error

TURN_SECONDS = 0.05
"""How often to look whether the server that somebody else starts is ready, or ours has ended."""

GONE_SECONDS = 5.0
"""How long to wait for the end of a server that is nobody's; one that hangs in a driver ends when
it can.
"""


@contextlib.contextmanager
def shared(spec: ServerSpec, folder: Path, fetch: Fetch, **outside: Any) -> Iterator[SharedServer]:
    """Have the server that `spec` describes, together with all who ask for it in `folder`.

    It is started if it does not run, and ends once nobody has it any more.
    Raises what `Server.start` does; `outside` is as for `Server`.
    """
    server = SharedServer(spec, folder, fetch, **outside)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class SharedServer(Server):
    """A server as `Server` has it, but for whose it is: stopped, it goes on for those who are left.

    Its log and its working directory lie in its lease, in `folder`, so paths in its `args` must not
    be relative; a copy of the log is left where the spec says as it is stopped. `restart` restarts
    it for all.
    """

    def __init__(self, spec: ServerSpec, folder: Path, fetch: Fetch, **outside: Any) -> None:
        super().__init__(_anchored(spec), fetch, **outside)
        self._folder = folder
        self._lease: Lease | None = None
        self._copy = spec.log_path
        self._copied_to: int | None = None
        self._is_somebodys = False

    @property
    def was_shared(self) -> bool:
        """Whether another process has used it too while we did."""
        return self._lease is not None and self._lease.was_shared

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Let go of it for good: back when it has ended, unless others use it. Harmless when called
        again.
        """
        del grace
        self._stopped.set()
        with self._one_start:  # a start that is under way notices
            if self._lease is not None and self._lease.release():
                self._see_gone(self._lease)
                self._leave_log(self._lease)

    def _see_gone(self, lease: Lease) -> None:
        """Whoever comes next has its memory, once it is nobody's."""
        deadline = time.monotonic() + GONE_SECONDS
        while self.alive() and not lease.files.is_held() and time.monotonic() < deadline:
            time.sleep(TURN_SECONDS)

    def _leave_log(self, lease: Lease) -> None:
        """Leave a copy of what our server has written, and not those before it; each line once."""
        if self._copied_to is None:
            self._copied_to = last_section_at(lease.output.out)
        with contextlib.suppress(OSError):  # a full disk, or nothing was ever written
            self._copied_to = copy_from(lease.output.out, self._copied_to, self._copy)

    def _bring_up(self) -> None:
        """Find the server, or start it, whichever comes first: one of all who want it starts it."""
        self._give_up_if_stopped()
        lease = self._join()
        try:
            lease.hold()
            began = self._clock()
            while not (self._attach(lease) or self._take_turn(lease)):
                waited = self._clock() - began
                if waited > self.spec.start_timeout:
                    self._do_without(lease)
                    break
                self._report(waited, f"another process starts it, in {lease.files.folder}")
                self._pause(TURN_SECONDS)
            if self._copied_to is None:
                self._copied_to = last_section_at(lease.output.out)
        except BaseException as error:
            if lease.release():
                self._leave_log(lease)
            if isinstance(error, OSError):
                where = lease.files.folder
                reason = error.strerror or error
                text = f"its lease cannot be written in {where}: {reason}"
                raise start_error(self.spec, text) from error
            raise

    def _join(self) -> Lease:
        if self._lease is None:
            environ = self._kind.environment(0, switches(self._environ))
            key = lease_key(self.spec, self._made_of(environ), environ)
            self._lease = Lease(self._folder / key[:32])
            self.spec = dataclasses.replace(
                self.spec, log_path=self._lease.output.out, output=self._lease.output
            )
        return self._lease

    def _made_of(self, variables: Mapping[str, str]) -> list[Path | str]:
        """The files that the server is made of, those among them that its variables name."""
        spec = self.spec
        if spec.gguf is None:
            return [self._kind.find_program(self._environ)[0]]
        # Not by its kind, which reads the whole header of the weights first.
        return [*parts_of(spec, self._environ, variables.values()), *weights_of(spec)]

    def _attach(self, lease: Lease) -> bool:
        """Use the server if it is ready."""
        process = lease.attach()
        if process is None:
            return False
        self._port = process.port
        with self._hand_over:
            self._process = process
        self._note_health()
        self._generation += 1
        return True

    def _take_turn(self, lease: Lease) -> bool:
        """See to it that there is a server, if it is our turn; whether there is one now."""
        with lease.turn() as ours:
            if not ours:
                return False
            begun = lease.begun()
            if begun is not None:  # by somebody who was killed before it was healthy
                self._kind.find_program(self._environ)
                self._port = begun.port
                self._see_healthy(begun)
            elif lease.is_free():
                super()._bring_up()
            else:
                return False
            assert isinstance(self._process, LeasedProcess)
            lease.publish(self._process)
            return True

    def _do_without(self, lease: Lease) -> None:
        """Use what somebody has begun who does not go on: it may have been stopped by Ctrl-Z.

        Raises ServerStartError where there is nothing, or it does not become healthy either.
        """
        begun = lease.begun()
        if begun is None:
            raise start_error(
                self.spec,
                f"another process has been about to start it for {self.spec.start_timeout:g} s and "
                f"has not, in {lease.files.folder}: let it go on or end it; a server of its own "
                "has a run with --llm-set server.shared=false",
            )
        self._port = begun.port
        self._is_somebodys = True
        try:
            self._see_healthy(begun)
        finally:
            self._is_somebodys = False
        lease.publish(begun)

    def _run(self, command: Sequence[str], environ: Mapping[str, str]) -> ServerProcess:
        assert self._lease is not None
        assert self._port is not None
        start_section(self.spec.log_path, self.spec.name)
        process = self._lease.start(command, self._port, environ=environ)
        self._port = process.port
        return process

    def _discard(self, process: ServerProcess, error: BaseException) -> None:
        """End a server that is no good for anybody; one that we only leave may be for others, as is
        one whose starter may have more patience.
        """
        if isinstance(error, Exception) and not self._stopped.is_set() and not self._is_somebodys:
            process.stop(0)


def _anchored(spec: ServerSpec) -> ServerSpec:
    """A spec whose files are the same wherever it is read from: `~` and `./x` are ours."""
    executable = spec.executable
    if executable is not None and os.path.dirname(executable):  # noqa: PTH120 - `./x` is a path
        executable = str(Path(executable).expanduser().absolute())
    return dataclasses.replace(
        spec,
        executable=executable,
        gguf=None if spec.gguf is None else spec.gguf.absolute(),
        lora=tuple(dataclasses.replace(each, path=each.path.absolute()) for each in spec.lora),
    )
