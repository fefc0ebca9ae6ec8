"""What instances will need: by hand, and held against what the real llama-server takes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import CacheSetup
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import (
    cache_setup,
    estimate_instance,
    estimate_model,
    model_size,
)
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.specs import server_spec
from pytest_llmeval.servers.device_use import read_use
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.gguf_facts import Cache, GgufHeader, Weights
from pytest_llmeval.servers.server import Server

MODELS = Path(__file__).parents[2] / "models"
MIB = 2**20

HEADER = GgufHeader(
    context_length=8192,
    size=1500,
    expected_size=1500,
    kv_bytes_per_token=2 * 4 * 64,
    layers=2,
    weights=Weights(1000, (100, 100), 300, tied=False),
    cache=Cache((64, 64), (64, 64)),
)


def config(**changes: Any) -> InstanceConfig:
    model = {"path": "m.gguf", "context_size": 256}
    return InstanceConfig.model_validate({"model": model, **changes})


# Against the real one -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-l", "tiny-s"])
@pytest.mark.parametrize(
    "args", [(), ("-ctk", "q8_0", "-ctv", "q8_0"), ("--cache-type-k", "q4_0")], ids=str
)
def test_weights_and_cache_are_within_a_tenth_of_what_llama_server_logs(
    name: str, args: tuple[str, ...], real_llama_server: Path, tmp_path: Path
) -> None:
    path = MODELS / f"{name}.gguf"
    asked = InstanceConfig.model_validate(
        {
            "model": {"path": str(path), "context_size": 512, "threads": 1},
            "server": {"executable": str(real_llama_server), "parallel": 2},
            "env": {"LLAMA_ARG_LOG_VERBOSITY": "4"},
            "args": list(args),
        }
    )
    need = estimate_instance(asked, read_gguf(path)).need
    spec = server_spec(name, asked, Home(tmp_path), environ=os.environ)
    server = Server(spec, lambda url, key: fetch(url, 5, key).answer())
    try:
        server.start()
        while "listening" not in (log := spec.log_path.read_text(encoding="utf-8")):
            time.sleep(0.05)  # the guard writes it a moment later
        use = read_use(log.splitlines())
    finally:
        server.stop(0)
    assert sum(use.weights.values()) * MIB == pytest.approx(need.weights.ram, rel=0.1)
    assert sum(use.cache.values()) * MIB == pytest.approx(need.cache.ram, rel=0.1)


# By hand ------------------------------------------------------------------------------------------


def test_the_context_of_all_slots_counts_as_the_server_rounds_it() -> None:
    estimate = estimate_model(HEADER, slots=3, context=300, gpu_layers=None)
    assert (estimate.slots, estimate.context) == (3, 512)
    assert estimate.need.cache == Memory(3 * 512 * 4 * 64 * 2, 0)
    assert estimate.notes == ()


def test_an_instance_for_the_cpu_has_nothing_on_a_card() -> None:
    assert estimate_instance(config(), HEADER).total.vram == 0


def test_layers_that_the_config_leaves_open_count_as_all_and_that_is_said() -> None:
    estimate = estimate_instance(config(gpu={"backend": "cuda"}), HEADER)
    assert estimate.need.weights == Memory(1000, 500)
    assert "gpu.layers is not set: counted as all" in estimate.notes[0]
    asked = estimate_instance(config(gpu={"backend": "cuda", "layers": 2}), HEADER)
    assert asked.need.weights == Memory(1100, 400)
    assert asked.notes == ()


@pytest.mark.parametrize(
    ("args", "environ", "setup"),
    [
        ((), {}, CacheSetup(10)),
        (("-ctk", "q8_0"), {}, CacheSetup(10, keys="q8_0")),
        (("--cache-type-v", "q4_0", "-ctv", "q5_1"), {}, CacheSetup(10, values="q5_1")),
        ((), {"LLAMA_ARG_CACHE_TYPE_K": "q8_0"}, CacheSetup(10, keys="q8_0")),
        (("-ctk", "f32"), {"LLAMA_ARG_CACHE_TYPE_K": "q8_0"}, CacheSetup(10, keys="f32")),
        (("-nkvo",), {}, CacheSetup(10, on_device=False)),
        (("-ctk",), {}, CacheSetup(10)),
        (("-ctk", "q1_new"), {}, CacheSetup(10)),
    ],
)
def test_the_cache_is_the_one_of_the_servers_own_arguments(
    args: tuple[str, ...], environ: dict[str, str], setup: CacheSetup
) -> None:
    assert cache_setup(args, environ, 10) == setup


def test_a_header_that_tells_only_its_size_is_spread_over_its_layers() -> None:
    header = GgufHeader(None, 1000, 1000, None, layers=3)
    size = model_size(header)
    assert (size.layers, size.output, size.weights) == ((250, 250, 250), 250, 1000)
    notes = estimate_model(header, slots=1, context=256, gpu_layers=0).notes
    assert "the file does not say its cache, which counts for nothing here" in notes
    assert any("tensors of a type unknown here" in note for note in notes)


def test_layers_without_a_cache_and_caches_without_weights_are_both_counted() -> None:
    header = GgufHeader(
        None, 10, 10, 0, weights=Weights(1, (2, 2, 2), 3, tied=False), cache=Cache((4,), (4,))
    )
    assert model_size(header).keys == (4, 0, 0)


@pytest.mark.parametrize(
    ("args", "layers", "moved_by"),
    [
        (("-fa", "on"), "all", None),
        (("-fa", "on", "--n-cpu-moe", "12"), "all", "--n-cpu-moe"),
        (("-ot", "exps=CPU"), 20, "-ot"),
        (("-ot", "exps=CPU"), 0, None),
    ],
)
def test_an_argument_that_places_tensors_on_a_device_or_beside_it_is_known(
    args: tuple[str, ...], layers: Any, moved_by: str | None
) -> None:
    estimate = estimate_model(HEADER, slots=1, context=256, gpu_layers=layers, args=args)
    assert estimate.moved_by == moved_by


@pytest.mark.parametrize(
    ("facts", "tokens"),
    [
        ({}, None),
        ({"window": 128}, 128),
        ({"window": 512}, None),  # more than a slot has
        ({"recurrent": True}, 0),
        ({"latent": True}, 0),
    ],
)
def test_where_the_cache_is_an_upper_bound_there_is_a_lower_one(
    facts: dict[str, Any], tokens: int | None
) -> None:
    estimate = estimate_model(replace(HEADER, **facts), slots=2, context=256, gpu_layers=0)
    if tokens is None:
        assert estimate.least is None
    else:
        saved = 2 * (256 - tokens) * 4 * 64 * 2
        assert estimate.least == Memory(estimate.total.ram - saved, 0)


@pytest.mark.parametrize(
    ("facts", "args", "words"),
    [
        ({"window": 1024}, (), "some layers may see 1,024 tokens only"),
        ({"recurrent": True}, (), "keep a state of fixed size instead"),
        ({"latent": True}, (), "newer builds keep a shorter form of it"),
        ({}, ("--mmproj", "eyes.gguf"), "what --mmproj loads beside the model is not counted"),
        ({}, ("-ctk", "q1_new"), "the cache type 'q1_new' is unknown here, and counted as f16"),
    ],
)
def test_what_makes_an_estimate_less_certain_is_said(
    facts: dict[str, Any], args: tuple[str, ...], words: str
) -> None:
    header = replace(HEADER, **facts)
    (note,) = estimate_model(header, slots=1, context=256, gpu_layers=0, args=args).notes
    assert words in note
