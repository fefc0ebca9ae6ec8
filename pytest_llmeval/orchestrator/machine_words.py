"""What is told of devices, and of the memory that a model needs, for people and as JSON (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmeval.machine.devices import Device
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import Admission, GpuLayers
from pytest_llmeval.orchestrator.admission import in_words
from pytest_llmeval.orchestrator.estimates import Estimate
from pytest_llmeval.orchestrator.showing import memory
from pytest_llmeval.orchestrator.sight import Sight
from pytest_llmeval.servers.device_use import backend_of
from pytest_llmeval.servers.gguf_facts import GgufHeader

# Devices ------------------------------------------------------------------------------------------


def device_lines(sight: Sight, suggested: Device | None) -> Iterator[str]:
    """All devices with what is free, and what a config says to have one."""
    if not sight.devices:
        yield from _no_device(sight)
    for device in sight.devices:
        kind = ", part of main memory" if device.integrated else ""
        mark = "  <- the most room" if device == suggested and len(sight.devices) > 1 else ""
        yield f"{device.name}: {device.description}{mark}"
        yield f"    {memory(device.free)} of {memory(device.total)} free{kind}"
        yield f"    {_as_config(device)}"
    yield f"CPU: {memory(sight.ram)} of main memory free"
    yield "    gpu: {backend: cpu}"


def _no_device(sight: Sight) -> Iterator[str]:
    yield "No GPU: llama.cpp lists none, so that models are computed on the CPU."
    names = sorted({card.name or "one of AMD" for card in sight.cards})
    if names:
        yield (
            f"There is a card ({', '.join(names)}), which this llama-server is not built for: take "
            "a build for Vulkan, CUDA or ROCm from the page called `llama.cpp releases`."
        )


def _as_config(device: Device) -> str:
    backend = backend_of(device.name)
    if backend is None:
        return "of a backend that llama-orch does not know"
    if backend == "metal":
        return "gpu: {backend: metal}"
    return f"gpu: {{backend: {backend}, device_id: {device.number or 0}}}"


def devices_json(sight: Sight, suggested: Device | None) -> dict[str, Any]:
    """The same as `device_lines`; bytes as numbers."""
    return {
        "devices": [
            {
                "name": device.name,
                "description": device.description,
                "backend": backend_of(device.name),
                "device_id": device.number,
                "total": device.total,
                "free": device.free,
                "integrated": device.integrated,
            }
            for device in sight.devices
        ],
        "suggested": None if suggested is None else suggested.name,
        "ram_free": sight.ram,
    }


# Estimates ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outlook:
    """A model, what it needs, and whether there is room for it, on `devices` if any."""

    path: Path
    header: GgufHeader
    estimate: Estimate
    gpu_layers: GpuLayers
    devices: tuple[Device, ...]
    admission: Admission
    trouble: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits how good it is, in words."""
        trained, context = self.header.context_length, self.estimate.context
        beyond = (
            (f"the model was trained for {trained:,} tokens of context only",)
            if trained is not None and context > trained
            else ()
        )
        unseen = (f"devices are not known: {self.trouble}",) if self.trouble else ()
        return (*self.estimate.notes, *beyond, *unseen)


def outlook_lines(outlook: Outlook) -> Iterator[str]:
    """All of it, for people."""
    estimate, need = outlook.estimate, outlook.estimate.need
    slots = f"{estimate.slots} slot{'s' * (estimate.slots != 1)}"
    yield f"{outlook.path.name}: {slots} with {estimate.context:,} tokens of context each"
    yield f"{'':10}{'main memory':>14}{'device':>12}"
    rows = (("weights", need.weights), ("cache", need.cache), ("beside", need.beside))
    for title, part in (*rows, ("together", need.total)):
        yield f"{title:10}{memory(part.ram):>14}{memory(part.vram or None):>12}"
    words = in_words(outlook.admission, estimate)
    on = " and ".join(f"{device.name}, {device.description}" for device in outlook.devices)
    yield f"{words[0].upper()}{words[1:]}" + (f" (on {on})" if on else "")
    yield from (f"Note: {note}" for note in outlook.notes)


def outlook_json(outlook: Outlook) -> dict[str, Any]:
    """The same as `outlook_lines`; bytes as numbers."""
    need, admission = outlook.estimate.need, outlook.admission
    parts = {"weights": need.weights, "cache": need.cache, "beside": need.beside}
    return {
        "model": outlook.path,
        "slots": outlook.estimate.slots,
        "context": outlook.estimate.context,
        "trained_context": outlook.header.context_length,
        "gpu_layers": outlook.gpu_layers,
        **{name: _bytes(part) for name, part in {**parts, "together": need.total}.items()},
        "verdict": admission.verdict,
        "short": _bytes(admission.short),
        "why": admission.why,
        "devices": [device.name for device in outlook.devices],
        "notes": list(outlook.notes),
    }


def _bytes(part: Memory) -> dict[str, int | None]:
    return {"ram": part.ram, "device": part.vram}
