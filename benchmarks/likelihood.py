"""Are likelihoods through a server true? python benchmarks/likelihood.py [--smoke | --items N].

What the engine says of generated texts is held against all logits of the model, computed in process
by llama-cpp-python, and servers are held against each other. The exit status is 1 when a bound does
not hold. Needs llama-cpp-python with its llama-server (python tools/dev.py llama-cpp);
without them only the two ways of the embedded server are compared.

Two things could make a difference, the way of asking and llama.cpp's arithmetic. With weights and
cache in 32 bits only the first is left. With weights of 8 bits the activations are rounded to 8
bits too, so that a last digit (of another build, another batch, a cached prompt) can move single
tokens by tenths of a nat. There, means and choices are bounded across builds, and what a long
prompt, such as these models were not trained on, does to one and the same server is for scale.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from likelihood_tasks import Task, tasks
from lines import Line

from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.llama_server import LlamaServerEngine
from pytest_llmeval.records import Likelihood, Request

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("tiny-l", "tiny-s")
CONTEXT, ITEMS = 1024, 500


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least share of items with the same likeliest continuation; the most nats a token."""

    same: float = 0.995
    mean: float = 0.002
    largest: float | None = None


#: llama-server's attention in 32 bits.
EXACT = ("-ctk", "f32", "-ctv", "f32", "-fa", "off")

ACROSS, WITHIN, ROUNDED = Bounds(largest=0.03), Bounds(largest=0.01), Bounds()
"""Across builds of llama.cpp, within one, and across builds with weights of 8 bits."""

