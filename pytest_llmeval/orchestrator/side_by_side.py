"""Whether instances fit into memory side by side, which decides who makes room for whom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.machine.devices import Device
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate, estimate_instance
from pytest_llmeval.orchestrator.sight import Ask, Sight, devices_of, look_for
from pytest_llmeval.orchestrator.views import Instances
from pytest_llmeval.servers.gguf import read_gguf

CardKey = tuple[str, int]
"""A card whatever the backend: what it is called, and which of those that are called so."""

_DRIVER = re.compile(r" \((RADV|AMDVLK|LLVM|NVK)[^()]*\)$")


@dataclass(frozen=True, slots=True)
class Holding:
    """What an instance takes, or would: bytes of main memory and of each card.

    `cards` is None where it needs one and none is to be seen, or nobody can tell how much of it.
    """

    ram: int
    cards: Mapping[CardKey, int] | None


def holding_of(config: InstanceConfig, estimate: Estimate, sight: Sight) -> Holding:
    """Where an instance's need lies. Several cards share it by their size, as llama.cpp does."""
    need, own = estimate.total, devices_of(config.gpu, sight.devices)
    if not need.vram:
        return Holding(need.ram, {})
    if not own or estimate.moved_by is not None:
        return Holding(need.ram, None)
    if all(device.integrated for device in own):
        return Holding(need.total, {})
    keys, size = card_keys(sight.devices), sum(device.total for device in own)
    return Holding(
        need.ram, {keys[device.name]: need.vram * device.total // size for device in own}
    )


def card_keys(devices: Collection[Device]) -> dict[str, CardKey]:
    """Of each device's name its card: the first that is called so is the first on every backend."""
    seen: Counter[tuple[str, str]] = Counter()
    keys = {}
    for device in devices:
        called = _DRIVER.sub("", device.description)
        keys[device.name] = (called, seen[device.family, called])
        seen[device.family, called] += 1
    return keys


def fit_together(
    wanted: Collection[Holding], running: Collection[Holding], sight: Sight
) -> bool | None:
    """Whether all that is `wanted` has room once what is `running` and not among it is gone.

    None: nobody can tell what one of them takes of a card.
    """
    short = shortage(wanted, running, sight)
    if short.ram or short.vram:
        return False
    return None if any(each.cards is None for each in wanted) else True


def shortage(wanted: Collection[Holding], running: Collection[Holding], sight: Sight) -> Memory:
    """How much too little there is for all that is `wanted`, of main memory and of the cards.

    What is free now, and what the running ones hold, is what there is to have. A card that several
    backends list has its memory once.
    """
    ram = sum(each.ram for each in wanted) - sum(each.ram for each in running) - sight.ram
    keys = card_keys(sight.devices)
    free: dict[CardKey, int] = {}
    for device in sight.devices:
        free.setdefault(keys[device.name], device.free)
    asked, held = _by_card(wanted), _by_card(running)
    lacking = (size - held[key] - free.get(key, 0) for key, size in asked.items())
    return Memory(max(0, ram), sum(max(0, size) for size in lacking))


def _by_card(holdings: Collection[Holding]) -> Counter[CardKey]:
    total: Counter[CardKey] = Counter()
    for holding in holdings:
        total.update(holding.cards or {})
    return total


class SideBySide:
    """Whether instances of some names fit into memory side by side; None: nobody can tell.

    Every call looks at the machine, the configs and the models anew, and may take a while.
    """

    def __init__(
        self,
        instances: Instances,
        environ: Mapping[str, str],
        known: KnownDevices,
        look: Callable[[InstanceConfig, Mapping[str, str], Ask], Sight] = look_for,
    ) -> None:
        self._instances = instances
        self._environ = environ
        self._known = known
        self._look = look

    def __call__(self, names: Collection[str]) -> bool | None:
        """Whether those of these names fit, when all others are gone."""
        up = {view.name for view in self._instances.overview() if view.pid is not None}
        try:
            found = {name: self._holding(name) for name in up | set(names)}
        except LlmevalError:  # its own start will say what is wrong with it
            return None
        sights = [sight for _, sight in found.values()]
        return fit_together(
            [found[name][0] for name in names],
            [found[name][0] for name in up],
            seen_together(sights),
        )

    def _holding(self, name: str) -> tuple[Holding, Sight]:
        config = self._instances.config(name)
        estimate = estimate_instance(config, read_gguf(Path(config.model.path)), self._environ)
        sight = self._look(config, self._environ, self._known.of)
        return holding_of(config, estimate, sight), sight


def seen_together(sights: Collection[Sight]) -> Sight:
    """What all of them see; the same device through several executables is one."""
    devices = {device.name: device for sight in sights for device in sight.devices}
    return Sight(tuple(devices.values()), min((sight.ram for sight in sights), default=0))
