"""All benchmarks, side by side: python benchmarks/run.py [--smoke | --long].

Machines are shared and noisy, so what counts is the ratio to the bare client in the same run, and
CPU per trial as the difference between two sizes, which leaves start-up out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import front_door
import leases
import likelihood
import report
import resume
import scorers
import stopping
from bare_client import bare
from lines import Line
from sessions import (
    SLOTS,
    run_pytest,
    sent_bodies,
    stub_server,
    stub_stats,
    wall_of_last_run,
    write_project,
)

CONFIGURED = ["--llm-config", "local.yaml"]


def full_slots(base: Path, items: int, wall_goal: float) -> list[Line]:
    """20 ms latency: how busy the slots are, and the wall against the bare client's."""
    with stub_server(latency_ms=20) as port:
        folder = write_project(base / f"full-{items}", items, port)
        run_pytest(folder, CONFIGURED)
        busy = stub_stats(port)["utilisation"]
        stub_stats(port, reset=True)
        bare_wall = asyncio.run(bare(port, sent_bodies(folder), SLOTS + 1))
        bare_busy = stub_stats(port)["utilisation"]
    ratio = wall_of_last_run(folder) / bare_wall
    size = f"20 ms, {items:,} trials"
    return [
        Line(f"{size}: slots busy (bare {bare_busy:.3f})", f"{busy:.3f}", ">= 0.97", busy >= 0.97),
        Line(f"{size}: wall / bare client", f"{ratio:.3f}", f"<= {wall_goal}", ratio <= wall_goal),
    ]


def cost_per_trial(base: Path, small: int, large: int, memory_goal: int | None) -> list[Line]:
    """0 ms latency, scored and everything written: marginal CPU and memory."""
    with stub_server(latency_ms=0) as port:
        tiny = run_pytest(write_project(base / "tiny", 10, port), CONFIGURED)
        less = run_pytest(write_project(base / f"cost-{small}", small, port), CONFIGURED)
        more = run_pytest(write_project(base / f"cost-{large}", large, port), CONFIGURED)
    cpu = 1000 * (more.cpu - less.cpu) / (large - small)
    memory = (more.memory - tiny.memory) / 2**20
    goal = f"<= {memory_goal} MiB" if memory_goal else "linear"
    return [
        Line(f"0 ms, {small:,} to {large:,}: CPU a trial", f"{cpu:.3f} ms", "<= 0.40", cpu <= 0.40),
        Line(
            f"0 ms, {large:,} trials: memory above that of 10",
            f"{memory:.0f} MiB ({1024 * memory / large:.1f} KiB a trial)",
            goal,
            memory_goal is None or memory <= memory_goal,
        ),
    ]


def collecting(base: Path, items: int) -> list[Line]:
    """--collect-only: CPU an item."""
    none = run_pytest(write_project(base / "none", 1, 9), [*CONFIGURED, "--collect-only"])
    folder = write_project(base / f"collect-{items}", items, 9)
    many = run_pytest(folder, [*CONFIGURED, "--collect-only"])
    cpu = 1000 * (many.cpu - none.cpu) / items
    what = f"--collect-only, {items:,} items: CPU an item"
    return [Line(what, f"{cpu:.4f} ms", "<= 0.1", cpu <= 0.1)]


def idle(base: Path, times: int) -> list[Line]:
    """What the plugin adds to a session without --llm-config."""
    folder = write_project(base / "idle", 1, 9)
    (folder / "test_nothing.py").write_text("def test_nothing(): pass\n", encoding="utf-8")

    # Nobody's plugins but ours: those of the environment take a second, and their noise with it.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def wall(*arguments: str) -> float:
        began = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-q", *arguments, "test_nothing.py"]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    # Pairs, so that a machine that slows down in between does not count for one side only.
    added = [wall("-p", "pytest_llmeval.plugin") - wall() for _ in range(times)]
    milliseconds = 1000 * statistics.median(added)
    return [Line("idle plugin adds", f"{milliseconds:.1f} ms", "<= 25 ms", milliseconds <= 25)]


def scoring(rounds: int) -> list[Line]:
    """What judging a prediction takes, half of them short and half of about 1,000 characters."""
    lines = []
    for task, cost in scorers.costs(rounds):
        what = f"{task.scorer}: a prediction, short / long"
        figure = f"{cost.mean:.4f} ms ({cost.short:.4f} / {cost.long:.4f})"
        goal, reached = f"<= {scorers.GOAL}", cost.mean <= scorers.GOAL
        lines.append(Line(what, figure, *((goal, reached) if task.own else ("library", True))))
    return lines


def stopping_early(times: int) -> list[Line]:
    """What suites that stop early save, and how often they are wrong, at the worst of settings."""
    found = list(stopping.results(times))
    what, saved, _ = min(found, key=lambda each: each[1].saved)
    where, _, wrong = max(found, key=lambda each: each[2].decided)
    goals = f">= {100 * stopping.SAVED:g} %", f"<= {100 * stopping.ALPHA:g} %"
    return [
        Line(
            f"stop, {times:,} suites: not needed ({what})",
            f"{100 * saved.saved:.1f} %",
            goals[0],
            saved.saved >= stopping.SAVED,
        ),
        Line(
            f"stop: decided without effect ({where})",
            f"{100 * wrong.decided:.2f} %",
            goals[1],
            wrong.decided <= stopping.ALPHA,
        ),
    ]


def plan(mode: str, base: Path) -> list[Callable[[], list[Line]]]:
    """The benchmarks of a mode, in order."""
    if mode == "smoke":
        return [
            lambda: full_slots(base, 300, 1.5),
            lambda: cost_per_trial(base, 100, 600, None),
            lambda: collecting(base, 2000),
            lambda: idle(base, 3),
            lambda: list(report.lines(smoke=True)),
            lambda: scoring(3),
            lambda: stopping_early(200),
            lambda: list(likelihood.lines(5, ("tiny-s",))),
            lambda: list(leases.lines(8)),
            lambda: list(front_door.lines(200, 1)),
            lambda: list(resume.lines(500)),
        ]
    chosen: list[Callable[[], list[Line]]] = [
        lambda: full_slots(base, 1000, 1.05),
        lambda: full_slots(base, 10_000, 1.02),
        lambda: cost_per_trial(base, 1000, 10_000, 60),
        lambda: collecting(base, 100_000),
        lambda: idle(base, 31),
        lambda: list(report.lines(smoke=False)),
        lambda: scoring(200),
        lambda: stopping_early(10_000),
        lambda: list(likelihood.lines(likelihood.ITEMS)),
        lambda: list(leases.lines(leases.COUNT)),
        lambda: list(front_door.lines(4000, 5)),
        lambda: list(resume.lines(resume.TRIALS)),
    ]
    if mode == "long":
        chosen.append(lambda: cost_per_trial(base / "long", 10_000, 100_000, None))
    return chosen


def main() -> None:
    """Print every figure beside its goal; a goal that is missed is marked, and fails nothing."""
    parser = argparse.ArgumentParser(description="Speed side by side")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--smoke", action="store_true", help="small sizes: does everything run?")
    modes.add_argument("--long", action="store_true", help="100,000 trials as well")
    given = parser.parse_args()
    mode = "smoke" if given.smoke else "long" if given.long else "normal"
    with tempfile.TemporaryDirectory(prefix="llmeval-bench-") as base:
        for benchmark in plan(mode, Path(base)):
            for line in benchmark():
                line.show(judged=mode != "smoke")


if __name__ == "__main__":
    main()
