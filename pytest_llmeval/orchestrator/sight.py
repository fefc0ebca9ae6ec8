"""What can be seen of the machine: devices and free memory, with the eyes of a llama-server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.machine.card_memory import Card, cards_now, with_free
from pytest_llmeval.machine.devices import Device, Listing
from pytest_llmeval.machine.memory import free_memory
from pytest_llmeval.orchestrator.config import GpuConfig, InstanceConfig
from pytest_llmeval.servers.command import find_executable
from pytest_llmeval.servers.device_use import backend_of
from pytest_llmeval.servers.placement import numbering

Ask = Callable[[str, Mapping[str, str]], Listing]
"""`KnownDevices.of`, or `ask_now`."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Devices with what each has free, cards that drivers tell of, and free main memory in bytes.

    `trouble` says in words why no devices could be listed.
    """

    devices: tuple[Device, ...]
    ram: int
    cards: tuple[Card, ...] = ()
    trouble: str = ""


def look(
    executable: str,
    environ: Mapping[str, str],
    ask: Ask,
    *,
    cards: Callable[[], Sequence[Card]] = cards_now,
    ram: Callable[[], int] = free_memory,
) -> Sight:
    """Look at the machine; `executable` is llama-server's, `environ` what it would inherit."""
    seen = tuple(cards())
    try:
        program = find_executable(executable, environ.get("PATH", os.defpath), model="devices")
    except ServerStartError:
        return Sight((), ram(), seen, f"there is no executable {executable!r} to ask for devices")
    listing = ask(program, {**environ, **numbering(environ)})
    return Sight(with_free(listing.devices, seen), ram(), seen, listing.trouble)


def look_for(config: InstanceConfig, environ: Mapping[str, str], ask: Ask) -> Sight:
    """Look at what is of interest to an instance: devices only if it is to have one."""
    if config.gpu.backend == "cpu":
        return Sight((), free_memory())
    return look(config.server.executable, {**environ, **config.env}, ask)


def devices_of(gpu: GpuConfig, devices: Sequence[Device]) -> tuple[Device, ...]:
    """The devices that an instance computes on: the one that is named, or all of its backend.

    Metal's is one, whatever it is called.
    """
    own = [device for device in devices if backend_of(device.name) == gpu.backend]
    if gpu.device_id is not None and gpu.backend != "metal":
        own = [device for device in own if device.number == gpu.device_id]
    return tuple(own)


def usable(devices: Sequence[Device]) -> tuple[Device, ...]:
    """Those of a backend that a config can name."""
    return tuple(device for device in devices if backend_of(device.name) is not None)
