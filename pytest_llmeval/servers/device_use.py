"""Which devices a llama.cpp server computes on, by what it logs while it loads (pure).

A server that does not find the card that it was meant for may compute on the CPU without a word to
whoever asks it: only its log tells. The lines, whatever stands before them:

    using device CUDA0 (NVIDIA GeForce RTX 3080 Ti) (0000:01:00.0) - 11650 MiB free
    load_tensors: offloaded 33/33 layers to GPU
    load_tensors:        CUDA0 model buffer size =  4155.99 MiB
    llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB

Builds before 2025 name the functions otherwise and leave out `model`; those before 2024-12 name no
device; the newer ones tell all this from a verbosity of 4 on only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_llmeval.servers.spec import Backend, ServerSpec

_USING = re.compile(r"\busing device (\S+) \((.*)\) - +\d+ MiB free")
_BUS = re.compile(r"\) \((?:[0-9a-fA-F:.]+|unknown id)$")
_OFFLOADED = re.compile(r"\boffloaded (\d+)/(\d+) layers to GPU")
_WEIGHTS = re.compile(r"load_tensors: +(\S+)(?: model)? buffer size = +([0-9.]+) MiB")
_CACHE = re.compile(r"llama_kv_cache\w*: +(\S+) KV buffer size = +([0-9.]+) MiB")
_NO_GPU = re.compile(r"no usable GPU found|compiled without (?:GPU support|support for GPU)")

_FAMILIES: Mapping[str, Backend] = {
    "CUDA": "cuda",
    "ROCm": "rocm",
    "Vulkan": "vulkan",
    "Metal": "metal",
    "MTL": "metal",
}
"""Of which backend a device is, by its name without its number."""


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What a server has logged about its devices.

    `devices` are those that it uses, with what they are called; `offloaded` how many of how many
    layers went to them. `weights` and `cache` are MiB by the buffer that holds them, which has the
    name of its device or of a kind of main memory. `no_gpu`: it says that it has none.
    """

    devices: Mapping[str, str] = field(default_factory=dict)
    offloaded: tuple[int, int] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    cache: Mapping[str, float] = field(default_factory=dict)
    no_gpu: bool = False

    @property
    def told(self) -> bool:
        """Whether its log says where the model lies."""
        return bool(self.weights) or self.no_gpu

    @property
    def busy_devices(self) -> tuple[str, ...]:
        """The devices that hold weights or cache, in the order in which they were named."""
        held = {name: mib for name, mib in {**self.weights, **self.cache}.items() if mib > 0}
        return tuple(dict.fromkeys(filter(None, map(self._device_of, held))))

    @property
    def in_words(self) -> str | None:
        """The devices that it computes on, for people; None where there are none, or none told."""
        return self.called(self.busy_devices) or None

    def called(self, names: Iterable[str]) -> str:
        """Devices with what they are called, as far as it is told."""
        return ", ".join(
            f"{name} ({self.devices[name]})" if name in self.devices else name for name in names
        )

    def _device_of(self, buffer: str) -> str | None:
        """The device that a buffer lies on; None for main memory, also what a card may read."""
        device, _, kind = buffer.partition("_")
        if kind == "Host":
            return None
        return device if device in self.devices or backend_of(device) is not None else None


def backend_of(device: str) -> Backend | None:
    """The backend of a device by its name, such as CUDA0; None for others."""
    return _FAMILIES.get(device.rstrip("0123456789"))


def read_use(lines: Iterable[str]) -> DeviceUse:
    """What the lines of a log say; lines about anything else are passed over."""
    devices: dict[str, str] = {}
    offloaded: tuple[int, int] | None = None
    weights: dict[str, float] = {}
    cache: dict[str, float] = {}
    no_gpu = False
    for line in lines:
        if match := _USING.search(line):
            devices[match[1]] = _BUS.sub("", match[2])
        elif match := _OFFLOADED.search(line):
            offloaded = int(match[1]), int(match[2])
        elif match := _WEIGHTS.search(line):
            weights[match[1]] = weights.get(match[1], 0) + float(match[2])
        elif match := _CACHE.search(line):
            cache[match[1]] = cache.get(match[1], 0) + float(match[2])
        elif _NO_GPU.search(line):
            no_gpu = True
    return DeviceUse(devices, offloaded, weights, cache, no_gpu)


def find_device_fault(use: DeviceUse, spec: ServerSpec) -> str | None:
    """What a server computes on otherwise than asked for, and the way out.

    None if all is well, if nothing was asked for, and where the log does not tell.
    """
    if spec.backend is None or not use.told:
        return None
    busy = use.busy_devices
    if spec.backend == "cpu":
        return _not_on_the_cpu(use, busy)
    strange = [name for name in busy if backend_of(name) != spec.backend]
    if strange:
        return (
            f"the backend {spec.backend} was asked for, and the server computes on "
            f"{use.called(strange)}: name one card with `gpu.device_id`, which hides all others, "
            "or another `gpu.backend`"
        )
    seen = [name for name in use.devices if backend_of(name) == spec.backend]
    if not busy and not (seen and spec.gpu_layers == 0):
        return _on_the_cpu(use, spec, seen)
    return _another_card(use, spec)


def _not_on_the_cpu(use: DeviceUse, busy: tuple[str, ...]) -> str | None:
    if not busy:
        return None
    return (
        f"the backend cpu was asked for, and the server computes on {use.called(busy)}: remove "
        "what its `args` say of devices and layers, or name another `gpu.backend`"
    )


def _on_the_cpu(use: DeviceUse, spec: ServerSpec, seen: list[str]) -> str:
    asked = f"the backend {spec.backend} was asked for, and the server computes on the CPU"
    if not seen:
        return (
            f"{asked}: this llama-server is built without {spec.backend} or sees no such card. "
            "`llama-orch devices` tells what it sees; name a build that has it with "
            "`server.executable`, or set `gpu.backend` to cpu"
        )
    done, of = use.offloaded or (0, 0)
    share = f"{done} of {of} layers" if of else "no layer"
    return (
        f"{asked}: it sees {use.called(seen)} and put {share} there. Write `gpu.layers: all`, or "
        "as many as fit; older builds put none there by themselves"
    )


def _another_card(use: DeviceUse, spec: ServerSpec) -> str | None:
    """Where a card was asked for whose name is known, and it is not the one that is used."""
    if spec.device_name is None:
        return None
    others = [name for name in use.devices if use.devices[name] != spec.device_name]
    if not others:
        return None
    return (
        f"device {spec.device} of the backend {spec.backend} is {spec.device_name}, and the server "
        f"computes on {use.called(others)}: two drivers count the cards in different orders. "
        "Set `gpu.device_id` to another number"
    )
