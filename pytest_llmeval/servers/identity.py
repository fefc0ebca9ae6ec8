"""Who a process is: systems hand a pid out again, so it takes the time of its start as well."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from functools import cache

import psutil

SAME_START = 1.5
"""Seconds that two readings of one start may differ where there is no mark. A system would have to
hand out a pid again within them to deceive us."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, by its pid and its start in seconds since 1970.

    Linux counts from the boot, so that these seconds move when the clock is set. `mark` says there
    which boot it was and how many ticks after it; it counts where both sides have one.
    """

    pid: int
    create_time: float
    mark: str = field(default="", compare=False)

    def lives(self) -> bool:
        """Whether this very process still runs; a zombie, which waits to be counted, does not."""
        if self.mark:
            try:
                return _mark_of(self.pid) == self.mark
            except OSError:  # too many open files: what cannot be told dead is left alone
                return True
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < SAME_START
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # somebody else's process now has the pid
            return False


def identity_of(pid: int) -> Identity | None:
    """Who has a pid now; None if nobody has, or only a zombie. Raises OSError where this process
    can open no more files.
    """
    mark = _mark_of(pid)
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time(), mark)
    except psutil.Error:
        return None


def neighbourhood() -> str:
    """Whose process ids mean the same to us: those of this boot of this machine, and on Linux of
    our namespace, which a container has for itself.
    """
    try:
        return f"{_boot()} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - it is no path
    except (OSError, AttributeError):  # there are namespaces on Linux only
        return platform.node()


def _mark_of(pid: int) -> str:
    """Which boot and tick a process started at; nothing where it is gone, or somebody else's whom
    nobody may look at, and but on Linux. Raises OSError where nothing can be told.
    """
    boot = _boot()
    if not boot:
        return ""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - a tenth of a Path's time
            # The name stands in brackets and may hold some itself; the state comes after it.
            state, *facts = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return ""
    return "" if state in b"ZX" else f"{boot}.{int(facts[18])}"


@cache
def _boot() -> str:
    """What tells this boot of the machine from every other one; nothing where that is not told."""
    if sys.platform != "linux":
        return ""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read(8)
    except (OSError, ValueError):
        return ""
