"""What logs say about devices. Those of cards are written down by us, in the words of the builds
that each one names; those of the CPU come from the real llama-server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.servers.device_use import DeviceUse, backend_of, find_device_fault, read_use
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec

VULKAN_2025 = """\
ggml_vulkan: Found 1 Vulkan devices:
ggml_vulkan: 0 = AMD Radeon RX 6900 XT (RADV NAVI21) (radv) | uma: 0 | fp16: 1 | bf16: 0
llama_model_load_from_file_impl: using device Vulkan0 (AMD Radeon RX 6900 XT (RADV NAVI21)) - \
16368 MiB free
load_tensors: loading model tensors, this can take a while... (mmap = true)
load_tensors: offloading 32 repeating layers to GPU
load_tensors: offloading output layer to GPU
load_tensors: offloaded 33/33 layers to GPU
load_tensors:      Vulkan0 model buffer size =  4403.49 MiB
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
llama_context: Vulkan_Host  output buffer size =     0.49 MiB
llama_kv_cache:    Vulkan0 KV buffer size =   512.00 MiB
llama_context:    Vulkan0 compute buffer size =   296.00 MiB
llama_context: Vulkan_Host compute buffer size =    16.01 MiB
"""
"""Builds b4600 (February 2025) to b7000 (November 2025)."""

CUDA_2026 = """\
0.01.201.114 I llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 3080 Ti) \
(0000:01:00.0) - 11650 MiB free
0.01.201.121 I llama_prepare_model_devices: using device CUDA1 (NVIDIA RTX A4000) \
(0000:02:00.0) - 15800 MiB free
0.02.337.871 I load_tensors: offloaded 33/33 layers to GPU
0.02.337.880 I load_tensors:        CUDA0 model buffer size =  2301.10 MiB
0.02.337.881 I load_tensors:        CUDA1 model buffer size =  2202.39 MiB
0.02.337.882 I load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
0.03.002.010 I llama_kv_cache:      CUDA0 KV buffer size =   256.00 MiB
0.03.002.011 I llama_kv_cache:      CUDA1 KV buffer size =   256.00 MiB
"""
"""Builds of 2026, with times and levels before the words, at a verbosity of 4."""

CUDA_2024 = """\
llm_load_tensors: offloading 32 repeating layers to GPU
llm_load_tensors: offloaded 33/33 layers to GPU
llm_load_tensors:        CPU buffer size =   281.81 MiB
llm_load_tensors:      CUDA0 buffer size =  4403.49 MiB
llama_kv_cache_init:      CUDA0 KV buffer size =   512.00 MiB
"""
"""Builds before b4100 (November 2024), which name no device."""

SEEN_AND_UNUSED = """\
llama_model_load_from_file_impl: using device CUDA0 (NVIDIA RTX A4000) - 15800 MiB free
load_tensors: offloading 0 repeating layers to GPU
load_tensors: offloaded 0/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =  4685.30 MiB
llama_kv_cache:        CPU KV buffer size =   512.00 MiB
"""
"""Builds of 2025 without `-ngl`, which put no layer on a card by themselves."""

NOT_BUILT_IN = """\
warning: no usable GPU found, --gpu-layers option will be ignored
warning: one possible reason is that llama.cpp was compiled without GPU support
load_tensors:   CPU_Mapped model buffer size =  4685.30 MiB
"""
"""Builds for the CPU, since 2024."""

METAL_2025 = """\
llama_model_load_from_file_impl: using device Metal (Apple M2 Max) - 49151 MiB free
load_tensors: offloaded 33/33 layers to GPU
load_tensors: Metal_Mapped model buffer size =  4403.49 MiB
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
llama_kv_cache:      Metal KV buffer size =   512.00 MiB
"""
"""Builds of 2025 on macOS."""


def spec(**changes: Any) -> ServerSpec:
    asked: dict[str, Any] = {
        "name": "qwen3",
        "kind": "llama-server",
        "gguf": Path("qwen3.gguf"),
        "slots": 1,
        "context": 4096,
        "log_path": Path("qwen3.log"),
    }
    return ServerSpec(**{**asked, **changes})


def fault(log: str, **asked: Any) -> str | None:
    return find_device_fault(read_use(log.splitlines()), spec(**asked))


# Reading ------------------------------------------------------------------------------------------


def test_devices_layers_and_buffers_are_read_in_the_words_of_2025() -> None:
    use = read_use(VULKAN_2025.splitlines())
    assert use.devices == {"Vulkan0": "AMD Radeon RX 6900 XT (RADV NAVI21)"}
    assert use.offloaded == (33, 33)
    assert use.weights == {"Vulkan0": 4403.49, "CPU_Mapped": 281.81}
    assert use.cache == {"Vulkan0": 512.0}
    assert use.busy_devices == ("Vulkan0",)
    assert use.in_words == "Vulkan0 (AMD Radeon RX 6900 XT (RADV NAVI21))"


def test_a_place_on_the_bus_is_no_part_of_a_name() -> None:
    use = read_use(CUDA_2026.splitlines())
    assert use.devices == {"CUDA0": "NVIDIA GeForce RTX 3080 Ti", "CUDA1": "NVIDIA RTX A4000"}
    assert use.busy_devices == ("CUDA0", "CUDA1")


def test_builds_that_name_no_device_tell_it_by_their_buffers() -> None:
    use = read_use(CUDA_2024.splitlines())
    assert use.devices == {}
    assert use.weights == {"CPU": 281.81, "CUDA0": 4403.49}
    assert use.busy_devices == ("CUDA0",)


def test_a_device_of_a_kind_that_we_do_not_know_is_one_all_the_same() -> None:
    use = read_use(SEEN_AND_UNUSED.replace("CUDA0", "SYCL0").splitlines())
    assert use.busy_devices == ()
    use = read_use(VULKAN_2025.replace("Vulkan0", "SYCL0").splitlines())
    assert use.busy_devices == ("SYCL0",)


def test_main_memory_that_a_card_may_read_is_no_card() -> None:
    log = "load_tensors:    CUDA_Host model buffer size =   281.81 MiB"
    assert read_use([log]).busy_devices == ()


def test_a_log_of_other_things_tells_nothing() -> None:
    assert not read_use(["main: server is listening", ""]).told


@pytest.mark.parametrize(
    ("device", "backend"),
    [("CUDA10", "cuda"), ("ROCm0", "rocm"), ("MTL0", "metal"), ("CPU", None), ("SYCL0", None)],
)
def test_a_device_has_a_backend_by_its_name(device: str, backend: str | None) -> None:
    assert backend_of(device) == backend


# Faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "backend"),
    [
        (VULKAN_2025, "vulkan"),
        (CUDA_2026, "cuda"),
        (CUDA_2024, "cuda"),
        (METAL_2025, "metal"),
        (NOT_BUILT_IN, "cpu"),
        (SEEN_AND_UNUSED, "cpu"),
    ],
)
def test_a_server_on_the_backend_that_was_asked_for_is_right(log: str, backend: str) -> None:
    assert fault(log, backend=backend) is None


def test_nothing_is_wrong_where_nothing_was_asked_for_or_nothing_is_told() -> None:
    assert fault(NOT_BUILT_IN) is None
    assert fault("main: server is listening", backend="cuda") is None


def test_a_build_without_the_backend_is_a_fault_with_the_ways_out() -> None:
    assert fault(NOT_BUILT_IN, backend="cuda") == (
        "the backend cuda was asked for, and the server computes on the CPU: this llama-server is "
        "built without cuda or sees no such card. `llama-orch devices` tells what it sees; name a "
        "build that has it with `server.executable`, or set `gpu.backend` to cpu"
    )


def test_a_card_that_got_no_layer_is_a_fault_with_the_way_out() -> None:
    assert fault(SEEN_AND_UNUSED, backend="cuda") == (
        "the backend cuda was asked for, and the server computes on the CPU: it sees CUDA0 (NVIDIA "
        "RTX A4000) and put 0 of 33 layers there. Write `gpu.layers: all`, or as many as fit; "
        "older builds put none there by themselves"
    )


def test_no_layer_on_a_card_is_right_where_none_was_asked_for() -> None:
    assert fault(SEEN_AND_UNUSED, backend="cuda", gpu_layers=0) is None
    assert fault(NOT_BUILT_IN, backend="cuda", gpu_layers=0) is not None


def test_another_backend_than_the_one_asked_for_is_a_fault() -> None:
    words = fault(CUDA_2026, backend="vulkan")
    assert words is not None
    assert "vulkan was asked for, and the server computes on CUDA0 (NVIDIA GeForce RTX" in words
    assert "name one card with `gpu.device_id`" in words


def test_a_card_under_a_server_for_the_cpu_is_a_fault() -> None:
    words = fault(VULKAN_2025, backend="cpu")
    assert words is not None
    assert "cpu was asked for, and the server computes on Vulkan0 (AMD Radeon" in words
    assert "remove what its `args` say of devices" in words


def test_another_card_than_the_one_of_the_number_is_a_fault() -> None:
    asked = {"backend": "vulkan", "device": 1}
    name = "AMD Radeon RX 6900 XT (RADV NAVI21)"
    assert fault(VULKAN_2025, **asked, device_name=name) is None
    words = fault(VULKAN_2025, **asked, device_name="Intel(R) UHD Graphics 770")
    assert words == (
        "device 1 of the backend vulkan is Intel(R) UHD Graphics 770, and the server computes on "
        f"Vulkan0 ({name}): two drivers count the cards in different orders. Set `gpu.device_id` "
        "to another number"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a stand-in of one line needs a POSIX shell")
def test_a_server_that_logs_its_card_has_it_as_its_device(
    make_server: Callable[..., Server], llama_server: Callable[..., str]
) -> None:
    """The log is written beforehand by a stand-in, which then serves on the CPU."""
    lines = "\n".join(f"echo '{line}' >&2" for line in VULKAN_2025.splitlines())
    serve = f'exec "{sys.executable}" -m pytest_llmeval.servers.embedded -m "$2" --port "$8" -np 2'
    server = make_server(
        kind="llama-server",
        executable=llama_server(f"{lines}\n{serve} -c 512"),
        backend="vulkan",
        device=0,
    )
    server.start()
    assert server.devices == "Vulkan0 (AMD Radeon RX 6900 XT (RADV NAVI21))"


# Real servers -------------------------------------------------------------------------------------


def test_the_real_log_of_a_server_on_the_cpu_is_read(
    make_server: Callable[..., Server],
    real_llama_server: Path,
    becomes_true: Callable[..., bool],
) -> None:
    server = make_server(
        kind="llama-server",
        executable=str(real_llama_server),
        backend="cpu",
        variables={"LLAMA_ARG_LOG_VERBOSITY": "4"},
    )
    server.start()
    assert server.devices is None

    def use() -> DeviceUse:
        return read_use(server.spec.log_path.read_text(encoding="utf-8").splitlines())

    # It answers before all that it has said is written down.
    assert becomes_true(lambda: use().told and use().cache)
    assert use().busy_devices == ()
    assert set(use().weights) | set(use().cache) <= {"CPU", "CPU_Mapped", "CPU_REPACK"}
    assert use().cache["CPU"] > 0


@pytest.mark.parametrize("layers", ["all", None])
def test_a_real_server_that_finds_no_card_is_refused(
    make_server: Callable[..., Server], real_llama_server: Path, layers: Any
) -> None:
    """The build for tests has no backend but the CPU. Without layers asked for it warns of nothing,
    and says where the model lies only because we have it log that.
    """
    server = make_server(
        kind="llama-server", executable=str(real_llama_server), backend="vulkan", gpu_layers=layers
    )
    with pytest.raises(ServerStartError) as caught:
        server.start()
    assert caught.value.message.startswith(
        "tiny: the backend vulkan was asked for, and the server computes on the CPU"
    )
    assert not server.alive()


def test_a_real_server_that_does_not_know_the_card_says_so_itself(
    make_server: Callable[..., Server], real_llama_server: Path
) -> None:
    server = make_server(
        kind="llama-server", executable=str(real_llama_server), backend="vulkan", device=0
    )
    with pytest.raises(ServerStartError) as caught:
        server.start()
    assert any("invalid device: Vulkan0" in line for line in caught.value.log_tail)
