from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.servers.placement import device_flags, device_variables
from pytest_llmeval.servers.spec import ServerSpec


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


LOGGED = {"LLAMA_ARG_LOG_VERBOSITY": "4"}
BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def test_a_server_that_may_choose_is_told_nothing() -> None:
    assert device_flags(spec()) == ()
    assert device_variables(spec(), {"CUDA_VISIBLE_DEVICES": "1"}) == {}


def test_a_server_that_is_to_stay_on_the_cpu_is_told_to_use_no_device() -> None:
    cpu = spec(backend="cpu")
    assert device_flags(cpu) == ("--device", "none")
    assert device_variables(cpu, {}) == {}


def test_the_embedded_engine_stays_on_the_cpu_by_its_layers() -> None:
    assert device_flags(spec(kind="embedded", backend="cpu")) == ("-ngl", "0")


@pytest.mark.parametrize(
    ("backend", "flags", "variables"),
    [
        (
            "vulkan",
            ("--device", "Vulkan0"),
            {"GGML_VK_VISIBLE_DEVICES": "2", "GGML_VULKAN_DEVICE": "2"},
        ),
        ("cuda", ("--device", "CUDA0"), {"CUDA_VISIBLE_DEVICES": "2", **BY_BUS}),
        ("rocm", ("--device", "ROCm0"), {"HIP_VISIBLE_DEVICES": "2"}),
        ("metal", (), {}),
    ],
)
def test_a_card_is_chosen_by_hiding_the_others_and_is_then_the_first(
    backend: str, flags: tuple[str, ...], variables: dict[str, str]
) -> None:
    chosen = spec(backend=backend, device=2)
    assert device_flags(chosen) == flags
    assert device_variables(chosen, {}) == {**variables, **LOGGED}


@pytest.mark.parametrize("backend", ["vulkan", "cuda", "rocm", "metal"])
def test_without_a_number_all_cards_of_the_backend_stay_in_sight(backend: str) -> None:
    anything = spec(backend=backend)
    assert device_flags(anything) == ()
    assert not any("DEVICES" in name for name in device_variables(anything, {}))


def test_a_number_counts_the_cards_that_are_in_sight_already() -> None:
    """So that a number means the same here as in the list of devices, made in the same sight."""
    seen = {"CUDA_VISIBLE_DEVICES": "3, GPU-8932f937"}
    for number, name in ((0, "3"), (1, "GPU-8932f937")):
        found = device_variables(spec(backend="cuda", device=number), seen)
        assert found["CUDA_VISIBLE_DEVICES"] == name


def test_rocm_is_renumbered_once_only() -> None:
    """Both of its variables with the same number would leave the second card none to choose."""
    found = device_variables(spec(backend="rocm", device=1), {"ROCR_VISIBLE_DEVICES": "2,3"})
    assert found == {"HIP_VISIBLE_DEVICES": "1", **LOGGED}


@pytest.mark.parametrize(("given", "count"), [("4", 1), ("", 0)])
def test_a_card_that_is_hidden_already_is_refused_with_what_hides_it(
    given: str, count: int
) -> None:
    with pytest.raises(ServerStartError) as caught:
        device_variables(spec(backend="cuda", device=1), {"CUDA_VISIBLE_DEVICES": given})
    assert caught.value.message == (
        f"qwen3: device 1 was asked for, but CUDA_VISIBLE_DEVICES={given} shows {count}, "
        "numbered from 0; ask for another device, or unset CUDA_VISIBLE_DEVICES"
    )


def test_what_the_user_has_set_about_order_and_log_stays() -> None:
    set_before = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST", "LLAMA_ARG_LOG_VERBOSITY": "5"}
    assert device_variables(spec(backend="cuda"), set_before) == set_before
