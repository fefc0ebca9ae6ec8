from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.machine.card_memory import Card
from pytest_llmeval.machine.devices import Device, Listing
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import Admission, Need
from pytest_llmeval.orchestrator.admission import amount, in_words, judge
from pytest_llmeval.orchestrator.config import GpuConfig, InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate
from pytest_llmeval.orchestrator.sight import Sight, devices_of, look, look_for

GIB = 2**30
RTX = Device("CUDA0", "NVIDIA GeForce RTX 3080 Ti", 12 * GIB, 11 * GIB)
A4000 = Device("CUDA1", "NVIDIA RTX A4000", 16 * GIB, 5 * GIB)
VULKAN = Device("Vulkan0", "NVIDIA GeForce RTX 3080 Ti", 12 * GIB, 11 * GIB)
APPLE = Device("MTL0", "Apple M2 Max", 48 * GIB, 48 * GIB)


def config(**gpu: Any) -> InstanceConfig:
    return InstanceConfig.model_validate({"model": {"path": "m.gguf"}, "gpu": gpu})


def estimate(ram: int, vram: int) -> Estimate:
    nothing = Memory(0, 0)
    return Estimate(Need(Memory(ram * GIB, vram * GIB), nothing, nothing), slots=1, context=4096)


def sight(*devices: Device, ram: int = 16) -> Sight:
    return Sight(devices, ram * GIB)


# Which devices ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "own"),
    [
        ({"backend": "cuda"}, (RTX, A4000)),
        ({"backend": "cuda", "device_id": 1}, (A4000,)),
        ({"backend": "cuda", "device_id": 2}, ()),
        ({"backend": "vulkan", "device_id": 0}, (VULKAN,)),
        ({"backend": "metal", "device_id": 0}, (APPLE,)),
        ({"backend": "rocm"}, ()),
        ({"backend": "cpu"}, ()),
    ],
)
def test_an_instance_has_the_device_of_its_number_or_all_of_its_backend(
    gpu: dict[str, Any], own: tuple[Device, ...]
) -> None:
    read = GpuConfig.model_validate(gpu)
    assert devices_of(read, [RTX, A4000, VULKAN, APPLE]) == own


# Whether it fits ----------------------------------------------------------------------------------


def test_on_the_cpu_main_memory_decides_whatever_is_known_of_devices() -> None:
    assert judge(config(), estimate(10, 0), sight()).verdict == "fits"
    admission = judge(config(), estimate(20, 0), sight(RTX))
    assert admission == Admission("does_not_fit", Memory(4 * GIB, 0))


def test_the_device_of_the_number_decides() -> None:
    on_second = config(backend="cuda", device_id=1, layers="all")
    admission = judge(on_second, estimate(1, 8), sight(RTX, A4000))
    assert admission == Admission("does_not_fit", Memory(0, 3 * GIB))


def test_a_server_that_chooses_its_layers_itself_is_not_refused_for_its_device() -> None:
    chooses = config(backend="cuda", device_id=1)
    admission = judge(chooses, estimate(1, 8), sight(RTX, A4000))
    assert (admission.verdict, admission.short) == ("unknown", Memory(0, 3 * GIB))
    assert admission.why.startswith("gpu.layers is not set")
    assert judge(chooses, estimate(20, 8), sight(RTX, A4000)).verdict == "does_not_fit"


def test_a_server_whose_arguments_place_tensors_is_not_refused_for_its_device() -> None:
    """Experts of a model that lie in main memory take nothing of the card."""
    asked = replace(estimate(1, 8), moved_by="--cpu-moe")
    admission = judge(config(backend="cuda", device_id=1, layers="all"), asked, sight(RTX, A4000))
    assert (admission.verdict, admission.why) == ("unknown", "what --cpu-moe moves is not counted")


