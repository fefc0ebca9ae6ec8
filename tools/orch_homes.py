"""A home of llama-orch on a shipped model, and real commands and daemons in it.

What the orchestrator's tests and its kill loop stand on: everything that is started for a home is
known by a mark in its environment, so that nothing it may leave behind is overlooked.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import psutil

from pytest_llmeval.orchestrator.daemon import RUN
from pytest_llmeval.orchestrator.home import VARIABLE, Home
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.state import State
from tools.real_runs import MARK, REPOSITORY, becomes_true

OrchRole = Literal["cli", "daemon", "guard", "server"]
"""What a process is to a home."""

ORCH_ROLES: tuple[OrchRole, ...] = ("cli", "daemon", "guard", "server")

CONFIG: Mapping[str, Any] = {
    "model": {
        "path": str(REPOSITORY / "models" / "tiny-s.gguf"),
        "context_size": 256,
        "threads": 1,
    },
    "server": {"engine": "embedded"},
    "healthcheck": {"interval": 0.5, "timeout": 2},
    "restart": {"initial": 0.05, "cap": 0.5, "max_retries": 1000},
}
"""An instance that is up within a second, watched closely and restarted at once."""


class OrchProcess:
    """A process of a home that runs now; `port` is what a server was told to listen on."""

    def __init__(self, process: psutil.Process, role: OrchRole, command: Sequence[str]) -> None:
        self.process = process
        self.role = role
        self.pid = process.pid
        self.port = int(command[command.index("--port") + 1]) if role == "server" else None
        self.parent = process.ppid()

    def __repr__(self) -> str:
        return f"{self.role} {self.pid}"

    def kill(self) -> None:
        """`kill -9`, or TerminateProcess."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()

    @property
    def lives(self) -> bool:
        """Whether it runs; a zombie, which waits to be counted, does not."""
        try:
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class OrchHome:
    """A home with instances of `CONFIG`, and what is run in it."""

    def __init__(self, root: Path, *names: str) -> None:
        self.home = Home(root)
        self._mark = uuid.uuid4().hex
        self._commands: list[subprocess.Popen[bytes]] = []
        self._state: State | None = None
        for name in names:
            self.config(name)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of everything that is run here."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        path = os.pathsep.join(filter(None, [str(REPOSITORY), kept.get("PYTHONPATH")]))
        return {**kept, "PYTHONPATH": path, VARIABLE: str(self.home.root), MARK: self._mark}

    @property
    def state(self) -> State:
        """What the database says."""
        if self._state is None:
            self._state = State.open(self.home.state)
        return self._state

    def config(self, name: str, **sections: Any) -> Path:
        """Write an instance's config; what is given is merged into the sections of `CONFIG`."""
        config = {key: {**value, **sections.pop(key, {})} for key, value in CONFIG.items()}
        path = self.home.instances / name / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**config, **sections}, indent=1)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    # Commands -------------------------------------------------------------------------------------

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`llama-orch ARGUMENTS`, not waited for, in a session of its own, as a terminal does."""
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        command = subprocess.Popen(
            [sys.executable, "-m", "pytest_llmeval.commands.llama_orch", *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **group,
        )
        self._commands.append(command)
        return command

    def run(self, *arguments: str, seconds: float = 90) -> tuple[int, str]:
        """The same to its end: exit status and output."""
        command = self.start(*arguments)
        output, _ = command.communicate(timeout=seconds)
        return command.returncode, output.decode("utf-8", "replace")

    def json(self, *arguments: str) -> Any:
        """What a command says with `--json`."""
        status, text = self.run(*arguments, "--json")
        if status != 0:
            raise AssertionError(f"{arguments} ended with {status}: {text}")
        return json.loads(text)

    # What there is --------------------------------------------------------------------------------

    def processes(self, *roles: OrchRole) -> list[OrchProcess]:
        """What of the home runs now, in these roles (none given: in all)."""
        seen = []
        for process in psutil.process_iter(["environ", "cmdline", "status"]):
            about = process.info
            if (about["environ"] or {}).get(MARK) != self._mark:
                continue
            command = about["cmdline"] or []
            role = _role(command)
            if role in (roles or ORCH_ROLES) and about["status"] != psutil.STATUS_ZOMBIE:
                with contextlib.suppress(psutil.NoSuchProcess):
                    seen.append(OrchProcess(process, role, command))
        daemons = {one.pid for one in seen if one.role == "daemon"}
        # A child of a daemon bears its command until it becomes a guard (or, on Windows, for good:
        # what a virtual environment calls Python starts the real one).
        return [one for one in seen if one.role != "daemon" or one.parent not in daemons]

    def row(self, name: str) -> InstanceRow:
        """What the state says of an instance."""
        return self.state.row(name) or InstanceRow(name)

    def is_up(self, name: str) -> bool:
        """Whether the state says that it is up, and its process lives."""
        row = self.row(name)
        lives = row.server is not None and row.server.lives()
        return row.health in {"healthy", "busy"} and lives

    def comes_up(self, *names: str, seconds: float = 60) -> bool:
        """Wait until all of these are up."""
        return becomes_true(lambda: all(map(self.is_up, names)), seconds)

    def end(self) -> None:
        """Leave no process of it, whatever has happened."""
        for role in ORCH_ROLES:
            for one in self.processes(role):
                one.kill()
        becomes_true(lambda: not self.processes(), 10)
        for command in self._commands:
            command.communicate()
        if self._state is not None:
            self._state.close()


def _role(command: Sequence[str]) -> OrchRole | None:
    """What a process is by its command; None for all that end by themselves, such as git."""
    if any(part.endswith("guard.py") for part in command):
        return "guard"
    if "--port" in command:
        return "server"
    if RUN in command or "run" in command:
        return "daemon"
    if "pytest_llmeval.commands.llama_orch" in command:
        return "cli"
    return None
