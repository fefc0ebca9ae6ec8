"""A process with everything it started: looked at, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass

import psutil

from pytest_llmeval.servers.identity import Identity

END_SECONDS = 3.0
"""How long to wait for killed processes: one that hangs in a driver ends when it can."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and resident bytes of a process and everything it started."""

    cpu_seconds: float
    memory: int


def pids_of(root: psutil.Process | None) -> set[int]:
    """The pids of a process and everything it started; empty if it is gone."""
    return {process.pid for process in _tree(root)}


def cpu_of(root: psutil.Process | None) -> float:
    """CPU seconds of a process alone, without what it started; 0 if it is gone."""
    if root is None:
        return 0.0
    try:
        times = root.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def usage_of(root: psutil.Process | None) -> Usage:
    """What a process and everything it started have used; zeros if it is gone."""
    cpu, memory = 0.0, 0
    for process in _tree(root):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu += times.user + times.system
            memory += process.memory_info().rss
    return Usage(cpu, memory)


def process_of(identity: Identity) -> psutil.Process | None:
    """A process by who it is; None once it is gone."""
    with contextlib.suppress(psutil.Error):
        if identity.lives():
            return psutil.Process(identity.pid)
    return None


def kill_tree(identity: Identity) -> bool:
    """Kill a process and everything it started, and see it end; whether it is gone.

    Nothing happens to somebody else who has its pid by now.
    """
    root = process_of(identity)
    if root is not None:
        end_tree(root)
    return not identity.lives()


def end_tree(root: psutil.Process) -> None:
    """Kill a process with everything it started, and see it end."""
    victims = _tree(root)
    if sys.platform != "win32" and (victims or not psutil.pid_exists(root.pid)):
        # A server leads a group, whose number stays taken while a member lives, even without it.
        with contextlib.suppress(OSError):
            os.killpg(root.pid, signal.SIGKILL)
    for victim in victims:
        with contextlib.suppress(psutil.Error):
            victim.kill()
    deadline = time.monotonic() + END_SECONDS
    while any(map(_lives, victims)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _tree(root: psutil.Process | None) -> list[psutil.Process]:
    """A process, which may start more, and then everything it started; empty if it is gone."""
    if root is None:
        return []
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _lives(process: psutil.Process) -> bool:
    """Whether a process still runs: a zombie, which only waits to be counted, does not."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
