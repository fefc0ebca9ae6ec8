"""A user's folder on the two shipped models, and real pytest sessions in it.

What the end-to-end tests and the kill loop stand on: everything that a session starts is known by a
mark in its environment, so that nothing it may leave behind is overlooked.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
MARK = "LLMEVAL_SESSION_MARK"
"""The environment variable by which everything that a session starts is known."""

Role = Literal["pytest", "guard", "worker", "server"]
"""What a process is to a session. A worker is one of xdist's."""

ROLES: tuple[Role, ...] = ("pytest", "guard", "worker", "server")

MODELS = {
    name: {"engine": "embedded", "gguf": str(REPOSITORY / "models" / f"{name}.gguf")}
    for name in ("tiny-l", "tiny-s")
}
CONFIG: Mapping[str, Any] = {
    "models": MODELS,
    "server": {"slots": 2, "context": 256, "threads": 1},
    "sampling": {"temperature": 0, "max_tokens": 8, "seed": 7},
    "cache": {"mode": "off"},  # each session is to ask
}


def becomes_true(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Ask until something is true; whether it became so within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@dataclass(frozen=True)
class Seen:
    """A process of a session; `port` is what a server was told to listen on.

    It stays the same one when its parent dies and it gets another.
    """

    process: psutil.Process
    role: Role
    port: int | None
    parent: int = field(compare=False)

    def kill(self) -> None:
        """`kill -9`, or TerminateProcess."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()


class Session:
    """One pytest with everything it starts, in a process group of its own as a terminal gives it.

    What it prints goes to a file. It loads no plugin but ours and xdist.
    """

    def __init__(self, root: Path, arguments: Sequence[str], environ: Mapping[str, str]):
        self.began = time.monotonic()
        self._mark = uuid.uuid4().hex
        self._output = root / f"session-{self._mark}.txt"
        # A pytest that runs us must not show through.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        ours = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "LLMEVAL_CACHE": str(root / "cache"),
            MARK: self._mark,
        }
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "llmeval", "-p", "xdist", *arguments],
                cwd=root,
                env={**kept, **ours, **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **group,
            )

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def over(self) -> bool:
        """Whether pytest itself has ended."""
        return self.process.poll() is not None

    def processes(self, *roles: Role) -> list[Seen]:
        """What of it runs now, in these roles (none given: in all)."""
        seen = []
        for process in psutil.process_iter(["environ", "cmdline", "status", "ppid"]):
            about = process.info
            if (about["environ"] or {}).get(MARK) != self._mark:
                continue
            command = about["cmdline"] or []
            role = "pytest" if process.pid == self.process.pid else _role(command)
            if role in (roles or ROLES) and about["status"] != psutil.STATUS_ZOMBIE:
                seen.append(Seen(process, role, _port(command), about["ppid"]))
        return seen

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Leave nothing of it, whatever has happened."""
        for one in self.processes():
            one.kill()
        self.process.wait()


def _role(command: Sequence[str]) -> Role | None:
    """What a process is by its command; None for all that end by themselves, such as git."""
    if any(part.endswith("guard.py") for part in command):
        return "guard"
    if "--port" in command or command[-1:] == ["serve"]:
        return "server"
    return "worker" if "sys.stdin.readline" in "".join(command) else None


def _port(command: Sequence[str]) -> int | None:
    return int(command[command.index("--port") + 1]) if "--port" in command else None


class Project:
    """A user's folder: a config on the shipped models, suites, the runs that were made in it."""

    def __init__(self, root: Path):
        self.root = root
        self._sessions: list[Session] = []
        self.write("pytest.ini", "[pytest]\n")
        self.config()

    def write(self, name: str, text: str) -> Path:
        """A file of the project, its folders made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    def config(self, **keys: Any) -> None:
        """`local.yaml`: both models, 2 slots each; `keys` take the place of its own."""
        self.write("local.yaml", json.dumps({**CONFIG, **keys}, indent=1))

    def suite(self, name: str = "sums", **keys: Any) -> None:
        """`suites/<name>.yaml`: the first 20 sums; `keys` take the place of its own."""
        suite = {
            "items": shipped("arithmetic", 20),
            "target": "answer",
            "prompts": {"plain": "{{ a }} + {{ b }} ="},
            "score": "numeric",
            **keys,
        }
        self.write(f"suites/{name}.yaml", json.dumps(suite, indent=1))

    def start(self, *arguments: str, **environ: str) -> Session:
        """`pytest --llm-config local.yaml`, not waited for."""
        self._sessions.append(
            Session(self.root, ["--llm-config", "local.yaml", *arguments], environ)
        )
        return self._sessions[-1]

    def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """The same to its end: exit status and output."""
        session = self.start(*arguments, **environ)
        return session.wait(), session.text

    def end(self) -> None:
        """Leave no process of it."""
        for session in self._sessions:
            session.end()

    # What runs leave ------------------------------------------------------------------------------

    @property
    def has_run(self) -> bool:
        """Whether there is a run to go back to."""
        return any(self.root.glob("runs/*/manifest.json"))

    @property
    def folder(self) -> Path:
        """The folder of the newest run."""
        return max(self.root.glob("runs/*/manifest.json"), key=os.path.getctime).parent

    def manifest(self) -> dict[str, Any]:
        """The newest run's manifest."""
        content: dict[str, Any] = json.loads((self.folder / "manifest.json").read_bytes())
        return content

    def rows(self, table: str) -> list[dict[str, str]]:
        """All rows of a table of the newest run, for instance `predictions`."""
        rows: list[dict[str, str]] = []
        for path in sorted(self.folder.glob(f"*/{table}.csv")):
            with path.open(encoding="utf-8", newline="") as file:
                rows += csv.DictReader(file)
        return rows

    def journals(self) -> dict[Path, bytes]:
        """The whole lines of every journal there is; a torn last line is none."""
        paths = sorted(self.root.glob("runs/*/*/parts/*.results.jsonl"))
        return {path: whole_lines(path.read_bytes()) for path in paths}

    def lines(self) -> int:
        """How many predictions there are in the journals."""
        return sum(content.count(b"\n") for content in self.journals().values())

    def answers(self) -> Counter[str]:
        """How many answers each trial has in the journals."""
        lines = b"".join(self.journals().values()).splitlines()
        return Counter(line["custom_id"] for line in map(json.loads, lines) if line["response"])


def whole_lines(content: bytes) -> bytes:
    """A file's content without what stands behind its last newline."""
    return content[: content.rfind(b"\n") + 1]


def shipped(suite: str, count: int) -> list[dict[str, Any]]:
    """The first items of a suite that comes with the repository."""
    with (REPOSITORY / "suites" / "data" / f"{suite}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in itertools.islice(lines, count)]
