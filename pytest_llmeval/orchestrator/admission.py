"""Whether an instance fits into the memory that is free, before it is started (pure)."""

from __future__ import annotations

from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.machine.sizing import Admission, admit
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate
from pytest_llmeval.orchestrator.sight import Sight, devices_of

GIB = 2**30


def judge(config: InstanceConfig, estimate: Estimate, sight: Sight) -> Admission:
    """Whether it fits; unknown where nobody can tell what its devices have free."""
    own = devices_of(config.gpu, sight.devices)
    need = estimate.total
    if not need.vram:
        return admit(need, Memory(sight.ram, None))
    if own and all(device.integrated for device in own):
        # The device's memory is main memory: both together must fit into what is free of it.
        return admit(Memory(need.total, 0), Memory(sight.ram, None))
    free = sum(device.free for device in own) if own else None
    return admit(need, Memory(sight.ram, free))


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
    said = [f"{_size(size)} {where}" for size, where in parts if size]
    return " and ".join(said) or "nothing"


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"
