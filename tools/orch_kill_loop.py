"""Kill a command, the daemon, a guard or a server of llama-orch at random, and see what is left.

    python tools/orch_kill_loop.py --rounds 200 [--victim daemon] [--seed 7]

All rounds are in one home with three instances. A round has a command at work, or nobody, and ends
one process by `kill -9` at a random moment. Two seconds later nothing may be left of what was
killed: no server, no guard, no held port. Then the home must come to what is wanted by itself (a
killed daemon is started again first): every instance that is wanted has one server, the others
none, the state names exactly those that run, and no request is left without an outcome. One line a
round; the exit status is 1 if one of them broke the promise.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_llmeval.servers.ports import is_free
from tools.kill_loop import BrokenPromiseError, promise
from tools.orch_homes import ORCH_ROLES, OrchHome, OrchProcess, OrchRole
from tools.real_runs import becomes_true

NAMES = ("one", "two", "three")

THE_BOUND = 2.0
"""Seconds until nothing is left, as the manual promises them."""

SETTLING = 60.0
"""Seconds for all to be as it is wanted: starts and restarts, on a machine that may be busy."""

COMMAND_SECONDS = 0.8
"""About how long a command is at work: a moment within them hits any part of it."""


@dataclass(frozen=True)
class OrchKill:
    """Who was killed; `gone` seconds later nothing was left of it, `settled` after all was well."""

    victim: OrchRole
    gone: float
    settled: float


@dataclass
class OrchLoop:
    """The rounds and what they showed."""

    home: OrchHome
    draw: random.Random
    kills: list[OrchKill] = field(default_factory=list)
    broken: int = 0

    def round(self, victim: OrchRole) -> None:
        """One round, and its line."""
        action = self._action(victim)
        try:
            words = self._round(victim, action)
        except (BrokenPromiseError, subprocess.TimeoutExpired) as broken:
            self.broken += 1
            words = f"BROKEN: {broken}"
        number = len(self.kills) + self.broken
        print(
            f"round {number}: {victim} during {' '.join(action) or 'nothing'}: {words}", flush=True
        )

    def _action(self, victim: OrchRole) -> tuple[str, ...]:
        """What a command does meanwhile; a command that is to be killed does something."""
        name = self.draw.choice(NAMES)
        acts: list[tuple[str, ...]] = [("up", name), ("restart", name), ("down", name)]
        acts += [("up", *NAMES), ("daemon", "stop"), ("daemon", "start")]
        quiet: list[tuple[str, ...]] = [] if victim == "cli" else [()] * len(acts)
        return self.draw.choice([*acts, *quiet])

    def _round(self, victim: OrchRole, action: tuple[str, ...]) -> str:
        if not self.home.processes("server"):
            self.home.run("up", *NAMES)
        command = self.home.start(*action) if action else None
        longest = COMMAND_SECONDS / 2 if victim == "cli" else COMMAND_SECONDS
        time.sleep(self.draw.uniform(0, longest if action else 0.1))
        target = self._pick(victim)
        if target is None:
            self._settle(command)
            return "nobody to kill"
        doomed = [one for one in self.home.processes() if _falls_with(one, target)]
        target.kill()
        gone = self._see_gone(doomed)
        settled = self._settle(command)
        self.kills.append(OrchKill(victim, gone, settled))
        return f"gone after {gone:.3f} s, all is well after {settled:.2f} s"

    def _pick(self, victim: OrchRole) -> OrchProcess | None:
        candidates = self.home.processes(victim)
        return self.draw.choice(candidates) if candidates else None

    def _see_gone(self, doomed: Sequence[OrchProcess]) -> float:
        """Wait until nothing is left of the doomed; after how many seconds."""
        began = time.monotonic()
        while left := self._what_is_left(doomed):
            promise(time.monotonic() - began < THE_BOUND, f"{THE_BOUND} s after the kill: {left}")
            time.sleep(0.005)
        return time.monotonic() - began

    def _what_is_left(self, doomed: Sequence[OrchProcess]) -> str:
        """Which of the doomed, and of their ports, are still there; "" when none is.

        The server that takes a lost one's place may have its port.
        """
        left = [repr(one) for one in doomed if one.lives] or self._orphans()
        ports = {one.port for one in doomed if one.port is not None}
        held = {port for port in ports if not is_free("127.0.0.1", port)}
        if held and not left:
            held -= {one.port for one in self.home.processes("server")}
        return ", ".join([*left, *(f"port {port}" for port in sorted(held))])

    def _orphans(self) -> list[str]:
        """Guards without a daemon and servers without a guard, whoever has started them when."""
        now = self.home.processes()
        owners = {one.pid for one in now if one.role in {"daemon", "guard"}}
        owned = [one for one in now if one.role in {"guard", "server"}]
        return [repr(one) for one in owned if one.parent not in owners and one.lives]

    # What must hold -------------------------------------------------------------------------------

    def _settle(self, command: subprocess.Popen[bytes] | None) -> float:
        """Wait until all is as it is wanted; after how many seconds. A command ends by itself."""
        began = time.monotonic()
        if command is not None:
            command.communicate(timeout=SETTLING)
        self._ask_again(command)
        status, text = self.home.run("daemon", "start")
        promise(status == 0, f"daemon start ended with {status}: {text}")
        if not becomes_true(lambda: not self._wrong(), SETTLING):
            raise BrokenPromiseError(f"after {SETTLING:.0f} s: {self._wrong()}")
        return time.monotonic() - began

    def _ask_again(self, command: subprocess.Popen[bytes] | None) -> None:
        """A start that was asked for by hand fails to the face of who asked, and stays in error."""
        failed = [row.name for row in self.home.state.rows() if row.health == "error"]
        if failed:
            told = command is not None and command.returncode != 0
            promise(told, f"in error, and nobody was told: {failed}")
            self.home.run("up", *failed)

    def _wrong(self) -> str:
        """What is not as it must be; "" when all is."""
        rows = {row.name: row for row in self.home.state.rows()}
        wanted = {name for name, row in rows.items() if row.wanted == "up"}
        unsaid = self.home.state.requests_after(0)
        if unsaid:
            return f"requests without an outcome: {unsaid}"
        unlike = [
            row
            for row in rows.values()
            if (row.health in {"healthy", "busy"}) != (row.name in wanted)
        ]
        if unlike:
            return f"not as wanted: {unlike}"
        running = {role: {one.pid for one in self.home.processes(role)} for role in ORCH_ROLES}
        said = {row.server.pid for row in rows.values() if row.server is not None}
        guards = {row.guard.pid for row in rows.values() if row.guard is not None}
        if running["server"] != said or running["guard"] != guards:
            return f"the state names servers {said}, guards {guards}; there are {running}"
        if len(running["daemon"]) != 1:
            return f"daemons: {running['daemon']}"
        return ""

    def finish(self) -> None:
        """End the daemon; nothing may be left then, and every port is free."""
        ports = [one.port for one in self.home.processes("server") if one.port is not None]
        status, text = self.home.run("daemon", "stop")
        promise(status == 0, f"daemon stop ended with {status}: {text}")
        promise(becomes_true(lambda: not self.home.processes(), THE_BOUND), "a process is left")
        promise(all(is_free("127.0.0.1", port) for port in ports), "a port is held")

    def summary(self) -> str:
        """What the rounds showed, in a line for each victim and one for all."""
        lines = []
        for victim in ORCH_ROLES:
            gone = [kill.gone for kill in self.kills if kill.victim == victim]
            if gone:
                lines.append(f"{victim}: {len(gone)} killed, at worst {max(gone):.3f} s until gone")
        settled = max((kill.settled for kill in self.kills), default=0.0)
        lines.append(
            f"{len(self.kills)} kills, at worst {settled:.2f} s until all was as wanted; "
            f"{self.broken} promises broken"
        )
        return "\n".join(lines)


def _falls_with(one: OrchProcess, target: OrchProcess) -> bool:
    """Whether a process must not outlive the target."""
    if one.pid == target.pid:
        return True
    if target.role == "daemon":
        return one.role in {"guard", "server"}
    return target.role == "guard" and one.parent == target.pid


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and print what they showed; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--victim", choices=ORCH_ROLES, help="default: any")
    parser.add_argument("--seed", type=int, default=None, help="of victims and moments")
    options = parser.parse_args(arguments)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"{options.rounds} rounds, seed {seed}", flush=True)
    draw = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="orch-kill-loop-"))
    loop = OrchLoop(OrchHome(folder, *NAMES), draw)
    try:
        loop.home.run("up", *NAMES)
        while len(loop.kills) + loop.broken < options.rounds:
            loop.round(options.victim or draw.choice(ORCH_ROLES))
        loop.finish()
    except BrokenPromiseError as broken:
        loop.broken += 1
        print(f"at the end: BROKEN: {broken}")
    finally:
        loop.home.end()
    print(loop.summary())
    if not loop.broken:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"see {folder}")
    return 1 if loop.broken else 0


if __name__ == "__main__":
    sys.exit(main())
