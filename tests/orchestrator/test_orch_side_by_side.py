from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from pytest_llmeval.errors import InstanceConfigError
from pytest_llmeval.machine.devices import Device
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import Need
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate, estimate_model
from pytest_llmeval.orchestrator.side_by_side import (
    Holding,
    SideBySide,
    card_keys,
    fit_together,
    holding_of,
    shortage,
)
from pytest_llmeval.orchestrator.sight import Sight
from pytest_llmeval.orchestrator.views import Instances, InstanceView
from pytest_llmeval.servers.gguf import read_gguf

GIB = 2**30
MODEL = Path(__file__).parents[2] / "models" / "tiny-l.gguf"

BIG = Device("CUDA0", "NVIDIA RTX A4000", 16 * GIB, 10 * GIB)
SMALL = Device("CUDA1", "NVIDIA GeForce RTX 3050", 8 * GIB, 8 * GIB)
AS_VULKAN = Device("Vulkan0", "NVIDIA RTX A4000", 16 * GIB, 10 * GIB)
APPLE = Device("MTL0", "Apple M2 Max", 48 * GIB, 48 * GIB)


def config(**gpu: Any) -> InstanceConfig:
    return InstanceConfig.model_validate({"model": {"path": str(MODEL)}, "gpu": gpu})


def holding(ram: int, vram: int, *devices: Device, **gpu: Any) -> Holding:
    nothing = Memory(0, 0)
    need = Need(Memory(ram * GIB, vram * GIB), nothing, nothing)
    return holding_of(config(**gpu), Estimate(need, 1, 256), Sight(devices, 16 * GIB))


# Where it lies ------------------------------------------------------------------------------------


def test_an_instance_on_the_cpu_takes_main_memory_only() -> None:
    assert holding(3, 0, BIG) == Holding(3 * GIB, {})


def test_an_instance_of_several_cards_is_shared_out_by_their_size() -> None:
    assert holding(1, 12, BIG, SMALL, backend="cuda") == Holding(
        GIB, {("NVIDIA RTX A4000", 0): 8 * GIB, ("NVIDIA GeForce RTX 3050", 0): 4 * GIB}
    )


def test_what_is_on_a_device_in_main_memory_is_taken_from_that() -> None:
    assert holding(1, 12, APPLE, backend="metal") == Holding(13 * GIB, {})


def test_of_one_whose_arguments_place_tensors_nobody_knows_what_it_takes_of_a_card() -> None:
    estimate = estimate_model(
        read_gguf(MODEL), slots=1, context=256, gpu_layers="all", args=("-ncmoe", "8")
    )
    sight = Sight((BIG,), 16 * GIB)
    assert holding_of(config(backend="cuda"), estimate, sight).cards is None
    assert fit_together([Holding(0, None)], [], sight) is None


def test_an_instance_whose_card_is_not_to_be_seen_lies_nobody_knows_where() -> None:
    assert holding(1, 12, SMALL, backend="vulkan") == Holding(GIB, None)


def test_a_card_is_the_same_one_on_every_backend() -> None:
    radv = Device("Vulkan1", "AMD Radeon RX 6900 XT (RADV NAVI21)", GIB, GIB)
    rocm = Device("ROCm0", "AMD Radeon RX 6900 XT", GIB, GIB)
    second = Device("CUDA1", "NVIDIA RTX A4000", GIB, GIB)
    keys = card_keys([BIG, second, AS_VULKAN, radv, rocm])
    assert keys["CUDA0"] == keys["Vulkan0"] == ("NVIDIA RTX A4000", 0)
    assert keys["CUDA1"] == ("NVIDIA RTX A4000", 1)
    assert keys["Vulkan1"] == keys["ROCm0"] == ("AMD Radeon RX 6900 XT", 0)


# Whether they fit ---------------------------------------------------------------------------------

SIGHT = Sight((BIG, SMALL, AS_VULKAN), 8 * GIB)
CARD = ("NVIDIA RTX A4000", 0)


@pytest.mark.parametrize(
    ("wanted", "running", "fit"),
    [
        ([Holding(8 * GIB, {})], [], True),
        ([Holding(9 * GIB, {})], [], False),
        ([Holding(9 * GIB, {})], [Holding(2 * GIB, {})], True),
        ([Holding(9 * GIB, {}), Holding(2 * GIB, {})], [Holding(2 * GIB, {})], False),
        ([Holding(0, {CARD: 11 * GIB})], [], False),
        ([Holding(0, {CARD: 11 * GIB})], [Holding(0, {CARD: 2 * GIB})], True),
        ([Holding(0, {CARD: 6 * GIB}), Holding(0, {CARD: 5 * GIB})], [], False),
        ([Holding(0, None)], [], None),
        ([Holding(0, None), Holding(9 * GIB, {})], [], False),
        ([Holding(0, {("another", 0): 1})], [], False),
        ([], [], True),
    ],
)
def test_what_runs_and_is_not_wanted_makes_room(
    wanted: list[Holding], running: list[Holding], fit: bool | None
) -> None:
    assert fit_together(wanted, running, SIGHT) is fit


def test_what_is_short_is_told_by_memory_and_a_card_of_two_names_is_counted_once() -> None:
    wanted = [Holding(9 * GIB, {CARD: 6 * GIB}), Holding(0, {CARD: 7 * GIB, ("another", 0): GIB})]
    assert shortage(wanted, [], SIGHT) == Memory(GIB, 4 * GIB)
    assert shortage(wanted, [Holding(2 * GIB, {CARD: 3 * GIB})], SIGHT) == Memory(0, GIB)


# On this machine ----------------------------------------------------------------------------------


class Two:
    """Stands for the instances of a home: `a` runs, `b` does not, the config of `c` is broken."""

    def overview(self) -> tuple[InstanceView, ...]:
        view = InstanceView(
            "a", "up", "healthy", "", "tiny-l", "cpu", None, 1, (), pid=4711, port=1
        )
        return (view,)

    def config(self, name: str) -> InstanceConfig:
        if name == "c":
            raise InstanceConfigError("broken")
        return config()


@pytest.fixture
def fits(tmp_path: Path) -> SideBySide:
    return SideBySide(cast(Instances, Two()), {}, KnownDevices(tmp_path))


def test_small_models_fit_side_by_side_here(fits: SideBySide) -> None:
    assert fits({"a", "b"}) is True


def test_with_hardly_any_memory_they_take_turns(tmp_path: Path) -> None:
    little = Sight((), 100 * 2**20)
    instances = cast(Instances, Two())
    fits = SideBySide(instances, {}, KnownDevices(tmp_path), look=lambda *_: little)
    assert fits({"a"}) is True
    assert fits({"b"}) is True
    assert fits({"a", "b"}) is False


def test_of_one_whose_config_cannot_be_read_nobody_can_tell(fits: SideBySide) -> None:
    assert fits({"a", "c"}) is None
