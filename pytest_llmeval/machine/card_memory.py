"""How much memory graphics cards have free now, by what their drivers say.

llama-server lists its devices within up to seconds, a driver answers at once: NVIDIA's by its own
library, AMD's through files of Linux. Their cards are matched to the devices by name and size,
whatever the backend: a card of AMD is a device of Vulkan as well as of ROCm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_llmeval.machine.devices import Device
from pytest_llmeval.machine.nvml import open_gpus

SYSFS = Path("/sys/class/drm")
"""Where Linux tells of graphics cards."""

NEAR = 0.05
"""By such a share a card's memory may differ between its driver and llama.cpp."""

_NVIDIA = re.compile(r"NVIDIA|GeForce", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card as its driver tells of it; `name` is "" where that is not told. Bytes."""

    name: str
    total: int
    free: int


def cards_now(sysfs: Path = SYSFS) -> tuple[Card, ...]:
    """The cards whose drivers tell of their memory: NVIDIA's by NVML, AMD's by Linux."""
    return (*_nvidia_cards(), *amd_cards(sysfs))


def _nvidia_cards() -> Iterable[Card]:
    gpus, _ = open_gpus()
    if gpus is None:
        return ()
    try:
        samples = gpus.sample()
    finally:
        gpus.close()
    return [
        Card(gpu.name, gpu.used + gpu.free, gpu.free)
        for gpu in samples
        if gpu.used is not None and gpu.free is not None
    ]


def amd_cards(sysfs: Path) -> tuple[Card, ...]:
    """What the driver amdgpu tells; the names of cards are not among it."""
    cards = []
    for folder in sorted(sysfs.glob("card[0-9]*"), key=lambda path: (len(path.name), path.name)):
        total = _number(folder / "device" / "mem_info_vram_total")
        used = _number(folder / "device" / "mem_info_vram_used")
        if total is not None and used is not None:
            cards.append(Card("", total, max(0, total - used)))
    return tuple(cards)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() else None


def with_free(devices: Sequence[Device], cards: Sequence[Card]) -> tuple[Device, ...]:
    """The devices with what their cards have free now, as far as it is clear which those are.

    Cards of the same name, or without names of the same size, are taken in their order, and only
    if there are as many of them as of devices: of those that are hidden nobody can tell which.
    """
    found = list(devices)
    for family in {device.family for device in devices}:
        numbers = [number for number, device in enumerate(devices) if device.family == family]
        for alike in _alike(devices, numbers, cards):
            for number, card in alike:
                found[number] = replace(found[number], free=card.free)
    return tuple(found)


def _alike(
    devices: Sequence[Device], numbers: Sequence[int], cards: Sequence[Card]
) -> Iterable[Sequence[tuple[int, Card]]]:
    """Groups of devices of one backend that look alike, each with its card."""
    left = list(numbers)
    while left:
        first = devices[left[0]]
        same = [number for number in left if _looks_like(devices[number], first)]
        left = [number for number in left if number not in same]
        theirs = [card for card in cards if _is_card_of(first, card)]
        if len(theirs) == len(same):
            yield list(zip(same, theirs, strict=True))


def _looks_like(one: Device, other: Device) -> bool:
    return one.description == other.description and _near(one.total, other.total)


def _is_card_of(device: Device, card: Card) -> bool:
    if card.name:
        return card.name == device.description
    return not _NVIDIA.search(device.description) and _near(device.total, card.total)


def _near(one: int, other: int) -> bool:
    return abs(one - other) <= NEAR * max(one, other)
