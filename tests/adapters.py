"""LoRA adapters for tests: small files that change what a model writes."""

from __future__ import annotations

from pathlib import Path

RANK = 4


def write_adapter(path: Path, model: Path, seed: int = 7) -> Path:
    """Write an adapter of random weights (fixed seed) to a llama: strong enough to be noticed."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", RANK)
    for tensor in gguf.GGUFReader(str(model)).tensors:
        if tensor.name.endswith(("attn_q.weight", "ffn_down.weight")):
            into, out = map(int, tensor.shape)
            for part, shape in (("lora_a", (RANK, into)), ("lora_b", (out, RANK))):
                values = random.normal(0, 0.3, shape).astype(np.float32)
                writer.add_tensor(f"{tensor.name}.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
