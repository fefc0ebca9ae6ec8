"""Disturb runs at random points, resume them, and hold what they leave against undisturbed ones.

    python tools/kill_points.py --rounds 1000 --seed 1 [--harm torn] [--world real]

A round evaluates one of four worlds (the fake engine with repeats, judges and failures, and with a
suite that stops early; the stub server of the benchmarks; a real server with `exact: true`), with
or without xdist's workers, and harms it once or twice: `kill -9` for pytest, for a worker or for
the server; a disk that is full from some byte on; a kill in the middle of a write, after some byte;
a journal whose last line is cut, or followed by what a loss of power leaves. It is resumed until it
is through. Then every trial must have one answer, nothing may be left running, and all artifacts
must be those of an undisturbed run, but for times (`same_run.py`). One line for each round that
broke a promise; the exit status is 1 if one did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import psutil

from tools.forked_pytest import Disk, ForkedSession, get_ready, within
from tools.kill_worlds import WORLDS, Stub
from tools.same_run import differences, doubled

Harm = Literal["pytest", "worker", "server", "torn", "full", "byte"]
"""What is done to a run: a kill by time, of whom; a torn tail; a full disk; a kill by bytes."""

HARMS: tuple[Harm, ...] = get_args(Harm)

SHARES = {"fake": 0.45, "stopping": 0.15, "stub": 0.32, "real": 0.08}
"""How often each world is drawn: sessions with real servers take longer."""


TOLD = 100
"""After so many rounds each it is told how far it is."""


class LostPromiseError(Exception):
    """A round that did not hold what is promised; its text says what."""


def promise(kept: object, words: str) -> None:
    """Raise unless a promise is kept."""
    if not kept:
        raise LostPromiseError(words)


@dataclass(frozen=True)
class Plan:
    """A round: what is evaluated, how, and which harms come one after the other."""

    world: str
    options: tuple[str, ...]
    harms: tuple[Harm, ...]

    def __str__(self) -> str:
        return " ".join((self.world, *self.options, "+".join(self.harms)))


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: its folder, and how long and how many bytes its session took."""

    run: Path
    seconds: float
    bytes: int


