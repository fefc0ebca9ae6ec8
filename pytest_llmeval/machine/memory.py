"""Whether a model fits into memory, before it is loaded."""

from __future__ import annotations

import psutil

OVERHEAD = 256 * 2**20
"""Bytes for what a llama.cpp server holds beside weights and cache: its code, compute buffers.

An allowance, not a measurement: some 50 MiB with a tiny model, several hundred with large ones.
"""


def free_memory() -> int:
    """Bytes of main memory that programs can have now, what the system would give up included."""
    return int(psutil.virtual_memory().available)


def estimate(size: int, *, slots: int, context: int, kv_bytes_per_token: int | None) -> int:
    """Bytes that a server needs: size of the GGUF + slots × context × KV bytes + overhead.

    `context` is tokens per slot; `kv_bytes_per_token` is what a GGUF's header says of a cache in
    f16, or None where it is silent, and then the cache counts for nothing.
    """
    return size + slots * context * (kv_bytes_per_token or 0) + OVERHEAD
