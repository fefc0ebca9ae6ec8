"""A checkpoint as a GGUF file that llama.cpp serves, chat template and tool tags included."""

import json
from pathlib import Path
from typing import Final

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .documents import CALL, CALL_END, CHAT_TEMPLATE, END, PAD, SPECIALS
from .network import Shape
from .tokenizer import Tokenizer

CONTEXT: Final = 1024
_Q8: Final = gguf.GGMLQuantizationType.Q8_0


def export(checkpoint: Path, tokenizer_file: Path, target: Path, about: str) -> None:
    """Write the checkpoint to the target, aside first; the same input gives the same bytes."""
    loaded = torch.load(checkpoint, weights_only=True)
    shape = _shape(loaded["shape"])
    merges = [
        (left, right) for left, right in json.loads(tokenizer_file.read_text(encoding="utf-8"))
    ]
    aside = target.with_suffix(".part")
    writer = gguf.GGUFWriter(str(aside), "llama")
    _describe(writer, target.stem, about, shape)
    _add_vocabulary(writer, Tokenizer(merges))
    _add_weights(writer, loaded["state"], shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    aside.replace(target)


def _shape(stored: dict[str, float]) -> Shape:
    whole = {key: int(stored[key]) for key in ("vocabulary", "layers", "width", "heads", "inner")}
    return Shape(**whole, rope_base=stored["rope_base"], epsilon=stored["epsilon"])


def _describe(writer: gguf.GGUFWriter, name: str, about: str, shape: Shape) -> None:
    writer.add_name(name)
    writer.add_description(about)
    writer.add_license("mit")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([_token_type(token) for token in tokenizer.tokens])
    writer.add_token_merges([f"{left} {right}" for left, right in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.ids[PAD])
    writer.add_eos_token_id(tokenizer.ids[END])
    writer.add_eot_token_id(tokenizer.ids[END])
    writer.add_pad_token_id(tokenizer.ids[PAD])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _token_type(token: str) -> gguf.TokenType:
    if token in (CALL, CALL_END):
        return gguf.TokenType.USER_DEFINED
    return gguf.TokenType.CONTROL if token in SPECIALS else gguf.TokenType.NORMAL


def _add_weights(writer: gguf.GGUFWriter, state: dict[str, Tensor], shape: Shape) -> None:
    arrays = {name: tensor.float().numpy() for name, tensor in state.items()}
    _add_matrix(writer, "token_embd.weight", arrays["embedding"])
    writer.add_tensor("output_norm.weight", arrays["last_norm"])
    for layer in range(shape.layers):
        prefix = f"blk.{layer}"
        q, k, v, out = arrays["attention"][layer]
        gate, up, down = arrays["feed_forward"][layer]
        matrices = {
            "attn_q": _paired(q, shape.heads),
            "attn_k": _paired(k, shape.heads),
            "attn_v": v,
            "attn_output": out,
            "ffn_gate": gate,
            "ffn_up": up,
            "ffn_down": np.ascontiguousarray(down.T),
        }
        for name, matrix in matrices.items():
            _add_matrix(writer, f"{prefix}.{name}.weight", matrix)
        attention_norm, feed_norm = arrays["norms"][layer]
        writer.add_tensor(f"{prefix}.attn_norm.weight", attention_norm)
        writer.add_tensor(f"{prefix}.ffn_norm.weight", feed_norm)


def _add_matrix(writer: gguf.GGUFWriter, name: str, matrix: NDArray[np.float32]) -> None:
    writer.add_tensor(name, gguf.quants.quantize(matrix, _Q8), raw_dtype=_Q8)


def _paired(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows reordered from halves, as trained, to neighbouring pairs, as llama.cpp rotates."""
    rows, width = matrix.shape
    halves = matrix.reshape(heads, 2, rows // heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, width))
