"""Kill pytest, a guard, a worker or a server at random moments of real runs, and see what is left.

    python tools/kill_loop.py --rounds 100 [--victim guard] [--seed 7]

A round starts `pytest --llm-config` on the two shipped models in a folder of its own and ends one
of its processes by `kill -9`. Two seconds later no server process and no held port may be left of
what was killed; `--llm-resume last` must end with one prediction for each trial, and ask nothing
again that was answered. One line a round; the exit status is 1 if one of them broke the promise.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_llmeval.servers.ports import is_free
from tools.real_runs import MODELS, ROLES, Project, Role, Seen, Session, becomes_true, shipped

STARTING = 4.0
"""Seconds that a session takes to its first answer, on a slow machine."""

THE_BOUND = 2.0
"""Seconds until nothing is left, as the README promises them."""


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

    victim: Role
    seconds: float
    lines: int
    gone: float


def promise(kept: object, words: str) -> None:
    """Raise unless a promise is kept."""
    if not kept:
        raise BrokenPromiseError(words)


def kill(
    session: Session, project: Project, victim: Role, when: Moment, draw: random.Random
) -> Kill | None:
    """Kill one of the victims at a moment, or later, as soon as there is one.

    None when the session ended before. Raises BrokenPromiseError if anything is left for too long.
    """
    time.sleep(when.seconds)
    becomes_true(lambda: session.over or project.lines() >= when.lines)
    becomes_true(lambda: session.over or session.processes(victim))
    seen = session.processes()
    candidates = [one for one in seen if one.role == victim]
    if not candidates:
        return None
    target = draw.choice(candidates)
    doomed = [one for one in seen if _falls_with(one, target)]
    lines = project.lines()
    target.kill()
    began = time.monotonic()
    while left := what_is_left(session, doomed, target):
        promise(time.monotonic() - began < THE_BOUND, f"{THE_BOUND} s after the kill: {left}")
        time.sleep(0.005)
    gone = time.monotonic() - began
    return Kill(victim, began - session.began, lines, gone)


def _falls_with(one: Seen, target: Seen) -> bool:
    """Whether a process must not outlive the target."""
    return one == target or target.role == "pytest" or one.parent == target.process.pid


def what_is_left(session: Session, doomed: Sequence[Seen], target: Seen) -> str:
    """Which of the doomed, and which of their ports, are still there; "" when none is.

    A server that takes the place of a lost one may have its port. Workers end by themselves: xdist
    gives them five seconds when their controller is gone.
    """
    now = session.processes("guard", "server")
    left = [one for one in now if one in doomed or target.role == "pytest"]
    replaced = {one.port for one in now if one not in left}
    ports = {one.port for one in doomed if one.port is not None} - replaced
    held = [port for port in sorted(ports) if not is_free("127.0.0.1", port)]
    words = [f"{one.role} {one.process.pid}" for one in left] + [f"port {port}" for port in held]
    return ", ".join(words)


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

    def round(self, victim: Role, root: Path) -> None:
        """One round in a folder of its own, and its line."""
        project = Project(root)
        project.suite(items=shipped("arithmetic", self.items))
        workers = ("-n", "2") if victim == "worker" or self.draw.random() < 0.5 else ()
        options = (*workers, "--llm-parts", str(self.draw.randint(1, 3)))
        try:
            words = self._round(project, victim, options)
        except (BrokenPromiseError, subprocess.TimeoutExpired) as broken:
            self.broken += 1
            words = f"BROKEN: {broken}; see {root}"
        else:
            shutil.rmtree(root, ignore_errors=True)
        finally:
            project.end()
        number = len(self.kills) + self.broken
        print(f"round {number}: {' '.join((victim, *options))}: {words}", flush=True)

    def _round(self, project: Project, victim: Role, options: tuple[str, ...]) -> str:
        session = project.start(*options)
        done = kill(session, project, victim, self._moment(), self.draw)
        status = session.wait()
        promise(becomes_true(lambda: not session.processes("guard", "server")), "a server is left")
        promise(becomes_true(lambda: not session.processes()), "a worker is left")
        if done is None:
            promise(status == 0, f"undisturbed, it ended with {status}: {session.text[-300:]}")
            return "it was over too early, another round takes its place"
        before = project.journals()
        resume = ["--llm-resume", "last"] if project.has_run else []
        if resume:
            check_manifest(project)
        again, text = project.run(*options, *resume)
        promise(again == 0, f"the resumed run ended with {again}: {text[-300:]}")
        more = check_resumed(project, before, self.trials)
        self.kills.append(done)
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
        for victim in ROLES:
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
    parser.add_argument("--victim", choices=ROLES, help="default: each in turn")
    parser.add_argument("--items", type=int, default=100, help="of each of the two models")
    parser.add_argument("--seed", type=int, default=None, help="of the moments")
    options = parser.parse_args(arguments)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"{options.rounds} rounds, seed {seed}", flush=True)
    loop = Loop(options.items, random.Random(seed))
    folder = Path(tempfile.mkdtemp(prefix="kill-loop-"))
    while len(loop.kills) + loop.broken < options.rounds:
        victim = options.victim or ROLES[len(loop.kills) % len(ROLES)]
        loop.round(victim, folder / uuid.uuid4().hex)
    print(loop.summary())
    if not loop.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if loop.broken else 0


if __name__ == "__main__":
    sys.exit(main())
