"""What drivers say is free. NVIDIA's is a stand-in, AMD's the files that Linux would show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_llmeval.machine.card_memory import Card, amd_cards, cards_now, with_free
from pytest_llmeval.machine.devices import Device
from tests.standins.nvml import Driver

GIB = 2**30


def show_card(sysfs: Path, number: int, total: str, used: str) -> None:
    folder = sysfs / f"card{number}" / "device"
    folder.mkdir(parents=True)
    (folder / "mem_info_vram_total").write_text(f"{total}\n", encoding="ascii", newline="\n")
    (folder / "mem_info_vram_used").write_text(f"{used}\n", encoding="ascii", newline="\n")


def test_amd_s_cards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    show_card(tmp_path, 10, str(8 * GIB), str(GIB))
    show_card(tmp_path, 2, str(16 * GIB), str(3 * GIB))
    (tmp_path / "card0" / "device").mkdir(parents=True)  # of another maker
    (tmp_path / "card2-DP-1").mkdir()  # a socket of one
    assert amd_cards(tmp_path) == (Card("", 16 * GIB, 13 * GIB), Card("", 8 * GIB, 7 * GIB))


@pytest.mark.parametrize("total", ["", "many", "-1", "²"])
def test_a_card_that_tells_no_number_is_left_out(tmp_path: Path, total: str) -> None:
    folder = tmp_path / "card0" / "device"
    folder.mkdir(parents=True)
    (folder / "mem_info_vram_total").write_text(total, encoding="utf-8", newline="\n")
    (folder / "mem_info_vram_used").write_text("1", encoding="ascii", newline="\n")
    assert amd_cards(tmp_path) == ()


def test_cards_of_both_makers_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver(cards=1))
    show_card(tmp_path, 1, str(8 * GIB), str(GIB))
    assert cards_now(tmp_path) == (
        Card("First Card", 16 * GIB, 12 * GIB),
        Card("", 8 * GIB, 7 * GIB),
    )


def test_without_drivers_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert cards_now(tmp_path) == ()


# Matching -----------------------------------------------------------------------------------------

RTX = "NVIDIA GeForce RTX 3080 Ti"
RX = "AMD Radeon RX 6900 XT (RADV NAVI21)"


def device(name: str, description: str, total: int = 16, free: int = 16) -> Device:
    return Device(name, description, total * GIB, free * GIB)


def free_of(devices: list[Device], cards: list[Card]) -> list[int]:
    return [found.free // GIB for found in with_free(devices, cards)]


def test_a_card_of_nvidia_is_known_by_its_name_on_every_backend() -> None:
    devices = [device("CUDA0", RTX), device("Vulkan0", RTX), device("Vulkan1", RX)]
    assert free_of(devices, [Card(RTX, 16 * GIB, 5 * GIB)]) == [5, 5, 16]


def test_a_card_of_amd_is_known_by_its_size() -> None:
    devices = [device("Vulkan0", RTX), device("Vulkan1", RX), device("ROCm0", RX)]
    nearly = 16 * GIB - 200 * 2**20
    assert free_of(devices, [Card("", nearly, 5 * GIB)]) == [16, 5, 5]


def test_two_cards_that_look_alike_are_taken_in_their_order() -> None:
    devices = [device("CUDA0", RTX), device("CUDA1", RTX)]
    cards = [Card(RTX, 16 * GIB, 5 * GIB), Card(RTX, 16 * GIB, 7 * GIB)]
    assert free_of(devices, cards) == [5, 7]


def test_of_cards_that_are_hidden_nobody_can_tell_which() -> None:
    cards = [Card(RTX, 16 * GIB, 5 * GIB), Card(RTX, 16 * GIB, 7 * GIB)]
    assert free_of([device("CUDA0", RTX)], cards) == [16]


def test_a_card_of_another_size_is_another_one() -> None:
    """Of AMD's processors with graphics the driver tells the part that they have for themselves."""
    shared = device("Vulkan0", "AMD Radeon Graphics (RADV RENOIR)", total=24, free=20)
    assert free_of([shared], [Card("", GIB // 2, GIB // 4)]) == [20]
