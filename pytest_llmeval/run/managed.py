"""Models whose llama.cpp server we start: their server's spec, their size, their digest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.cards import best_fit
from pytest_llmeval.machine.memory import Memory, estimate, placed
from pytest_llmeval.results.manifest import AdapterFacts
from pytest_llmeval.run.adopted import engine_of, fetch_for_health, post_to_server
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.command import find_program
from pytest_llmeval.servers.digest import file_digest
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.gguf_facts import GgufHeader
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.sharing import SharedServer
from pytest_llmeval.servers.spec import LoraAdapter, ServerSpec

GpuLayers = int | str | None
"""Layers on the GPU: a number, `all`, or what the server chooses."""

#: Tokens of context per slot where nobody wrote a number: room for a page and its answer.
USUAL_CONTEXT = 4096

#: The folder, in that of all that is kept from run to run, where runs find each other's servers.
LEASES = "servers"

#: Seconds of loading after which the user is told, and the longest silence after that.
TELL_AFTER = 2.0
TELL_EVERY = 15.0


def managed_backing(
    model: ModelConfig, cache: Path, say: Callable[[str], None], *, shared: bool = False
) -> Backing:
    """How a model is reached whose server we start from its `gguf`; a `shared` one may be there
    already, and be used by other runs too.
    """
    gguf = model.gguf
    assert gguf is not None, "the config has seen to it"
    return Backing(
        make_server=partial(_shared_server, model, say, cache / LEASES)
        if shared
        else partial(_server, model, say),
        make_engine=partial(engine_of, model, None),
        url="",
        digest=lambda cancelled: file_digest(gguf, cache, cancelled=cancelled),
        adapters=lambda cancelled: _adapter_facts(model, cache, cancelled),
        find_program=lambda: find_program(_server_spec(model, Path()), os.environ),
    )


def _adapter_facts(
    model: ModelConfig, cache: Path, cancelled: Callable[[], bool]
) -> tuple[AdapterFacts, ...]:
    return tuple(
        AdapterFacts(
            adapter.path.name,
            file_digest(adapter.path, cache, cancelled=cancelled),
            adapter.scale,
        )
        for adapter in model.lora
    )


def memory_of(model: ModelConfig, *, has_gpu: bool = False) -> Memory | None:
    """What a model will take once loaded, None when we do not load it or it cannot be read.

    What the config declares wins. `has_gpu` says that there is a GPU to be seen: llama-server and
    Ollama take it, where nobody says how many layers.
    """
    layers = model.gpu_layers
    if layers is None and has_gpu and model.engine in {"llama-server", "ollama"}:
        layers = "all"
    if model.memory is not None:
        return placed(model.memory, gpu_layers=layers, layers=None)
    if model.gguf is None:
        return None
    try:
        header = read_gguf(model.gguf)
        adapters = sum(read_gguf(adapter.path).size for adapter in model.lora)
    except LlmevalError:
        return None  # its server will say what is wrong, in its own place
    weights = weights_of(model, replace(header, size=header.size + adapters), layers)
    beside = beside_the_weights(model, header, layers)
    return Memory(weights.ram + beside.ram, (weights.vram or 0) + (beside.vram or 0))


def weights_of(model: ModelConfig, header: GgufHeader, layers: GpuLayers) -> Memory:
    """Where a model's weights come to lie: each process puts its own on a GPU, while in main memory
    all map the one file.
    """
    one = placed(header.size, gpu_layers=layers, layers=header.layers)
    return Memory(one.ram, (one.vram or 0) * model.instances)


def beside_the_weights(model: ModelConfig, header: GgufHeader, layers: GpuLayers) -> Memory:
    """What a model takes besides its weights: cache and overhead."""
    size = estimate(
        0,
        slots=model.slots,
        context=context_of(model, header),
        kv_bytes_per_token=header.kv_bytes_per_token,
        processes=model.instances,
    )
    return placed(size, gpu_layers=layers, layers=header.layers)


def fit_of(model: ModelConfig, free: Memory) -> str:
    """Which slots and context the GPU has room for, in words; "" where nothing lies on one."""
    if model.gguf is None or not model.gpu_layers:
        return ""
    if free.vram is None:
        return "how much its GPU has free cannot be told"
    try:
        header = read_gguf(model.gguf)
    except LlmevalError:
        return ""
    fit = best_fit(
        free.vram,
        header.size,
        kv_bytes_per_token=header.kv_bytes_per_token,
        trained=header.context_length,
    )
    room = f"its GPU has {in_gib(free.vram)} free: "
    if fit is None:
        return f"{room}too little for all layers, take fewer (gpu_layers) or a smaller file"
    return f"{room}room for slots: {fit.slots}, context: {fit.context}"


def in_gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / 2**30:,.2f} GiB"


def context_of(model: ModelConfig, header: GgufHeader) -> int:
    """Tokens of context per slot: as written, else the usual size or all that the model knows."""
    if model.context is not None:
        return model.context
    return min(USUAL_CONTEXT, header.context_length or USUAL_CONTEXT)


def _server(model: ModelConfig, say: Callable[[str], None], logs: Path) -> Server:
    return Server(
        _server_spec(model, logs),
        fetch_for_health,
        post=post_to_server,
        report=loading_reporter(model.name, say),
    )


ROOM_TO_SHARE = 2**16
"""Bytes that who shares a server needs at least, for who holds it and for its log."""


def _shared_server(
    model: ModelConfig, say: Callable[[str], None], folder: Path, logs: Path
) -> Server:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM_TO_SHARE))  # on a full disk an empty file can be made
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = error.strerror or error
        say(f"llmeval: {model.name}: no server can be shared in {folder} ({why}): it has its own")
        return _server(model, say, logs)
    return SharedServer(
        _server_spec(model, logs),
        folder,
        fetch_for_health,
        post=post_to_server,
        report=loading_reporter(model.name, say),
    )


def _server_spec(model: ModelConfig, logs: Path) -> ServerSpec:
    assert model.gguf is not None, "the config has seen to it"
    header = read_gguf(model.gguf)
    return ServerSpec(
        name=model.name,
        kind="embedded" if model.engine == "embedded" else "llama-server",
        gguf=model.gguf,
        slots=model.slots,
        context=context_of(model, header),
        gpu_layers=model.gpu_layers,
        threads=model.threads,
        executable=model.executable,
        port=model.port,
        args=model.args,
        log_path=logs / f"{model.name}.log",
        start_timeout=model.start_timeout,
        lora=tuple(LoraAdapter(adapter.path, adapter.scale) for adapter in model.lora),
        embeddings=model.role == "embedder",
        pooling=None if header.pools else "mean",
    )


def loading_reporter(name: str, say: Callable[[str], None]) -> Callable[[float, str], None]:
    """Tell of a server that takes long to load: soon at first, then less and less often."""
    next_at = TELL_AFTER

    def report(seconds: float, last_line: str) -> None:
        nonlocal next_at
        if seconds >= next_at:
            next_at = seconds + min(seconds, TELL_EVERY)
            say(f"llmeval: {name} is loading, {seconds:.0f} s: {last_line}")

    return report
