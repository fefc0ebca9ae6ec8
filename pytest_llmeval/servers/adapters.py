"""LoRA adapters of a server: whether they are some, their scales, and what it has loaded of them.

llama-server loads adapters by `--lora` and tells of them at GET /lora-adapters. Their scales are
set by POST to the same path: its flag for them, `--lora-scaled`, cuts a path at its colon, which
every path with a drive of Windows has, and took other words in older builds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_llmeval.errors import ModelFileError
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.gguf_facts import GgufHeader
from pytest_llmeval.servers.spec import LoraAdapter, ServerSpec

_ROUNDING = 1e-6
"""By so much, and its share, a scale differs that has been through a float of 32 bits."""


def check_files(spec: ServerSpec, header: GgufHeader) -> None:
    """Raise ModelFileError where a model stands in an adapter's place, or the other way round, or
    an adapter is no whole GGUF; `header` is that of the spec's model.
    """
    if header.is_adapter:
        raise ModelFileError(
            f"{spec.gguf}: is a LoRA adapter and no model: name the model with `gguf` and this "
            "file with `lora`"
        )
    for adapter in spec.lora:
        if not read_gguf(adapter.path).is_adapter:
            raise ModelFileError(
                f"{adapter.path}: is a GGUF and no LoRA adapter (its general.type is not "
                "'adapter'): name a model with `gguf`, and an adapter with `lora`"
            )


def as_argument(adapter: LoraAdapter) -> str:
    """The adapter's path as `--lora` takes it: that flag takes a row of CSV."""
    text = str(adapter.path)
    if "," in text or text.startswith('"'):
        return '"' + text.replace('"', '""') + '"'
    return text


def scales_body(adapters: Sequence[LoraAdapter]) -> bytes | None:
    """What sets the scales, by the numbers that the server gives its adapters in order; None when
    each is 1 as it is. All are told: the server takes one that is left out for 0.
    """
    if all(adapter.scale == 1 for adapter in adapters):
        return None
    scales = [{"id": number, "scale": each.scale} for number, each in enumerate(adapters)]
    return json.dumps(scales).encode("ascii")


def read_adapters(status: int, body: bytes) -> list[Mapping[str, Any]]:
    """The list that GET /lora-adapters gave; ValueError with a reason if it is none."""
    if status != 200:
        raise ValueError(f"HTTP {status}")
    try:
        adapters = json.loads(body)
    except RecursionError:
        adapters = None
    if isinstance(adapters, list) and all(isinstance(each, dict) for each in adapters):
        return adapters
    raise ValueError("no JSON list of objects")


def find_adapter_fault(
    loaded: Sequence[Mapping[str, Any]], asked: Sequence[LoraAdapter]
) -> str | None:
    """What the server has loaded otherwise than asked for, and the way out; None if all is well."""
    told = [(str(each.get("path")), each.get("scale")) for each in loaded]
    paths = [path for path, _ in told]
    for adapter in asked:
        path = str(adapter.path)
        if path not in paths:
            has = ", ".join(paths) or "none"
            return (
                f"the adapter {path} was asked for and the server has not loaded it; it has {has}"
            )
        scale = told[paths.index(path)][1]
        if not _same_scale(scale, adapter.scale):
            return (
                f"the adapter {path} was asked for with the scale {adapter.scale:g} and the server "
                f"applies it with {scale}: do its `args` say so?"
            )
    strangers = [path for path in paths if path not in {str(adapter.path) for adapter in asked}]
    if strangers:
        return (
            f"the server has loaded the adapter {strangers[0]} too: name it with `lora` and not in "
            "`args`, so that the run knows by which weights its answers were made"
        )
    return None


def _same_scale(told: object, asked: float) -> bool:
    return (
        isinstance(told, int | float)
        and not isinstance(told, bool)
        and abs(told - asked) <= _ROUNDING * max(1.0, abs(asked))
    )
