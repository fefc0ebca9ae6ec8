"""What an instance will need of memory, by its config and the header of its model (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import (
    CACHE_TYPES,
    CacheSetup,
    GpuLayers,
    ModelSize,
    Need,
    need_of,
)
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.servers.command import round_up
from pytest_llmeval.servers.gguf_facts import Cache, GgufHeader, Weights

_KEY_TYPE = ("-ctk", "--cache-type-k")
_VALUE_TYPE = ("-ctv", "--cache-type-v")
_IN_MAIN_MEMORY = ("-nkvo", "--no-kv-offload")
_PLACING = (
    *("-ot", "--override-tensor", "-cmoe", "--cpu-moe", "-ncmoe", "--n-cpu-moe"),
    *("-sm", "--split-mode", "-ts", "--tensor-split"),
)
"""What has tensors lie elsewhere than with their layers, or layers elsewhere than by size."""

_FURTHER_MODELS = ("-md", "--model-draft", "--spec-draft-model", "-mm", "--mmproj", "--lora")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a model needs with `slots` of `context` tokens each, and what limits how good it is.

    `least` is what it takes at least, where its cache is an upper bound. `moved_by` is the argument
    by which less of it, or more, lies on a device than is told here.
    """

    need: Need
    slots: int
    context: int
    notes: tuple[str, ...] = ()
    least: Memory | None = None
    moved_by: str | None = None

    @property
    def total(self) -> Memory:
        """All that it needs."""
        return self.need.total


def estimate_instance(
    config: InstanceConfig, header: GgufHeader, environ: Mapping[str, str] | None = None
) -> Estimate:
    """What an instance needs. `environ` is what its server inherits.

    On a card whose layers the config leaves open, all are taken to lie.
    """
    layers: GpuLayers = config.gpu.layers
    if config.gpu.backend == "cpu":
        layers = 0
    elif layers is None:
        layers = "all"
    estimate = estimate_model(
        header,
        slots=config.server.parallel,
        context=config.model.context(header.context_length),
        gpu_layers=layers,
        args=config.args,
        environ={**(environ or {}), **config.env},
    )
    if config.gpu.backend == "cpu" or config.gpu.layers is not None:
        return estimate
    note = "gpu.layers is not set: counted as all, while newer builds put on the card what fits"
    return replace(estimate, notes=(*estimate.notes, note))


def estimate_model(
    header: GgufHeader,
    *,
    slots: int,
    context: int,
    gpu_layers: GpuLayers,
    args: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Estimate:
    """What a model needs; `args` are the server's, `environ` what it inherits."""
    context = round_up(context)
    cache = cache_setup(args, environ or {}, slots * context)
    size = model_size(header)
    need = need_of(size, cache, gpu_layers)
    least = None
    if (tokens := slots * _least_context(header, context)) < cache.tokens:
        least = need_of(size, replace(cache, tokens=tokens), gpu_layers).total
    moved_by = next((flag for flag in args if flag in _PLACING), None) if gpu_layers else None
    return Estimate(need, slots, context, tuple(_notes(header, args)), least, moved_by)


def _least_context(header: GgufHeader, context: int) -> int:
    """Of how many tokens of a slot there is a cache at least, as `_notes` say why."""
    if header.recurrent or header.latent:
        return 0
    return context if header.window is None else min(context, header.window)


def model_size(header: GgufHeader) -> ModelSize:
    """The header's facts as they count for memory. What it does not tell is spread evenly over the
    layers (weights), or counts for nothing (cache).
    """
    weights = header.weights or _spread(header.size, header.layers or 1)
    cache = header.cache or Cache((), ())
    count = max(len(weights.layers), len(cache.keys))
    return ModelSize(
        input=weights.input,
        layers=_padded(weights.layers, count),
        output=weights.output,
        tied=weights.tied,
        keys=_padded(cache.keys, count),
        values=_padded(cache.values, count),
    )


def cache_setup(args: Sequence[str], environ: Mapping[str, str], tokens: int) -> CacheSetup:
    """The cache that llama-server makes of its arguments, which win over its variables."""
    keys = _last_of(args, _KEY_TYPE) or environ.get("LLAMA_ARG_CACHE_TYPE_K") or "f16"
    values = _last_of(args, _VALUE_TYPE) or environ.get("LLAMA_ARG_CACHE_TYPE_V") or "f16"
    return CacheSetup(
        tokens=tokens,
        keys=keys if keys in CACHE_TYPES else "f16",
        values=values if values in CACHE_TYPES else "f16",
        on_device=not any(flag in args for flag in _IN_MAIN_MEMORY),
    )


def _notes(header: GgufHeader, args: Sequence[str]) -> Iterator[str]:
    """What makes the estimate less than certain, in words."""
    if header.cache is None:
        yield "the file does not say its cache, which counts for nothing here"
    if header.weights is None:
        yield "the file has tensors of a type unknown here: layers are taken to be of equal size"
    if header.window is not None:
        yield (
            f"the cache is an upper bound: some layers may see {header.window:,} tokens only, and "
            "keep no more (unless with --swa-full)"
        )
    if header.recurrent:
        yield "the cache is an upper bound: some layers keep a state of fixed size instead"
    if header.latent:
        yield "the cache is an upper bound: newer builds keep a shorter form of it (MLA)"
    for flag in _FURTHER_MODELS:
        if flag in args:
            yield f"what {flag} loads beside the model is not counted"
    for flags in (_KEY_TYPE, _VALUE_TYPE):
        kind = _last_of(args, flags)
        if kind is not None and kind not in CACHE_TYPES:
            yield f"the cache type {kind!r} is unknown here, and counted as f16"


def _spread(size: int, layers: int) -> Weights:
    each = size // (layers + 1)
    return Weights(0, (each,) * layers, size - layers * each, tied=False)


def _padded(numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    return (*numbers, *[0] * (count - len(numbers)))


def _last_of(args: Sequence[str], flags: tuple[str, ...]) -> str | None:
    """The value of a flag with several names; the last one counts."""
    given = [value for flag, value in pairwise(args) if flag in flags]
    return given[-1] if given else None
