"""NVIDIA's GPUs through the driver's own library (NVML), as far as library and driver are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GpuSample:
    """A GPU at one moment: bytes in use by everybody and free, busy share in [0, 1], watts.

    None is what this card or driver does not tell.
    """

    index: int
    name: str
    used: int | None
    free: int | None
    busy: float | None
    watts: float | None


class Gpus:
    """The GPUs that NVML knows. Open it with `open_gpus`; raises NVMLError if one is lost."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        count = nvml.nvmlDeviceGetCount()
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def sample(self) -> tuple[GpuSample, ...]:
        """Read every GPU; takes about a millisecond each."""
        return tuple(self._one(index, handle) for index, handle in enumerate(self._handles))

    def close(self) -> None:
        """Let go of the driver."""
        self._told(self._nvml.nvmlShutdown)

    def _one(self, index: int, handle: Any) -> GpuSample:
        nvml = self._nvml
        memory = self._told(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = self._told(nvml.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._told(nvml.nvmlDeviceGetPowerUsage, handle)
        return GpuSample(
            index=index,
            name=_text(self._told(nvml.nvmlDeviceGetName, handle)),
            used=None if memory is None else int(memory.used),
            free=None if memory is None else int(memory.free),
            busy=None if rates is None else rates.gpu / 100,
            watts=None if milliwatts is None else milliwatts / 1000,
        )

    def _told(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """What NVML says; None for what this card, or its driver's mode, does not support."""
        try:
            return ask(*arguments)
        except self._nvml.NVMLError:
            return None


def open_gpus() -> tuple[Gpus | None, str]:
    """The GPUs, or None and why there are none to see, in words."""
    try:
        import pynvml
    except ImportError:
        return None, (
            "the package nvidia-ml-py is not installed "
            '(pip install "pytest-llmeval-local[gpu]"; NVIDIA only)'
        )
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVIDIA's driver does not answer ({error})"
    try:
        gpus = Gpus(pynvml)
    except pynvml.NVMLError as error:  # a card that fell off its bus, or may not be looked at
        pynvml.nvmlShutdown()
        return None, f"NVIDIA's driver does not name its GPUs ({error})"
    if not gpus.sample():
        gpus.close()
        return None, "the driver knows no GPU"
    return gpus, ""


def free_vram() -> int | None:
    """Bytes free now on all GPUs together; None when that cannot be told."""
    gpus, _ = open_gpus()
    if gpus is None:
        return None
    try:
        free = [gpu.free for gpu in gpus.sample()]
    finally:
        gpus.close()
    return None if None in free else sum(bytes_ for bytes_ in free if bytes_ is not None)


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")
