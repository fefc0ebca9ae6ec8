"""Models that llama-cpp-python runs in worker processes: their workers, slots and memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.environment import computing_cores
from pytest_llmeval.machine.memory import Memory, free_now
from pytest_llmeval.run.adopted import engine_of, fetch_for_health
from pytest_llmeval.run.managed import (
    beside_the_weights,
    context_of,
    in_gib,
    loading_reporter,
    weights_of,
)
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.command import find_program
from pytest_llmeval.servers.digest import file_digest
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.gguf_facts import GgufHeader
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.several import ServerGroup
from pytest_llmeval.servers.spec import ServerSpec

ENGINE: Final = "llama-cpp-python"


def in_process_backing(model: ModelConfig, cache: Path, say: Callable[[str], None]) -> Backing:
    """How a model is reached that workers of ours load from its `gguf`."""
    gguf = model.gguf
    assert gguf is not None, "the config has seen to it"
    return Backing(
        make_server=partial(_workers, model, say),
        make_engine=partial(engine_of, model, None),
        url="",
        digest=lambda cancelled: file_digest(gguf, cache, cancelled=cancelled),
        find_program=lambda: find_program(_spec(model, read_gguf(gguf), 1, Path()), os.environ),
    )


def what_workers_compute(model: ModelConfig) -> str:
    """One line for the header: how many processes do the work, and whether a GPU helps."""
    processes = "a process" if model.slots == 1 else f"{model.slots} processes"
    gpu = "" if model.gpu_layers is None else f", gpu_layers: {model.gpu_layers}"
    return f"llama-cpp-python in {processes} of its own{gpu}"


def forced_slots(config: Config) -> Iterator[str]:
    """A warning for each model that was to have more slots than it has instances."""
    for name, model in config.models.items():
        if (model.asked_slots or 0) > model.slots and not model.exact:
            yield (
                f"{name}: {model.asked_slots} slots were asked for, and engine {ENGINE} answers "
                f"one request at a time in each process: they are forced to {model.slots} unless "
                f"`instances: {model.asked_slots}` is set, each of which loads the model"
            )


def memory_trouble(model: ModelConfig, header: GgufHeader, free: Memory) -> str | None:
    """What to warn of before a model is loaded into what is free; None for nothing.

    Raises ServerStartError where it cannot work: what stands beside the weights has to fit into
    main memory, while weights are read from their file again when they do not.
    """
    layers = model.gpu_layers
    beside, weights = beside_the_weights(model, header, layers), weights_of(model, header, layers)
    if beside.ram > free.ram:
        raise ServerStartError(
            f"{model.name}: its {model.slots} × {context_of(model, header):,} tokens of context "
            f"need about {in_gib(beside.ram)} of memory beside the weights, and "
            f"{in_gib(free.ram)} are free: lower `context` or `instances`, or close other programs"
        )
    on_gpu = (weights.vram or 0) + (beside.vram or 0)
    if free.vram is not None and on_gpu > free.vram:
        return (
            f"{model.name} needs about {in_gib(on_gpu)} on the GPU, which has {in_gib(free.vram)} "
            "free: it may not load; lower `gpu_layers`, `context` or `instances`"
        )
    if weights.ram + beside.ram > free.ram:
        return (
            f"{model.name} needs about {in_gib(weights.ram + beside.ram)} of memory and "
            f"{in_gib(free.ram)} are free: its weights will be read from the disk again and again, "
            "which is slow; a smaller quantisation would fit"
        )
    return None


def _workers(model: ModelConfig, say: Callable[[str], None], logs: Path) -> Server | ServerGroup:
    assert model.gguf is not None, "the config has seen to it"
    header = read_gguf(model.gguf)
    warning = memory_trouble(model, header, free_now())
    if warning is not None:
        say(f"llmeval: {warning}")
    threads = model.threads or max(1, computing_cores() // model.slots)
    servers = [
        Server(
            _spec(model, header, threads, logs / f"{model.name}{suffix}.log"),
            fetch_for_health,
            report=loading_reporter(model.name, say),
        )
        for suffix in ("", *(f".{number}" for number in range(2, model.slots + 1)))
    ]
    return servers[0] if len(servers) == 1 else ServerGroup(servers)


def _spec(model: ModelConfig, header: GgufHeader, threads: int, log_path: Path) -> ServerSpec:
    assert model.gguf is not None, "the config has seen to it"
    return ServerSpec(
        name=model.name,
        kind=ENGINE,
        gguf=model.gguf,
        slots=1,
        context=context_of(model, header),
        gpu_layers=model.gpu_layers,
        threads=threads,
        log_path=log_path,
        start_timeout=model.start_timeout,
    )
