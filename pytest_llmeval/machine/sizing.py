"""How much memory a model takes once it is served, and where: weights, cache, and what is beside.

The rules are llama.cpp's: the input embeddings stay in main memory, layers go to a device from the
last one on with the output before all of them, and the cache of a layer lies where the layer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.machine.memory import OVERHEAD, Memory

MARGIN = 2**30
"""Bytes of a device beside weights and cache, for what is computed in it and for other programs:
what llama.cpp itself leaves free by default (`--fit-target`).
"""

CACHE_TYPES: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}
"""Of each type that llama.cpp's cache can have: how many numbers are a block, and its bytes."""

GpuLayers = int | Literal["all"] | None


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Bytes of a model's weights by place, and how many numbers its cache holds for a token.

    `tied`: the output is the input once more. `keys` and `values` are by layer.
    """

    input: int
    layers: tuple[int, ...]
    output: int
    tied: bool
    keys: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def weights(self) -> int:
        """All weights, in bytes."""
        return self.input + sum(self.layers) + self.output


@dataclass(frozen=True, slots=True)
class CacheSetup:
    """The cache of a server: room for `tokens` in all slots together, and of which types.

    `on_device`: it lies with its layers, which is llama.cpp's default.
    """

    tokens: int
    keys: str = "f16"
    values: str = "f16"
    on_device: bool = True


@dataclass(frozen=True, slots=True)
class Need:
    """What a server takes: weights, cache, and beside them."""

    weights: Memory
    cache: Memory
    beside: Memory

    @property
    def total(self) -> Memory:
        """All of it."""
        parts = (self.weights, self.cache, self.beside)
        return Memory(sum(part.ram for part in parts), sum(part.vram or 0 for part in parts))


def need_of(model: ModelSize, cache: CacheSetup, gpu_layers: GpuLayers) -> Need:
    """What a model takes with its cache; `gpu_layers` counts the output as one more than layers."""
    count = len(model.layers)
    on_device = count + 1 if gpu_layers == "all" else min(gpu_layers or 0, count + 1)
    first = count + 1 - on_device  # the first layer on the device; the output's number is `count`
    moved = sum(model.layers[first:]) + (model.output if on_device else 0)
    copied = model.input if on_device and model.tied else 0  # main memory keeps its own
    return Need(
        weights=Memory(model.weights - moved, moved + copied),
        cache=_cache_of(model, cache, first),
        beside=Memory(OVERHEAD, MARGIN if on_device else 0),
    )


def _cache_of(model: ModelSize, cache: CacheSetup, first: int) -> Memory:
    """Where the cache lies, when layers from `first` on are on the device."""
    by_layer = [
        cache.tokens * (bytes_of(keys, cache.keys) + bytes_of(values, cache.values))
        for keys, values in zip(model.keys, model.values, strict=True)
    ]
    vram = sum(by_layer[first:]) if cache.on_device else 0
    return Memory(sum(by_layer) - vram, vram)


def bytes_of(numbers: int, kind: str) -> int:
    """Bytes of so many numbers in a cache of this type."""
    block, size = CACHE_TYPES[kind]
    return -(-numbers // block) * size


# Admission ----------------------------------------------------------------------------------------

_NOTHING = Memory(0, 0)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether something fits: how much is short if not, and why if nobody can tell."""

    verdict: Literal["fits", "does_not_fit", "unknown"]
    short: Memory = _NOTHING
    why: str = ""


def admit(need: Memory, free: Memory) -> Admission:
    """Whether what is needed fits into what is free. What cannot be told is said to be unknown.

    What is short in main memory is short, whatever a device may have.
    """
    short_ram = max(0, need.ram - free.ram)
    if need.vram is None or (need.vram and free.vram is None):
        short = Memory(short_ram, None)
        what = "needed" if need.vram is None else "free"
        why = f"nobody can tell how much of the device's memory is {what}"
        return Admission("does_not_fit" if short_ram else "unknown", short, why)
    short = Memory(short_ram, max(0, need.vram - (free.vram or 0)))
    return Admission("does_not_fit" if short.ram or short.vram else "fits", short)
