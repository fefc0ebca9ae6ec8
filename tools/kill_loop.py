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
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from pytest_llmeval.servers.ports import is_free

REPOSITORY = Path(__file__).resolve().parents[1]
STARTING = 4.0
"""Seconds that a session takes to its first answer, on a slow machine."""

THE_BOUND = 2.0
"""Seconds until nothing is left, as the README promises them."""

MARK = "LLMEVAL_KILL_LOOP"
"""The environment variable by which everything that a session starts is known."""

Role = Literal["pytest", "guard", "worker", "server"]
Victim = Role
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


# A user's folder and what runs in it --------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A process of a session; `port` is what a server was told to listen on."""

    process: psutil.Process
    role: Victim
    parent: int
    port: int | None

    @property
    def runs(self) -> bool:
        """Whether it still runs: a zombie, which nobody has counted yet, does not."""
        try:
            running = self.process.is_running()
            return running and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

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
            "XDG_CACHE_HOME": str(root / "cache"),
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

    def processes(self, *roles: Victim) -> list[Seen]:
        """What of it runs now, in these roles (none given: in all)."""
        seen = [
            Seen(process, _role(command), about["ppid"], _port(command))
            for process in psutil.process_iter(["environ", "cmdline", "status", "ppid"])
            if ((about := process.info)["environ"] or {}).get(MARK) == self._mark
            and about["status"] != psutil.STATUS_ZOMBIE
            and (command := about["cmdline"])
        ]
        return [one for one in seen if one.role in (roles or VICTIMS)]

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Leave nothing of it, whatever has happened."""
        for one in self.processes():
            one.kill()
        self.process.wait()


def _role(command: Sequence[str]) -> Victim:
    if any(part.endswith("guard.py") for part in command):
        return "guard"
    if "--port" in command:
        return "server"
    return "worker" if "sys.stdin.readline" in "".join(command) else "pytest"


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


# The loop -----------------------------------------------------------------------------------------


class BrokenPromiseError(Exception):
    """A round that did not hold what is promised; its text says what."""


@dataclass(frozen=True)
class Moment:
    """A moment of a session: so long after its start, and with so many lines in the journals."""

    seconds: float
    lines: int


@dataclass(frozen=True)
class Kill:
    """What was killed, how many seconds after the session's start and with how many lines in the
    journals; `gone` seconds later nothing was left of it.
    """

    victim: Victim
    seconds: float
    lines: int
    gone: float


def promise(kept: object, words: str) -> None:
    """Raise unless a promise is kept."""
    if not kept:
        raise BrokenPromiseError(words)


def kill(session: Session, project: Project, victim: Victim, when: Moment) -> Kill | None:
    """Kill a victim at a moment, or later, as soon as there is one.

    None when the session ended before. Raises BrokenPromiseError if anything is left for too long.
    """
    time.sleep(when.seconds)
    becomes_true(lambda: session.over or project.lines() >= when.lines)
    becomes_true(lambda: session.over or session.processes(victim))
    seen = session.processes()
    target = next((one for one in seen if one.role == victim), None)
    if target is None:
        return None
    doomed = [one for one in seen if _falls_with(one, target)]
    lines = project.lines()
    target.kill()
    began = time.monotonic()
    left = becomes_true(lambda: nothing_left(session, doomed, target), 5 * THE_BOUND)
    gone = time.monotonic() - began
    promise(left and gone < THE_BOUND, f"{gone:.2f} s after the kill something was left")
    return Kill(victim, began - session.began, lines, gone)


def _falls_with(one: Seen, target: Seen) -> bool:
    """Whether a process must not outlive the target."""
    return one == target or target.role == "pytest" or one.parent == target.process.pid


def nothing_left(session: Session, doomed: Sequence[Seen], target: Seen) -> bool:
    """Whether the doomed are gone, and nobody holds their ports but servers in their place."""
    now = session.processes("guard", "server", "worker")
    if target.role == "pytest" and now:
        return False
    replaced = {one.port for one in now if one not in doomed}
    ports = {one.port for one in doomed if one.port is not None} - replaced
    return not any(one.runs for one in doomed) and all(is_free("127.0.0.1", p) for p in ports)


def check_resumed(project: Project, before: Mapping[Path, bytes], asked: int) -> int:
    """Hold the journals against what they were before the resume; how many were asked again."""
    now = project.journals()
    promise(all(now[p].startswith(old) for p, old in before.items()), "earlier lines have changed")
    answers = project.answers()
    promise(set(answers.values()) == {1}, "a trial was answered twice")
    promise(len(answers) == asked, f"{asked} trials and {len(answers)} answers")
    rows = project.rows("predictions")
    promise(len({row["trial_id"] for row in rows}) == len(rows) == asked, "rows are not trials")
    promise(all(row["outcome"] != "failure" for row in rows), "a failure is left")
    return project.lines() - sum(old.count(b"\n") for old in before.values())


def check_manifest(project: Project) -> None:
    """Every model that has answered is in the manifest, with its weights and what served it."""
    known = {model["name"]: model for model in project.manifest()["models"]}
    for model in {trial.split("::")[1].split("/")[0] for trial in project.answers()}:
        facts = known.get(model, {})
        for key in ("digest", "server", "template_digest", "slots", "context"):
            promise(facts.get(key), f"{model} has answered before its {key} was written down")


@dataclass
class Loop:
    """The rounds and what they showed."""

    items: int
    draw: random.Random
    kills: list[Kill] = field(default_factory=list)
    broken: int = 0

    @property
    def trials(self) -> int:
        """How many there are in a run."""
        return self.items * len(MODELS)

    def round(self, number: int, victim: Victim, root: Path) -> None:
        """One round in a folder of its own, and its line."""
        project = Project(root)
        project.suite(items=shipped("arithmetic", self.items))
        workers = ("-n", "2") if victim == "worker" or self.draw.random() < 0.5 else ()
        try:
            words = self._round(project, victim, workers)
        except (BrokenPromiseError, subprocess.TimeoutExpired) as broken:
            self.broken += 1
            words = f"BROKEN: {broken}; see {root}"
        else:
            shutil.rmtree(root, ignore_errors=True)
        finally:
            project.end()
        print(f"round {number}: {victim} {' '.join(workers)}: {words}", flush=True)

    def _round(self, project: Project, victim: Victim, workers: tuple[str, ...]) -> str:
        session = project.start(*workers)
        done = kill(session, project, victim, self._moment())
        status = session.wait()
        promise(becomes_true(lambda: not session.processes(), THE_BOUND), "something is left")
        if done is None:
            return "over too early"
        self.kills.append(done)
        before = project.journals()
        resume = ["--llm-resume", "last"] if project.has_run else []
        if resume:
            check_manifest(project)
        again, text = project.run(*workers, *resume)
        promise(again == 0, f"the resumed run ended with {again}: {text[-300:]}")
        more = check_resumed(project, before, self.trials)
        return (
            f"killed after {done.seconds:.2f} s with {done.lines} answered, gone after "
            f"{done.gone:.3f} s, exit status {status}; resumed, {more} asked, ok"
        )

    def _moment(self) -> Moment:
        """While answers come in, mostly; sometimes while things start."""
        if self.draw.random() < 0.25:
            return Moment(self.draw.uniform(0, STARTING), 0)
        return Moment(0, self.draw.randrange(1, self.trials))

    def summary(self) -> str:
        """What the rounds showed, in a line for each victim and one for all."""
        lines = []
        for victim in VICTIMS:
            gone = [kill.gone for kill in self.kills if kill.victim == victim]
            if gone:
                lines.append(f"{victim}: {len(gone)} killed, at worst {max(gone):.3f} s until gone")
        during = sum(0 < kill.lines < self.trials for kill in self.kills)
        lines.append(
            f"{len(self.kills)} kills, {during} of them while answers came in; "
            f"{self.broken} promises broken"
        )
        return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and print what they showed; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--victim", choices=VICTIMS, help="default: each in turn")
    parser.add_argument("--items", type=int, default=100, help="of each of the two models")
    parser.add_argument("--seed", type=int, default=None, help="of the moments")
    options = parser.parse_args(arguments)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"{options.rounds} rounds, seed {seed}", flush=True)
    loop = Loop(options.items, random.Random(seed))
    folder = Path(tempfile.mkdtemp(prefix="kill-loop-"))
    for number in range(1, options.rounds + 1):
        victim = options.victim or VICTIMS[number % len(VICTIMS)]
        loop.round(number, victim, folder / str(number))
    print(loop.summary())
    if not loop.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if loop.broken else 0


if __name__ == "__main__":
    sys.exit(main())
