"""A stand-in for the module pynvml: two cards, one of which tells less, and the driver's errors.

Only what NVML's own documentation has: calls before `nvmlInit` or after `nvmlShutdown` are errors,
and so are handles that it has not given.
"""

# ruff: noqa: N802, N801 - the names are NVML's own

from __future__ import annotations

import types
from dataclasses import dataclass


class NVMLError(Exception):
    """As pynvml's: every failed call raises it or a subclass."""


class NVMLError_NotSupported(NVMLError):
    """The card, or its driver's mode, does not tell this."""


@dataclass(frozen=True)
class Memory:
    total: int
    free: int
    used: int


@dataclass(frozen=True)
class Rates:
    gpu: int
    memory: int


class Driver(types.ModuleType):
    """The module. `watts` are the first card's; the second tells its memory and name only.

    `broken` is why the driver does not answer, `lost` why the last card cannot be had; each card
    has 16 GiB, `free` bytes of them unused.
    """

    NVMLError = NVMLError

    def __init__(
        self,
        *,
        cards: int = 2,
        watts: float = 120.0,
        broken: str = "",
        lost: str = "",
        free: int = 12 * 2**30,
    ) -> None:
        super().__init__("pynvml")
        self.cards = cards
        self.watts = watts
        self.broken = broken
        self.lost = lost
        self.free = free
        self.open = 0

    def nvmlInit(self) -> None:
        if self.broken:
            raise NVMLError(self.broken)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self._must_be_open()
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        self._must_be_open()
        return self.cards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self._must_be_open()
        if not 0 <= index < self.cards:
            raise NVMLError("Invalid Argument")
        if self.lost and index == self.cards - 1:
            raise NVMLError(self.lost)
        return 1000 + index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"Second Card" if self._index(handle) else "First Card"  # older ones give bytes

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Memory:
        self._index(handle)
        return Memory(16 * 2**30, self.free, 16 * 2**30 - self.free)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Rates:
        self._first(handle)
        return Rates(gpu=85, memory=40)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        self._first(handle)
        return int(1000 * self.watts)

    def _first(self, handle: int) -> None:
        if self._index(handle):
            raise NVMLError_NotSupported("Not Supported")

    def _index(self, handle: int) -> int:
        self._must_be_open()
        if not 1000 <= handle < 1000 + self.cards:
            raise NVMLError("Invalid Argument")
        return handle - 1000

    def _must_be_open(self) -> None:
        if not self.open:
            raise NVMLError("Uninitialized")
