"""Who a process is: systems hand a pid out again, so it takes the time of its start as well."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

SAME_START = 1.5
"""Seconds that two readings of one start may differ: Linux counts from the boot, whose time moves
when the clock is set. A system would have to hand out a pid again within them to deceive us."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, by its pid and its start in seconds since 1970."""

    pid: int
    create_time: float

    def lives(self) -> bool:
        """Whether this very process still runs; a zombie, which waits to be counted, does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < SAME_START
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # somebody else's process now has the pid
            return False


def identity_of(pid: int) -> Identity | None:
    """Who has a pid now; None if nobody has, or only a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time())
    except psutil.Error:
        return None
