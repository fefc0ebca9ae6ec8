"""What passing through the front door of llama-orch costs, beside asking its server directly.

    python benchmarks/front_door.py [--requests 4000]

The stub is the server, the bare client asks, and the front door is a process of its own. CPU is the
difference between two sizes, which leaves start-up out; slots are compared by turns, so that a
machine that slows down does so for both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from bare_client import bare, sums
from lines import Line
from sessions import SLOTS, stub_server, stub_stats

from pytest_llmeval.orchestrator.config import InstanceConfig, ModelConfig
from pytest_llmeval.orchestrator.front_door.door import open_front_door
from pytest_llmeval.orchestrator.views import InstanceDetail, InstanceView, Stream

CPU_GOAL = 1.0
"""Milliseconds of CPU that a request may cost the front door."""

FULL_GOAL = 0.98
"""How busy slots are through the front door, as a share of how busy they are without."""

PIECES = 16
"""Of a streamed answer."""


class OneInstance:
    """The stub as an instance that somebody has started (`Instances`)."""

    def __init__(self, port: int) -> None:
        self._view = InstanceView(
            name="stub",
            wanted="up",
            health="healthy",
            detail="",
            model="stub.gguf",
            backend="cpu",
            device=None,
            slots=SLOTS,
            aliases=(),
            pid=1,
            port=port,
            url=f"http://127.0.0.1:{port}",
        )

    def names(self) -> tuple[str, ...]:
        """Its name."""
        return ("stub",)

    def overview(self) -> tuple[InstanceView, ...]:
        """It alone."""
        return (self._view,)

    def view(self, name: str) -> InstanceView:
        """Always the same."""
        del name
        return self._view

    up = down = restart = reset = check = view

    def config(self, name: str) -> InstanceConfig:
        """The least that is one."""
        del name
        return InstanceConfig(model=ModelConfig(path="stub.gguf"))

    def describe(self, name: str) -> InstanceDetail:
        """Not asked for."""
        raise NotImplementedError(name)

    def log(self, name: str, stream: Stream) -> Path:
        """Not asked for."""
        raise NotImplementedError(name, stream)


async def serve(port: int) -> None:
    """Run a front door before the stub at a port until killed; says its own port."""
    door = await open_front_door(OneInstance(port), port=0)
    print(json.dumps({"port": door.port}), flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def front_door(port: int) -> Iterator[tuple[int, psutil.Process]]:
    """The front door in a process of its own: its port, and the process."""
    command = [sys.executable, __file__, "--door-of", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"], psutil.Process(process.pid)
        finally:
            process.kill()


def bodies(count: int, *, streamed: bool) -> list[bytes]:
    """Sums that name their model."""
    asked = [json.loads(body) | {"model": "stub", "stream": streamed} for body in sums(count)]
    return [json.dumps(body).encode("ascii") for body in asked]


def cpu_of(process: psutil.Process, port: int, asked: Sequence[bytes], connections: int) -> float:
    """Seconds of CPU that a process spends while everything is asked at a port."""
    before = process.cpu_times()
    asyncio.run(bare(port, asked, connections))
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system)


def cost(requests: int, *, streamed: bool, latency_ms: float, connections: int) -> Line:
    """The CPU of one more request."""
    with stub_server(latency_ms, PIECES) as stub, front_door(stub) as (port, process):
        less = bodies(requests // 5, streamed=streamed)
        more = bodies(requests, streamed=streamed)
        cpu_of(process, port, less, connections)  # warm
        spent = [cpu_of(process, port, asked, connections) for asked in (less, more)]
    marginal = 1000 * (spent[1] - spent[0]) / (len(more) - len(less))
    kind = f"streamed in {PIECES} pieces" if streamed else "whole"
    what = f"front door, {latency_ms:g} ms, {kind}: CPU a request"
    return Line(what, f"{marginal:.3f} ms", f"<= {CPU_GOAL:g}", marginal <= CPU_GOAL)


def full_slots(requests: int, times: int, connections: int) -> Line:
    """How busy the slots are, through the front door and directly, by turns."""
    asked = bodies(requests, streamed=False)
    shares: dict[int, list[float]] = {}
    with stub_server(20) as stub, front_door(stub) as (door, _):
        for port in [stub, door] * times:
            stub_stats(stub, reset=True)
            asyncio.run(bare(port, asked, connections))
            shares.setdefault(port, []).append(stub_stats(stub)["utilisation"])
        direct, through = (statistics.median(shares[port]) for port in (stub, door))
    ratio = through / direct
    what = f"front door, 20 ms, {connections} clients: slots busy / directly"
    figure = f"{ratio:.3f} ({through:.3f} / {direct:.3f})"
    return Line(what, figure, f">= {FULL_GOAL}", ratio >= FULL_GOAL)


def lines(requests: int, times: int) -> Iterator[Line]:
    """Every figure beside its goal."""
    yield cost(requests, streamed=False, latency_ms=0, connections=SLOTS)
    yield cost(requests, streamed=False, latency_ms=20, connections=4 * SLOTS)
    yield cost(requests, streamed=True, latency_ms=20, connections=4 * SLOTS)
    yield full_slots(requests // 4, times, SLOTS + 1)
    yield full_slots(requests // 4, times, 4 * SLOTS)


def main() -> None:
    """Print every figure, or be the front door that is measured."""
    parser = argparse.ArgumentParser(description="What the front door costs.")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--door-of", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.door_of is not None:
        asyncio.run(serve(given.door_of))
        return
    for line in lines(given.requests, 5):
        line.show(judged=True)


if __name__ == "__main__":
    main()