@dataclass
class Points:
    """The rounds and what they showed."""

    folder: Path
    draw: random.Random
    stub: Stub
    references: dict[tuple[str, ...], Reference] = field(default_factory=dict)
    harmed: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def plan(self, world: str | None, harm: Harm | None) -> Plan:
        """Draw a round."""
        name = world or self.draw.choices([*SHARES], [*SHARES.values()])[0]
        possible = [h for h in HARMS if h != "server" or WORLDS[name].has_server]
        harms = [harm if harm is not None else self.draw.choice(possible)]
        workers = harms[0] == "worker" or self.draw.random() < 0.25
        options = ["-n", "2"] if workers else []
        if self.draw.random() < 0.4:
            options += ["--llm-parts", "3"]
        if self.draw.random() < 0.25:
            harms.append(self.draw.choice([other for other in possible if other != "worker"]))
        return Plan(name, tuple(options), tuple(harms))

    def round(self, number: int, plan: Plan) -> None:
        """One round in a folder of its own; a line if it breaks a promise."""
        root = self.folder / f"round-{number}"
        try:
            self._round(root, plan)
        except (LostPromiseError, TimeoutError) as broken:
            self.broken.append(f"round {number}: {plan}: {broken}; see {root}")
            print(self.broken[-1], flush=True)
        else:
            shutil.rmtree(root, ignore_errors=True)
        self.harmed[f"{plan.world}, {'+'.join(plan.harms)}"] += 1

    def _round(self, root: Path, plan: Plan) -> None:
        reference = self._reference(plan)
        WORLDS[plan.world].write(root, self.stub.port)
        for harm in plan.harms:
            self._disturb(root, plan, harm, reference)
        session = ForkedSession(root, self._arguments(root, plan))
        status = session.wait()
        self._see_nothing_left(session)
        run = _newest_run(root)
        told = session.text[-1500:]
        promise(status in {0, 1} and run is not None, f"resumed, it ended with {status}: {told}")
        assert run is not None
        twice = doubled(run)
        promise(not twice, f"answered twice: {twice[:5]}")
        found = differences(
            reference.run,
            run,
            decided_only=WORLDS[plan.world].stops,
            asked_again="server" in plan.harms,
        )
        promise(not found, f"unlike an undisturbed run: {found[:4]} ({len(found)} in all)")

    def _arguments(self, root: Path, plan: Plan) -> list[str]:
        resume = ["--llm-resume", "last"] if _newest_run(root) else []
        return ["-p", "no:randomly", "-q", "--llm-config", "local.yaml", *plan.options, *resume]

    def _reference(self, plan: Plan) -> Reference:
        """An undisturbed run of this world, made when it is first needed. xdist changes nothing,
        so one is enough; its time is another.
        """
        key = (plan.world, *plan.options)
        if key not in self.references:
            root = self.folder / f"undisturbed-{len(self.references)}"
            WORLDS[plan.world].write(root, self.stub.port)
            session = ForkedSession(root, self._arguments(root, plan))
            status = session.wait()
            run = _newest_run(root)
            promise(status in {0, 1} and run, f"undisturbed, it ended with {status}")
            assert run is not None
            size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
            self.references[key] = Reference(run, time.monotonic() - session.began, size)
        return self.references[key]

    # Harms ----------------------------------------------------------------------------------------

    def _disturb(self, root: Path, plan: Plan, harm: Harm, reference: Reference) -> None:
        disk = None
        if harm in {"full", "byte"}:
            room = self.draw.randrange(round(1.1 * reference.bytes))
            disk = Disk(root / "runs", room, kills=harm == "byte")
        session = ForkedSession(root, self._arguments(root, plan), disk)
        moment = self.draw.uniform(0, 1.05 * reference.seconds)
        if disk is None:
            within(moment, lambda: session.over)
        if harm in {"pytest", "torn"}:
            session.kill()
        elif harm == "worker":
            self._kill_one(session.started(_is_worker))
        elif harm == "server" and plan.world == "stub":
            self.stub.die_and_come_back()
        elif harm == "server":
            self._kill_one(session.started(_is_server))
        status = session.wait()
        self._see_nothing_left(session)
        if harm == "full" and status > 1:
            told = session.text[-1500:]
            promise("No space left on device" in told, f"of a full disk it said: {told}")
        if harm == "torn":
            self._tear(root)

    def _kill_one(self, candidates: Sequence[psutil.Process]) -> None:
        if candidates:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                self.draw.choice(candidates).kill()

    def _see_nothing_left(self, session: ForkedSession) -> None:
        gone = within(20, lambda: not session.started())
        left = [] if gone else [process.info["cmdline"] for process in session.started()]
        session.end()
        promise(gone, f"left running: {left}")

    def _tear(self, root: Path) -> None:
        """What a kill or a loss of power in mid-write leaves of a journal, and beside it."""
        journals = [p for p in root.glob("runs/*/*/parts/*.results.jsonl") if p.stat().st_size]
        for stray in root.glob("runs/*/manifest.json"):
            stray.with_name(".manifest.json.0123abcd.tmp").write_bytes(b'{"id": "')
        if not journals:
            return
        path = self.draw.choice(sorted(journals))
        content = path.read_bytes()
        last = content[:-1].rfind(b"\n") + 1
        cut = self.draw.randrange(last, len(content))
        tail = b"\0" * self.draw.randrange(1, 5000) if self.draw.random() < 0.3 else b""
        path.write_bytes(content[:cut] + tail)

    def summary(self) -> Iterator[str]:
        """How often what was harmed, and how many promises were broken."""
        for what, count in sorted(self.harmed.items()):
            yield f"{count:5} {what}"
        yield (
            f"{self.harmed.total():,} runs disturbed at random points; {len(self.broken)} lost, "
            f"doubled or changed anything"
        )


def _newest_run(root: Path) -> Path | None:
    runs = sorted(root.glob("runs/*/manifest.json"), key=lambda path: (len(str(path)), str(path)))
    return runs[-1].parent if runs else None


def _is_worker(command: Sequence[str]) -> bool:
    return "sys.stdin.readline" in "".join(command)


def _is_server(command: Sequence[str]) -> bool:
    return "--port" in command and not any(part.endswith("guard.py") for part in command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and print what they showed; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--harm", choices=HARMS, help="default: any")
    parser.add_argument("--world", choices=[*WORLDS], help="default: any")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kill-points-"))
    began = time.monotonic()
    get_ready()
    points = Points(folder, random.Random(options.seed), Stub())
    points.stub.start()
    try:
        for number in range(1, options.rounds + 1):
            points.round(number, points.plan(options.world, options.harm))
            if number % TOLD == 0:
                print(f"{number:,} rounds, {len(points.broken)} broken", flush=True)
    finally:
        points.stub.end()
    for line in points.summary():
        print(line)
    print(json.dumps({"seed": options.seed, "seconds": round(time.monotonic() - began)}))
    if not points.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if points.broken else 0


if __name__ == "__main__":
    sys.exit(main())
