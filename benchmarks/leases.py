"""How long a process takes to find a shared server that runs: python benchmarks/leases.py [COUNT].

64 plain processes are spawned at once and ask for the same model. The first starts it, the others
find it. Then, while all hold it, each asks again: one after another, and all at the same moment,
which measures the machine as well: there, 64 processes want its few cores. Times are taken inside
the process and hold everything from the spec to the url; importing our modules does not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from lines import Line

from pytest_llmeval.servers.identity import Identity, identity_of
from pytest_llmeval.servers.sharing import shared
from pytest_llmeval.servers.spec import ServerSpec

MODEL = Path(__file__).resolve().parents[1] / "models" / "tiny-s.gguf"
COUNT = 64
ATTACH_MS = 50.0
GONE_SECONDS = 2.0


class Asker:
    """A process that asks for the server whenever it is told to."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--asker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def told(self) -> dict[str, float | str]:
        """What it says next."""
        assert self._process.stdout is not None
        said: dict[str, float | str] = json.loads(self._process.stdout.readline())
        return said

    def tell(self) -> None:
        """Have it ask again."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Kill it: nobody lets go."""
        self._process.kill()
        self._process.communicate()


def ask(folder: Path) -> None:
    """What the processes do."""
    spec = ServerSpec("tiny-s", "embedded", MODEL, 2, 256, folder, threads=1)
    with ExitStack() as held:
        while True:
            began = time.perf_counter()
            server = held.enter_context(shared(spec, folder, get))
            took = 1000 * (time.perf_counter() - began)
            print(
                json.dumps({"ms": took, "url": server.url, "guard": server.guard_pid}), flush=True
            )
            sys.stdin.readline()


def get(url: str, _api_key: str | None) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, answer.read()


def lines(count: int) -> Iterator[Line]:
    """The figures, each with its goal."""
    with tempfile.TemporaryDirectory(prefix="llmeval-leases-") as folder:
        askers = [Asker(Path(folder)) for _ in range(count)]
        guard = None
        try:
            first = [asker.told() for asker in askers]
            (log,) = Path(folder).glob("*/server.log")
            guard = identity_of(int(first[0]["guard"]))
            starts = log.read_text(encoding="utf-8", errors="replace").count("embedded: listening")
            servers = len({asked["url"] for asked in first})
            yield Line(
                f"{count} processes ask for one model: starts / servers",
                f"{starts} / {servers}",
                "1 / 1",
                starts == servers == 1,
            )
            yield _attached("one after another", [_again(asker) for asker in askers])
            for asker in askers:
                asker.tell()
            yield _attached("all at once", [float(asker.told()["ms"]) for asker in askers])
        finally:
            for asker in askers:
                asker.end()
        assert guard is not None
        yield _gone(guard)


def _again(asker: Asker) -> float:
    asker.tell()
    return float(asker.told()["ms"])


def _attached(how: str, took: Sequence[float]) -> Line:
    ordered = sorted(took)
    middle, high = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]
    figure = f"p50 {middle:.1f} ms, p95 {high:.1f} ms"
    return Line(f"a running server is found, {how}", figure, "p95 <= 50 ms", high <= ATTACH_MS)


def _gone(guard: Identity) -> Line:
    """Wait for the end of the guard, which sees to that of the server first."""
    began = time.perf_counter()
    while guard.lives():
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    what = "nothing is left after the last was killed"
    return Line(what, f"{seconds:.2f} s", "<= 2 s", seconds <= GONE_SECONDS)


def main() -> None:
    """Print every figure beside its goal."""
    if sys.argv[1:2] == ["--asker"]:
        ask(Path(sys.argv[2]))
        return
    for line in lines(int(sys.argv[1]) if sys.argv[1:] else COUNT):
        line.show(judged=True)


if __name__ == "__main__":
    main()