Values = list[list[list[float]]]
"""By item, continuation and token."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be asked. With one slot it is asked without its prompt cache."""

    program: tuple[str, ...]
    slots: int
    library: Path | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is computed, by servers and in process.

    `across` bounds what the embedded server, another build, says, and `within` what llama-server
    does; without them what is found is shown for scale.
    """

    name: str
    f32: bool = False
    long: bool = False
    attention: Literal["usual", "exact"] = "usual"
    across: Bounds | None = None
    within: Bounds | None = None


SETTINGS = (
    Setting("shipped", across=ROUNDED, within=WITHIN),
    Setting(
        "all f32, long",
        f32=True,
        long=True,
        attention="exact",
        across=ACROSS,
        within=WITHIN,
    ),
    Setting("shipped, long", long=True),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a server said, how long it took, and which share of the prompts came from its cache."""

    values: Values
    seconds: float
    cached: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two go apart: items with the same likeliest continuation; nats a token."""

    same: float
    mean: float
    largest: float


def agreement(first: Values, second: Values) -> Agreement:
    """Hold two sets of likelihoods against each other, token by token."""
    apart = [
        abs(one - other)
        for items in zip(first, second, strict=True)
        for texts in zip(*items, strict=True)
        for one, other in zip(*texts, strict=True)
    ]
    same = [_likeliest(one) == _likeliest(other) for one, other in zip(first, second, strict=True)]
    return Agreement(sum(same) / len(same), math.fsum(apart) / len(apart), max(apart))


def _likeliest(item: Sequence[Sequence[float]]) -> int:
    totals = [math.fsum(tokens) for tokens in item]
    return totals.index(max(totals))


# Asking -------------------------------------------------------------------------------------------


def reference(
    folder: Path, model: Path, tasks: Sequence[Task], attention: str
) -> dict[str, Values]:
    """What llama-cpp-python's full logits say, by task."""
    requests = [request for task in tasks for request in task.requests]
    command = [sys.executable, str(ROOT / "benchmarks" / "likelihood_reference.py")]
    found = subprocess.run(
        [*command, str(folder), str(model), attention],
        input="".join(json.dumps(_plain(request)) + "\n" for request in requests),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    values = iter(json.loads(line) for line in found.stdout.splitlines())
    return {task.name: list(islice(values, len(task.requests))) for task in tasks}


def _plain(request: Request) -> dict[str, object]:
    (message,) = request.messages
    return {
        "prompt": message.content if request.form == "completion" else None,
        "messages": [{"role": message.role, "content": message.content}],
        "continuations": request.continuations,
    }


class TokenByToken(LlamaServerEngine):
    """The engine as it is with a server that knows no grammar of tokens."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.likelihood_asker.knows_token_grammar = False


def ask(
    url: str, task: Task, slots: int, engine: type[LlamaServerEngine] = LlamaServerEngine
) -> Asked:
    """Ask all items of a task, as many at once as there are slots."""
    began = time.perf_counter()
    found = asyncio.run(_ask(engine(Endpoint(url)), task, slots))
    seconds = time.perf_counter() - began
    usages = [each.usage for item in found for each in item]
    cached = sum(usage.cached or 0 for usage in usages) / sum(usage.prompt or 0 for usage in usages)
    values = [[list(each.token_logprobs) for each in item] for item in found]
    return Asked(values, seconds, cached)


async def _ask(engine: LlamaServerEngine, task: Task, slots: int) -> list[tuple[Likelihood, ...]]:
    waiting = asyncio.Semaphore(slots)

    async def one(request: Request) -> tuple[Likelihood, ...]:
        async with waiting:
            return await engine.likelihoods(replace(request, cache_prompt=slots > 1))

    try:
        return list(await asyncio.gather(*map(one, task.requests)))
    finally:
        await engine.close()


# Servers ------------------------------------------------------------------------------------------


def embedded(attention: str) -> Server:
    """The server that xllamacpp brings, with four slots."""
    usual = ("-m", "pytest_llmeval.servers.embedded", "--lifeline")
    exact = (str(ROOT / "benchmarks" / "exact_embedded.py"),)
    return Server((sys.executable, *(usual if attention == "usual" else exact)), 4)


def real(folder: Path, attention: str, slots: int) -> Server:
    """llama.cpp's own, of the same build as llama-cpp-python."""
    arguments = () if attention == "usual" else EXACT
    return Server((str(folder / "bin" / "llama-server"), *arguments), slots, folder / "lib")


def llama_cpp_folder() -> Path | None:
    """Where a wheel of llama-cpp-python with llama-server in it is unpacked; None without one."""
    folder = Path(os.environ.get("LLMEVAL_LLAMA_CPP", ROOT / ".llama-cpp"))
    return folder if (folder / "llama_cpp").is_dir() else None


def in_f32(folder: Path, model: Path, place: Path) -> Path:
    """The same model with its weights in 32 bits, written into a folder."""
    path = place / f"{model.stem}-f32.gguf"
    if not path.exists():
        command = [str(folder / "bin" / "llama-quantize"), "--allow-requantize"]
        environment = os.environ | {"LD_LIBRARY_PATH": str(folder / "lib")}
        subprocess.run(
            [*command, str(model), str(path), "F32"],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return path


@contextlib.contextmanager
def serving(server: Server, model: Path) -> Iterator[str]:
    """Start a server with a model; gives its url."""
    port = free_port()
    command = [*server.program, "-m", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["-np", str(server.slots), "-c", str(CONTEXT * server.slots), "-t", "1"]
    environment = dict(os.environ)
    if server.library is not None:
        environment["LD_LIBRARY_PATH"] = str(server.library)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(child, url)
        yield url
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def wait_until_healthy(child: subprocess.Popen[bytes], url: str) -> None:
    """Return once the server is ready; raises RuntimeError when it has ended instead."""
    while child.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health"):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{child.args!r} ended with {child.returncode}")


# Figures ------------------------------------------------------------------------------------------


def judged(what: str, found: Agreement, bounds: Bounds | None) -> Line:
    """Agreement beside its bounds; without any for scale."""
    figure = f"{100 * found.same:.1f} %  {found.mean:.6f}  {found.largest:.4f}"
    if bounds is None:
        return Line(what, figure, "for scale", reached=True)
    goal = f">= {100 * bounds.same:g} %, <= {bounds.mean:g}"
    held = found.same >= bounds.same and found.mean <= bounds.mean
    if bounds.largest is not None:
        goal += f", <= {bounds.largest:g}"
        held = held and found.largest <= bounds.largest
    return Line(what, figure, goal, held)


def lines(items: int, models: Sequence[str] = MODELS) -> Iterator[Line]:
    """All figures: same likeliest, mean and largest difference in nats a token; then speed."""
    folder = llama_cpp_folder()
    with tempfile.TemporaryDirectory(prefix="llmeval-likelihood-") as place:
        for name in models:
            model = ROOT / "models" / f"{name}.gguf"
            yield from two_ways(name, model, tasks(items))
            for setting in SETTINGS if folder is not None else ():
                assert folder is not None
                weights = in_f32(folder, model, Path(place)) if setting.f32 else model
                asked = tasks(items, long=setting.long)
                yield from truth(f"{name} {setting.name}", folder, weights, asked, setting)


def two_ways(label: str, model: Path, asked: Sequence[Task]) -> Iterator[Line]:
    """In one request and token by token: the same values, and what they cost."""
    with serving(embedded("usual"), model) as url:
        for task in asked:
            once, slowly = (ask(url, task, 4, kind) for kind in (LlamaServerEngine, TokenByToken))
            what = f"{label}, {task.name}: one request / token by token"
            yield judged(what, agreement(once.values, slowly.values), WITHIN)
            each = [1000 * way.seconds / len(task.requests) for way in (once, slowly)]
            figure = f"{each[0]:.2f} / {each[1]:.2f} ms"
            yield Line("  an item, either way", figure, "for scale", reached=True)
            figure = f"{100 * once.cached:.0f} %"
            yield Line("  of the tokens read, from the cache", figure, "for scale", reached=True)


def truth(
    label: str, folder: Path, model: Path, asked: Sequence[Task], setting: Setting
) -> Iterator[Line]:
    """Servers and full logits; a server with one slot and no cache, and one with many slots."""
    logits = reference(folder, model, asked, setting.attention)
    other, one, four = (
        by_server(server, model, asked)
        for server in (
            embedded(setting.attention),
            real(folder, setting.attention, 1),
            real(folder, setting.attention, 4),
        )
    )
    pairs = (
        ("embedded / logits", other, logits, setting.across),
        ("1 slot, no cache / logits", one, logits, setting.within),
        ("4 slots, cache / logits", four, logits, setting.within),
        ("1 slot / 4 slots", one, four, setting.within),
    )
    for task in asked:
        for what, first, second, bounds in pairs:
            found = agreement(first[task.name], second[task.name])
            yield judged(f"{label}, {task.name}: {what}", found, bounds)


def by_server(server: Server, model: Path, asked: Sequence[Task]) -> dict[str, Values]:
    with serving(server, model) as url:
        return {task.name: ask(url, task, server.slots).values for task in asked}


def main() -> int:
    """Print every figure beside its bounds; 1 when one does not hold."""
    parser = argparse.ArgumentParser(description="Are likelihoods through a server true?")
    parser.add_argument("--items", type=int, default=ITEMS, help="of each task")
    parser.add_argument("--smoke", action="store_true", help="a few items: does it run?")
    given = parser.parse_args()
    if llama_cpp_folder() is None:
        print("no llama-cpp-python: nothing is held against full logits")
    print("  same likeliest; mean and largest difference, nats a token")
    held = True
    for line in lines(10 if given.smoke else given.items):
        line.show(judged=True)
        held &= line.reached
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
