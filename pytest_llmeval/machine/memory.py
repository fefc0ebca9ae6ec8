"""Whether a model fits into memory, before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from pytest_llmeval.machine.nvml import free_vram

OVERHEAD = 256 * 2**20
"""Bytes for what a llama.cpp server holds beside weights and cache: its code, compute buffers.

An allowance, not a measurement: some 50 MiB with a tiny model, several hundred with large ones.
"""


def free_memory() -> int:
    """Bytes of main memory that programs can have now, what the system would give up included."""
    return int(psutil.virtual_memory().available)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of main memory and of the GPUs' memory; `vram` is None where nobody can tell."""

    ram: int
    vram: int | None = 0

    @property
    def total(self) -> int:
        """Both together, as far as they are known."""
        return self.ram + (self.vram or 0)


def free_now() -> Memory:
    """What programs can have right now."""
    return Memory(free_memory(), free_vram())


def placed(size: int, *, gpu_layers: int | str | None, layers: int | None) -> Memory:
    """Where a model of `size` bytes comes to lie: layers on the GPU take their share with them.

    `gpu_layers` of None or 0 is none, `all` all of them; llama.cpp counts the output layer as one
    more than the model's `layers`. Where those are not known, any layer on the GPU counts for all.
    """
    if not gpu_layers:
        return Memory(size, 0)
    if gpu_layers == "all" or layers is None:
        return Memory(0, size)
    on_gpu = size * min(int(gpu_layers), layers + 1) // (layers + 1)
    return Memory(size - on_gpu, on_gpu)


def estimate(
    size: int, *, slots: int, context: int, kv_bytes_per_token: int | None, processes: int = 1
) -> int:
    """Bytes that a server needs: size of the GGUF + slots × context × KV bytes + overhead.

    `context` is tokens per slot; `kv_bytes_per_token` is what a GGUF's header says of a cache in
    f16, or None where it is silent, and then the cache counts for nothing. Several `processes` map
    the same weights once, and each has the overhead.
    """
    return size + slots * context * (kv_bytes_per_token or 0) + processes * OVERHEAD
