"""Kill pytest, a guard, a worker or a server at random moments of real runs, and see what is left.

    python tools/kill_loop.py --rounds 100 [--victim guard] [--seed 7]

A round starts `pytest --llm-config` on the two shipped models in a folder of its own and ends one
of its processes by `kill -9`. Two seconds later no server process and no held port may be left of
what was killed; `--llm-resume last` must end with one prediction for each trial, and ask nothing
again that was answered. One line a round; the exit status is 1 if one of them broke the promise.

`Project` and `Session` are also what the end-to-end tests use.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from pytest_llmeval.servers.ports import is_free

REPOSITORY = Path(__file__).resolve().parents[1]
THE_BOUND = 2.0
"""Seconds until nothing is left, as the README promises them."""

MARK = "LLMEVAL_KILL_LOOP"
"""The environment variable by which everything that a session starts is known."""

Victim = Literal["pytest", "guard", "worker", "server"]
VICTIMS: tuple[Victim, ...] = ("pytest", "guard", "worker", "server")

MODELS = {
    name: {"engine": "embedded", "gguf": str(REPOSITORY / "models" / f"{name}.gguf")}
    for name in ("tiny-l", "tiny-s")
}
CONFIG: Mapping[str, Any] = {
    "models": MODELS,
    "server": {"slots": 2, "context": 256, "threads": 1},
    "sampling": {"temperature": 0, "max_tokens": 8, "seed": 7},
}


def sums(count: int) -> list[dict[str, Any]]:
    """The first items of the shipped suite of sums."""
    with (REPOSITORY / "suites" / "data" / "arithmetic.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]


def becomes_true(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Ask until something is true; whether it became so within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_running(process: psutil.Process) -> bool:
    """Whether a process runs: a zombie, which nobody has counted yet, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def port_of(server: psutil.Process) -> int:
    """The port that a server was told to listen on."""
    command = server.cmdline()
    return int(command[command.index("--port") + 1])


class Session:
    """One pytest with everything it starts, in a process group of its own as a terminal gives it.

    What it prints goes to a file. Inner sessions load no plugin but ours and xdist.
    """

    def __init__(self, root: Path, arguments: Sequence[str], environ: Mapping[str, str]):
        self.began = time.monotonic()
        self._mark = uuid.uuid4().hex
        self._output = root / f"session-{self._mark}.txt"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        ours = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "XDG_CACHE_HOME": str(root / "cache"),
            MARK: self._mark,
        }
        group: dict[str, Any] = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
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

    def processes(self) -> dict[str, list[psutil.Process]]:
        """What of it runs now: `guard`, `server`, `worker`, and `other` for pytest itself."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter(["environ", "cmdline", "status"]):
            about = process.info
            if (about["environ"] or {}).get(MARK) != self._mark:
                continue
            if about["status"] != psutil.STATUS_ZOMBIE:
                found.setdefault(_role(about["cmdline"] or []), []).append(process)
        return found

    def servers(self) -> list[psutil.Process]:
        """Its model servers that run now."""
        return self.processes().get("server", [])

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Leave nothing of it, whatever has happened."""
        for processes in self.processes().values():
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()


def _role(command: Sequence[str]) -> str:
    if any(part.endswith("guard.py") for part in command):
        return "guard"
    if "--port" in command:
        return "server"
    return "worker" if "sys.stdin.readline" in "".join(command) else "other"


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
            "items": sums(20),
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

    # What a run leaves ----------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of the newest run."""
        return max(self.root.glob("runs/*/manifest.json"), key=os.path.getmtime).parent

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

    def answered(self) -> Counter[str]:
        """How many answers each trial has in the journals."""
        lines = map(json.loads, b"".join(self.journals().values()).splitlines())
        return Counter(line["custom_id"] for line in lines if line["response"])


def whole_lines(content: bytes) -> bytes:
    """A file's content without what stands behind its last newline."""
    return content[: content.rfind(b"\n") + 1]


# The loop -----------------------------------------------------------------------------------------


class BrokenPromiseError(Exception):
    """A round that did not hold what is promised; its text says what."""


@dataclass(frozen=True)
class Killed:
    """What became of a kill: `answered` trials were in the journal by then."""

    moment: float
    answered: int
    gone: float


def promise(kept: object, words: str) -> None:
    """Raise unless a promise is kept."""
    if not kept:
        raise BrokenPromiseError(words)


def kill(session: Session, project: Project, victim: Victim, moment: float) -> Killed | None:
    """Kill a victim `moment` seconds after the start, or as soon as there is one.

    None when the session ended before. Raises BrokenPromiseError if too much is left for too long.
    """
    time.sleep(max(0.0, session.began + moment - time.monotonic()))
    target = None
    while target is None:
        if session.process.poll() is not None:
            return None
        target = _choose(session, victim)
    answered = sum(project.answered().values())
    doomed = _what_falls_with(target, victim, session)
    ports = [port_of(process) for process in doomed if is_a_server(process)]
    with contextlib.suppress(psutil.NoSuchProcess):
        target.kill()
    began = time.monotonic()

    def nothing_left() -> bool:
        # The server that takes the place of a lost one takes its port too.
        if victim == "pytest":
            doomed.extend(session.processes().get("server", []))
        taken = {port_of(process) for process in _still(session.servers, doomed)}
        return not any(map(is_running, doomed)) and all(
            is_free("127.0.0.1", port) or port in taken for port in ports
        )

    promise(becomes_true(nothing_left, 10), f"10 s after the kill there are still {doomed}")
    return Killed(began - session.began, answered, time.monotonic() - began)