def test_what_is_short_of_an_upper_bound_only_is_unknown() -> None:
    """A model whose layers see a window of the context takes less than is estimated."""
    on_second = config(backend="cuda", device_id=1, layers="all")
    asked = replace(estimate(1, 8), least=Memory(GIB, 4 * GIB))
    admission = judge(on_second, asked, sight(RTX, A4000))
    assert in_words(admission, asked) == (
        "whether it fits is unknown: about 1.0 GiB of main memory and 8.0 GiB of the device's, and "
        "its cache is an upper bound: it may take 1.0 GiB of main memory and 4.0 GiB of the "
        "device's"
    )
    asked = replace(asked, least=Memory(GIB, 6 * GIB))
    assert judge(on_second, asked, sight(RTX, A4000)).verdict == "does_not_fit"


def test_without_a_number_all_cards_of_the_backend_share_it() -> None:
    assert judge(config(backend="cuda"), estimate(1, 14), sight(RTX, A4000)).verdict == "fits"


def test_without_a_device_in_sight_it_is_unknown_and_said_so() -> None:
    asked = estimate(1, 8)
    admission = judge(config(backend="cuda"), asked, sight(VULKAN))
    assert admission.verdict == "unknown"
    assert in_words(admission, asked) == (
        "whether it fits is unknown: about 1.0 GiB of main memory and 8.0 GiB of the device's, "
        "and llama.cpp lists no such device"
    )


def test_a_device_in_main_memory_takes_it_away() -> None:
    shared = config(backend="metal")
    assert judge(shared, estimate(4, 8), sight(APPLE)).verdict == "fits"
    admission = judge(shared, estimate(4, 14), sight(APPLE))
    assert admission == Admission("does_not_fit", Memory(2 * GIB, 0))


def test_what_is_short_is_told_with_the_ways_out() -> None:
    asked = estimate(1, 8)
    words = in_words(Admission("does_not_fit", Memory(0, 3 * GIB)), asked)
    assert words.startswith("it does not fit: about 1.0 GiB of main memory and 8.0 GiB of the")
    assert "and 3.0 GiB of the device's too little is free" in words
    assert "Bring others down, or set less context_size" in words
    assert in_words(Admission("fits"), asked).startswith("it fits: about 1.0 GiB")


def test_small_amounts_are_told_in_smaller_units() -> None:
    assert amount(Memory(3 * 2**20, 0)) == "3 MiB of main memory"
    assert amount(Memory(0, 0)) == "nothing"


# Looking ------------------------------------------------------------------------------------------


def test_devices_are_listed_in_the_order_of_their_bus_with_what_is_free_now(
    tmp_path: Path,
) -> None:
    program = tmp_path / "llama-server.exe"
    program.write_bytes(b"")
    program.chmod(0o755)
    asked: list[Any] = []

    def ask(executable: str, environ: Any) -> Listing:
        asked.append((executable, environ["CUDA_DEVICE_ORDER"]))
        return Listing((RTX,))

    cards = (Card(RTX.description, 12 * GIB, 2 * GIB),)
    seen = look(str(program), {}, ask, cards=lambda: cards, ram=lambda: GIB)
    assert asked == [(str(program), "PCI_BUS_ID")]
    assert [device.free for device in seen.devices] == [2 * GIB]
    assert (seen.ram, seen.cards, seen.trouble) == (GIB, cards, "")


def test_an_executable_that_is_not_there_is_told(tmp_path: Path) -> None:
    seen = look("no-such-server", {"PATH": str(tmp_path)}, KnownDevices(tmp_path).of)
    assert seen.devices == ()
    assert seen.trouble == "there is no executable 'no-such-server' to ask for devices"


def test_for_an_instance_on_the_cpu_no_executable_is_asked(tmp_path: Path) -> None:
    seen = look_for(config(), {"PATH": str(tmp_path)}, KnownDevices(tmp_path).of)
    assert (seen.devices, seen.trouble) == ((), "")
    assert seen.ram > 0
