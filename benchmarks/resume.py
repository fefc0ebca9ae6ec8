"""How long a run of many answered trials takes to go on.

    python benchmarks/resume.py [TRIALS]

A run on the fake engine answers every trial but the last, and is killed. Then it is resumed, and
two moments are taken from the start of pytest's process: when it says what it found, and when the
one trial that was left has been answered. Beside them, what pytest alone takes to collect as many
parametrized tests: seconds depend on the machine, their ratio hardly.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from lines import Line
from sessions import write_project

TRIALS = 100_000

CONFIG = """\
models:
  m: {engine: fake, slots: 64}
sampling: {temperature: 0, max_tokens: 8, seed: 7}
"""

PARAMETRIZED = """\
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_one(number): pass
"""


def session(project: Path, *options: str) -> subprocess.Popen[str]:
    """Pytest with this evaluation; its output in a pipe."""
    command = [sys.executable, "-u", "-m", "pytest", "-p", "no:randomly", "-q"]
    command += ["--llm-config", "local.yaml", *options]
    return subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def make_run(project: Path, trials: int) -> Path:
    """A run that was killed before its last answer; its journal."""
    said, _ = session(project).communicate()
    (journal,) = project.glob("runs/*/*/parts/part-0001.results.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    if len(lines) != trials:
        raise RuntimeError(f"{len(lines)} of {trials} trials were answered: {said[-2000:]}")
    journal.write_bytes(b"".join(lines[:-1]))
    path = journal.parents[2] / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "exit_reason": None}), encoding="utf-8")
    return journal


def resume(project: Path, journal: Path) -> tuple[float, float, float, int]:
    """Seconds until it says what it found, until the last trial is answered, until it has ended;
    and the most memory it took, in bytes.
    """
    size = journal.stat().st_size
    began = time.perf_counter()
    process = session(project, "--llm-resume", "last")
    assert process.stdout is not None
    watched, memory = psutil.Process(process.pid), 0
    for line in process.stdout:
        if line.startswith("llmeval: going on"):
            break
    found = time.perf_counter() - began
    while journal.stat().st_size == size and process.poll() is None:
        time.sleep(0.005)
    answered = time.perf_counter() - began
    while process.poll() is None:
        with_children = watched.memory_info().rss if watched.is_running() else 0
        memory = max(memory, with_children)
        try:
            process.communicate(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    return found, answered, time.perf_counter() - began, memory


def plain_collection(folder: Path, tests: int) -> float:
    """Seconds that pytest takes, without this package, to collect that many parametrized tests."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_many.py").write_text(PARAMETRIZED.format(count=tests), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:llmeval"]
    began = time.perf_counter()
    subprocess.run(
        [*command, "-q", "--collect-only"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def lines(trials: int) -> Iterator[Line]:
    """Make the run, resume it, and give the three moments, the memory, and what to compare with."""
    with tempfile.TemporaryDirectory(prefix="llmeval-resume-") as folder:
        project = write_project(Path(folder) / "project", trials, port=0)
        (project / "local.yaml").write_text(CONFIG, encoding="utf-8")
        found, answered, ended, memory = resume(project, make_run(project, trials))
        alone = plain_collection(Path(folder) / "plain", trials)
    what = f"resume {trials:,} trials but one"
    yield Line(f"{what}: says what it found", f"{found:.1f} s", "<= 10 s", found <= 10)
    yield Line(f"{what}: the last one is answered", f"{answered:.1f} s", "<= 10 s", answered <= 10)
    yield Line(
        f"{what}: answered / pytest alone collects as many tests",
        f"{answered / alone:.2f} (of {alone:.1f} s)",
        "",
        reached=True,
    )
    written = f"{ended:.1f} s, {memory / 2**20:,.0f} MiB"
    yield Line(f"{what}: all is written", written, "", reached=True)


if __name__ == "__main__":
    for each in lines(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS):
        each.show(judged=True)
