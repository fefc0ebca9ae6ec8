"""Pytest sessions to measure: a suite of sums, the stub server, and what a session used."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent

SLOTS = 8

CONFIG = """\
models:
  stub: {{engine: openai, url: 'http://127.0.0.1:{port}/v1', name: stub, slots: {slots}}}
sampling: {{temperature: 0, max_tokens: 8, seed: 7}}
"""

SUITE = """\
items: sums.jsonl
target: answer
prompt: "{{ a }} + {{ b }}"
score: numeric
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What a session took: CPU seconds of its process, and its largest resident memory in bytes."""

    cpu: float
    memory: int


@contextlib.contextmanager
def stub_server(latency_ms: float, pieces: int = 16) -> Iterator[int]:
    """The stub in a process of its own; gives its port."""
    command = [sys.executable, str(HERE / "stub.py"), "--port", "0"]
    command += ["--slots", str(SLOTS), "--latency-ms", str(latency_ms), "--pieces", str(pieces)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.kill()


def stub_stats(port: int, *, reset: bool = False) -> dict[str, Any]:
    """The stub's own counters since the last reset."""
    method, path = ("POST", "reset") if reset else ("GET", "stats")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method=method)
    with urllib.request.urlopen(request) as reply:
        stats: dict[str, Any] = json.loads(reply.read() or b"{}")
    return stats


def write_project(folder: Path, items: int, port: int) -> Path:
    """A project of one suite with `items` sums."""
    folder.mkdir(parents=True)
    (folder / "local.yaml").write_text(CONFIG.format(port=port, slots=SLOTS), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    suites = folder / "suites"
    suites.mkdir()
    (suites / "sums.yaml").write_text(SUITE, encoding="utf-8")
    with (suites / "sums.jsonl").open("w", encoding="utf-8", newline="\n") as handle:
        for number in range(items):
            a, b = number % 97, number % 89
            row = {"id": f"s{number:06}", "a": a, "b": b, "answer": str(a + b)}
            handle.write(json.dumps(row) + "\n")
    return folder


def run_pytest(folder: Path, arguments: Sequence[str]) -> Used:
    """Run pytest in a project; raises CalledProcessError with its output when it fails."""
    # What the package itself brings and nothing else: other plugins cost what they cost.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "pytest_llmeval.plugin"]
    command += ["-p", "no:cacheprovider", *arguments]
    log = folder / "pytest.log"
    with log.open("wb") as out:
        process = psutil.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        used = _watch(process)
    if process.returncode != 0:
        raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-3000:])
    return used


def _watch(process: psutil.Popen) -> Used:
    """Sample CPU time and memory until the process ends; the last sample is at most 50 ms old."""
    cpu, memory = 0.0, 0
    while True:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times, info = process.cpu_times(), process.memory_info()
            cpu = max(cpu, times.user + times.system)
            memory = max(memory, getattr(info, "peak_wset", info.rss))
        try:
            process.wait(timeout=0.05)
        except psutil.TimeoutExpired:
            continue
        return Used(cpu, memory)


def wall_of_last_run(folder: Path) -> float:
    """Seconds from the first request sent to the last answer journaled, by the run's own clock."""
    lines = [
        json.loads(line)
        for path in folder.glob("runs/*/*/parts/*.results.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    begin = min(line["llmeval"]["started"] for line in lines)
    ends = (line["llmeval"]["started"] + line["llmeval"]["total_ms"] / 1000 for line in lines)
    return float(max(ends) - begin)


def sent_bodies(folder: Path) -> list[bytes]:
    """The bodies that the run sent, for the bare client to send again."""
    return [
        json.dumps(json.loads(line)["body"]).encode("utf-8")
        for path in sorted(folder.glob("runs/*/*/parts/*.requests.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
