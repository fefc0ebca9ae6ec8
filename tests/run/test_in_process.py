"""Models in worker processes: how many, how much memory, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import ConfigError, ServerStartError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.memory import OVERHEAD, Memory
from pytest_llmeval.run import in_process
from pytest_llmeval.run.backing import backing_of, in_flight, what_computes
from pytest_llmeval.run.in_process import forced_slots, memory_trouble
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.servers.gguf_facts import GgufHeader
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.several import ServerGroup

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

GGUF = Path(__file__).parents[2] / "models" / "tiny-s.gguf"
IN_PROCESS = {"engine": "llama-cpp-python", "gguf": str(GGUF), "context": 256}
GIB = 2**30
HEADER = GgufHeader(8192, 4 * GIB, 4 * GIB, kv_bytes_per_token=2**17, layers=31)
"""A model of 4 GiB, whose 8,192 tokens of context take 1 GiB."""


def model_of(bench: Workbench, **keys: Any) -> ModelConfig:
    """The model m of a config with these keys."""
    bench.config(models={"m": {**IN_PROCESS, **keys}})
    return bench.settings().config.models["m"]


# Slots --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "server", "slots", "warned"),
    [
        ({}, {}, 1, None),
        ({}, {"context": 256}, 1, None),
        ({"slots": 1}, {}, 1, None),
        ({"slots": 4}, {}, 1, 4),
        ({}, {"slots": 3}, 1, 3),
        ({"slots": 4, "instances": 2}, {}, 2, 4),
        ({"slots": 2, "instances": 2}, {}, 2, None),
        ({"instances": 3}, {}, 3, None),
        ({"exact": True}, {"slots": 4}, 1, None),
    ],
)
def test_a_slot_is_an_instance_and_whoever_asked_for_more_is_told(
    bench: Workbench,
    keys: dict[str, Any],
    server: dict[str, Any],
    slots: int,
    warned: int | None,
) -> None:
    bench.config(models={"m": {**IN_PROCESS, **keys}}, server=server)
    config = bench.settings().config
    assert config.models["m"].slots == slots
    warnings = list(forced_slots(config))
    if warned is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert warning.startswith(f"m: {warned} slots were asked for, and engine llama-cpp-python")
        assert f"forced to {slots} unless `instances: {warned}` is set" in warning


def test_other_engines_have_the_slots_that_they_are_given(bench: Workbench) -> None:
    bench.config(models={"m": {**IN_PROCESS, "engine": "embedded", "slots": 4}})
    config = bench.settings().config
    assert config.models["m"].slots == 4
    assert list(forced_slots(config)) == []


def test_several_instances_are_not_exact(bench: Workbench) -> None:
    with pytest.raises(ConfigError, match="exact: true means one slot, found instances: 2"):
        model_of(bench, exact=True, instances=2)


def test_other_engines_take_no_instances(bench: Workbench) -> None:
    with pytest.raises(ConfigError, match="engine embedded takes no 'instances'"):
        model_of(bench, engine="embedded", instances=2)


def test_no_request_waits_at_a_worker_which_has_no_queue(bench: Workbench) -> None:
    model = model_of(bench, instances=2)
    assert in_flight(model, model.slots, timed=False, dry_run=False) == 2


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "llama-cpp-python in a process of its own"),
        (
            {"instances": 2, "gpu_layers": 8},
            "llama-cpp-python in 2 processes of its own, gpu_layers: 8",
        ),
    ],
)
def test_the_header_says_what_computes(bench: Workbench, keys: dict[str, Any], words: str) -> None:
    assert what_computes(model_of(bench, **keys)) == words


# Workers ------------------------------------------------------------------------------------------


def workers_of(bench: Workbench, **keys: Any) -> Server | ServerGroup:
    backing = backing_of(model_of(bench, **keys), bench.settings().config, bench.root, print)
    assert backing.make_server is not None
    workers = backing.make_server(bench.root)
    assert workers is not None
    return workers


def test_one_instance_is_a_server_of_one_slot(bench: Workbench) -> None:
    server = workers_of(bench, gpu_layers="all")
    assert isinstance(server, Server)
    spec = server.spec
    assert (spec.kind, spec.slots, spec.context) == ("llama-cpp-python", 1, 256)
    assert (spec.gpu_layers, spec.log_path) == ("all", bench.root / "m.log")


def test_instances_have_a_log_each_and_share_the_cores(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_process, "computing_cores", lambda: 8)
    group = workers_of(bench, instances=3)
    assert isinstance(group, ServerGroup)
    specs = [server.spec for server in group._servers]
    assert [spec.log_path.name for spec in specs] == ["m.log", "m.2.log", "m.3.log"]
    assert [spec.threads for spec in specs] == [2, 2, 2]


def test_threads_that_the_user_names_are_those_of_each_instance(bench: Workbench) -> None:
    group = workers_of(bench, instances=2, threads=3)
    assert isinstance(group, ServerGroup)
    assert [server.spec.threads for server in group._servers] == [3, 3]


# Memory -------------------------------------------------------------------------------------------


def test_instances_share_the_weights_and_have_a_cache_and_an_overhead_each(
    bench: Workbench,
) -> None:
    one, two, three = (memory_of(model_of(bench, instances=n)) for n in (1, 2, 3))
    assert one is not None
    assert two is not None
    assert three is not None
    assert two.ram - one.ram == three.ram - two.ram > OVERHEAD
    assert one.ram - (two.ram - one.ram) == GGUF.stat().st_size


def test_on_a_gpu_each_instance_has_weights_of_its_own(bench: Workbench) -> None:
    one, two = (memory_of(model_of(bench, instances=n, gpu_layers="all")) for n in (1, 2))
    assert one is not None
    assert two is not None
    assert (one.ram, two.ram) == (0, 0)
    assert two.vram == 2 * (one.vram or 0)


def test_what_fits_is_not_spoken_of(bench: Workbench) -> None:
    assert memory_trouble(model_of(bench, context=8192), HEADER, Memory(6 * GIB)) is None


def test_weights_that_do_not_fit_are_warned_of_with_both_figures(bench: Workbench) -> None:
    warning = memory_trouble(model_of(bench, context=8192), HEADER, Memory(3 * GIB))
    assert warning is not None
    assert "m needs about 5.25 GiB of memory and 3.00 GiB are free" in warning
    assert "read from the disk again and again" in warning


def test_what_lies_on_a_gpu_need_not_fit_into_memory(bench: Workbench) -> None:
    model = model_of(bench, context=8192, gpu_layers="all")
    assert memory_trouble(model, HEADER, Memory(GIB, 8 * GIB)) is None
    assert memory_trouble(model, HEADER, Memory(GIB, None)) is None  # nobody can tell
    half = model_of(bench, context=8192, gpu_layers=16)
    warning = memory_trouble(half, HEADER, Memory(2 * GIB, 8 * GIB))
    assert warning is not None
    assert "needs about 2.62 GiB of memory and 2.00 GiB are free" in warning


def test_a_gpu_without_room_is_warned_of(bench: Workbench) -> None:
    model = model_of(bench, context=8192, gpu_layers="all", instances=2)
    warning = memory_trouble(model, HEADER, Memory(64 * GIB, 8 * GIB))
    assert warning is not None
    assert "m needs about 10.50 GiB on the GPU, which has 8.00 GiB free" in warning
    assert "lower `gpu_layers`, `context` or `instances`" in warning


def test_a_context_that_does_not_fit_is_refused_with_the_way_out(bench: Workbench) -> None:
    with pytest.raises(ServerStartError) as refusal:
        memory_trouble(model_of(bench, context=8192, instances=4), HEADER, Memory(2 * GIB))
    words = str(refusal.value)
    assert "its 4 × 8,192 tokens of context need about 5.00 GiB of memory beside the" in words
    assert "2.00 GiB are free: lower `context` or `instances`" in words


def test_it_is_looked_at_before_a_model_is_loaded(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_process, "free_now", lambda: Memory(1000))
    with pytest.raises(ServerStartError, match=r"0\.00 GiB are free"):
        workers_of(bench)
