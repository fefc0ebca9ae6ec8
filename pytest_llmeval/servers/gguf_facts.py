"""What the header of a GGUF says of its model, once it is read (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

DEFAULT_ALIGNMENT = 32
MAX_LAYERS = 2**14

Value = int | float | bool | bytes | tuple[int, ...]

_KEPT = (
    "general.architecture",
    "general.alignment",
    "general.type",
)
_RECURRENT = ("ssm.state_size", "ssm.conv_kernel", "wkv.head_size", "shortconv.l_cache")
_KEPT_OF_ARCHITECTURE = (
    "context_length",
    "block_count",
    "embedding_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "attention.kv_lora_rank",
    "pooling_type",
    *_RECURRENT,
)

_LAYER = re.compile(rb"blk\.([0-9]{1,5})\.")
_INPUTS = (b"token_embd", b"per_layer_token_embd", b"token_types", b"position_embd")


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of a model's tensors by where they belong.

    `input` are the embeddings of tokens, which stay in main memory; `layers` the model's own, in
    order; `output` the rest. `tied`: there is no output of its own, so that a device which computes
    it has the input a second time.
    """

    input: int
    layers: tuple[int, ...]
    output: int
    tied: bool


@dataclass(frozen=True, slots=True)
class Cache:
    """How many numbers a layer of a model's cache holds for one token: of keys, and of values."""

    keys: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF says of its model; None where it says nothing.

    `size` is the file's, `expected_size` the least that the tensor table asks for, both in bytes
    and both the sum over the files of a model that is split.
    `kv_bytes_per_token` is what one token takes in a KV cache of f16:
    2 bytes × sum over layers of KV heads × (key length + value length). `layers` are the model's
    own, without the output. `is_adapter`: it is no model but a LoRA adapter to one. `pools`: it
    says how the vectors of a text's tokens become one, as models made for embeddings do.

    `weights` is None where a tensor has a type that we do not know. `window` is how many tokens
    some of its layers see at most; `recurrent`: some keep a state instead of a cache; `latent`: its
    cache may be of a shorter form than keys and values. Each makes `cache` an upper bound.
    """

    context_length: int | None
    size: int
    expected_size: int
    kv_bytes_per_token: int | None
    layers: int | None = None
    is_adapter: bool = False
    pools: bool = False
    weights: Weights | None = None
    cache: Cache | None = None
    window: int | None = None
    recurrent: bool = False
    latent: bool = False


@dataclass(slots=True)
class WeightsSoFar:
    """Adds up tensors as they are read; `unknown` once one has a type that we do not know."""

    input: int = 0
    output: int = 0
    layers: dict[int, int] = field(default_factory=dict)
    tied: bool = True
    unknown: bool = False

    def add(self, name: bytes, size: int | None) -> None:
        """Add a tensor of `size` bytes, None where that cannot be told."""
        if size is None:
            self.unknown = True
            return
        match = _LAYER.match(name)
        if match is not None and int(match[1]) < MAX_LAYERS:
            layer = int(match[1])
            self.layers[layer] = self.layers.get(layer, 0) + size
        elif name.startswith(_INPUTS):
            self.input += size
        else:
            self.output += size
        if name == b"output.weight":
            self.tied = False

    def done(self) -> Weights | None:
        """What they are together."""
        if self.unknown:
            return None
        layers = tuple(
            self.layers.get(layer, 0) for layer in range(max(self.layers, default=-1) + 1)
        )
        return Weights(self.input, layers, self.output, self.tied)


def is_kept(key: str, values: Mapping[str, Value]) -> bool:
    """Whether an entry of the metadata is of interest, given those before it."""
    architecture = _text(values.get("general.architecture"))
    return key in _KEPT or (
        key.endswith(_KEPT_OF_ARCHITECTURE) and key.startswith(f"{architecture}.")
    )


def alignment(values: Mapping[str, Value]) -> int:
    """To how many bytes the data of tensors is aligned."""
    return _integer(values.get("general.alignment")) or DEFAULT_ALIGNMENT


def header_of(
    values: Mapping[str, Value], weights: WeightsSoFar, size: int, expected: int
) -> GgufHeader:
    """What one file says."""
    architecture = _text(values.get("general.architecture"))
    prefix = f"{architecture}."
    cache = _cache(values, prefix)
    return GgufHeader(
        context_length=_integer(values.get(prefix + "context_length")),
        size=size,
        expected_size=expected,
        kv_bytes_per_token=None if cache is None else 2 * sum(cache.keys + cache.values),
        layers=_integer(values.get(prefix + "block_count")),
        is_adapter=_text(values.get("general.type")) == "adapter",
        pools=bool(values.get(prefix + "pooling_type")),
        weights=weights.done(),
        cache=cache,
        window=_integer(values.get(prefix + "attention.sliding_window")) or None,
        recurrent=any(values.get(prefix + key) for key in _RECURRENT),
        latent=bool(values.get(prefix + "attention.kv_lora_rank")),
    )


def together(parts: Iterable[Weights | None]) -> Weights | None:
    """The weights of a split model, from those of its files; None where one is not known."""
    total = Weights(0, (), 0, tied=True)
    for part in parts:
        if part is None:
            return None
        short, long = sorted((total.layers, part.layers), key=len)
        padded = (*short, *[0] * (len(long) - len(short)))
        total = Weights(
            total.input + part.input,
            tuple(map(sum, zip(padded, long, strict=True))),
            total.output + part.output,
            tied=total.tied and part.tied,
        )
    return total


def _cache(values: Mapping[str, Value], prefix: str) -> Cache | None:
    """Of each layer KV heads × key and value length; None when the file is silent."""
    layers = _integer(values.get(prefix + "block_count"))
    width = _integer(values.get(prefix + "embedding_length"))
    heads = values.get(prefix + "attention.head_count")
    kv_heads = values.get(prefix + "attention.head_count_kv", heads)
    if layers is None or layers > MAX_LAYERS or width is None or heads is None or kv_heads is None:
        return None
    most_heads = max(heads, default=0) if isinstance(heads, tuple) else _integer(heads)
    each = kv_heads if isinstance(kv_heads, tuple) else _repeated(kv_heads, layers)
    if not most_heads or each is None:
        return None
    key = _integer(values.get(prefix + "attention.key_length")) or width // most_heads
    value = _integer(values.get(prefix + "attention.value_length")) or width // most_heads
    return Cache(tuple(count * key for count in each), tuple(count * value for count in each))


def _repeated(value: Value, times: int) -> tuple[int, ...] | None:
    count = _integer(value)
    return None if count is None else (count,) * times


def _integer(value: Value | None) -> int | None:
    """A value as a count; None for anything else that a strange file may hold in its place."""
    return value if type(value) is int and value >= 0 else None


def _text(value: Value | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None
