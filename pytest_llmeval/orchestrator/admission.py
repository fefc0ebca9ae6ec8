"""Whether an instance fits into the memory that is free, before it is started (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_llmeval.machine.devices import Device
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import Admission, admit
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate
from pytest_llmeval.orchestrator.showing import memory as in_bytes
from pytest_llmeval.orchestrator.sight import Sight, devices_of


def judge(config: InstanceConfig, estimate: Estimate, sight: Sight) -> Admission:
    """Whether an instance fits; unknown where nobody can tell what its devices have free.

    A server whose config leaves the layers open puts as many on a device as it has room for, and
    one whose arguments place tensors may put less there: too little room there is then no reason
    not to start it.
    """
    admission = judge_on(devices_of(config.gpu, sight.devices), estimate, sight.ram)
    why = _why_less(config, estimate)
    if why and admission.short.vram and not admission.short.ram:
        return replace(admission, verdict="unknown", why=why)
    return admission


def _why_less(config: InstanceConfig, estimate: Estimate) -> str:
    """Why less may lie on the devices than is estimated; "" if nothing says so."""
    if estimate.moved_by is not None:
        return f"what {estimate.moved_by} moves is not counted"
    if config.gpu.layers is None:
        return "gpu.layers is not set, so that the server puts on the device what fits"
    return ""


def judge_on(devices: Sequence[Device], estimate: Estimate, ram: int) -> Admission:
    """Whether what is needed fits on these devices together, and into free main memory.

    What is short of an upper bound only may fit all the same.
    """
    admission = _hold(devices, estimate.total, ram)
    if admission.verdict != "does_not_fit" or estimate.least is None:
        return admission
    if _hold(devices, estimate.least, ram).verdict == "does_not_fit":
        return admission
    why = f"its cache is an upper bound: it may take {amount(estimate.least)}"
    return replace(admission, verdict="unknown", why=why)


def _hold(devices: Sequence[Device], need: Memory, ram: int) -> Admission:
    if not need.vram:
        return admit(need, Memory(ram, None))
    if devices and all(device.integrated for device in devices):
        # Their memory is main memory: both together must fit into what is free of it.
        return admit(Memory(need.total, 0), Memory(ram, None))
    if not devices:
        return replace(admit(need, Memory(ram, None)), why="llama.cpp lists no such device")
    return admit(need, Memory(ram, sum(device.free for device in devices)))


def in_words(admission: Admission, estimate: Estimate) -> str:
    """What came of it, for people: what is needed, and what is short."""
    need = estimate.total
    needed = f"about {amount(need)}"
    if admission.verdict == "fits":
        return f"it fits: {needed}"
    short = amount(admission.short)
    if admission.verdict == "unknown":
        return f"whether it fits is unknown: {needed}, and {admission.why}"
    return (
        f"it does not fit: {needed}, and {short} too little is free. Bring others down, or set "
        "less context_size, parallel or layers, or take a smaller model"
    )


def amount(memory: Memory) -> str:
    """For instance `3.1 GiB of main memory and 0.4 GiB of the device's`."""
    parts = [(memory.ram, "of main memory"), (memory.vram or 0, "of the device's")]
    said = [f"{in_bytes(size)} {where}" for size, where in parts if size]
    return " and ".join(said) or "nothing"
