"""What the machine does while a run asks: sampled by a thread of its own, off the request path."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from pytest_llmeval.machine.nvml import GpuSample

INTERVAL = 0.5
"""Seconds between two samples."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The machine at one moment, `at` seconds after the run began.

    `cpu` is the busy share of all cores since the sample before, in [0, 1]; `rss` the bytes of main
    memory that this process and the servers it has started hold, pages they share counted in each.
    """

    at: float
    cpu: float
    rss: int
    gpus: tuple[GpuSample, ...] = ()


class Sampler:
    """Takes a sample every `INTERVAL` seconds from `start` to `stop` and hands it to `keep`.

    `clock` gives seconds since the run began, `gpus` the state of the GPUs. What `keep` raises (a
    full disk) ends the sampling, and is what `stop` returns.
    """

    def __init__(
        self,
        keep: Callable[[Sample], None],
        *,
        clock: Callable[[], float],
        gpus: Callable[[], tuple[GpuSample, ...]],
        interval: float = INTERVAL,
    ) -> None:
        self._keep = keep
        self._clock = clock
        self._gpus = gpus
        self._interval = interval
        self._stopped = threading.Event()
        self._trouble: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="llmeval-telemetry", daemon=True)

    def start(self) -> None:
        """Begin; the first sample is taken at once."""
        psutil.cpu_percent(None)  # what it says is since the call before
        self._thread.start()

    def stop(self) -> OSError | None:
        """Take a last sample and end; what went wrong, if anything did."""
        self._stopped.set()
        self._thread.join()
        return self._trouble

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while True:
                last = self._stopped.is_set()
                self._keep(self._sample())
                if last:
                    return
                due = next_due(due, time.monotonic(), self._interval)
                self._stopped.wait(due - time.monotonic())
        except OSError as error:
            self._trouble = error

    def _sample(self) -> Sample:
        return Sample(
            at=self._clock(),
            cpu=psutil.cpu_percent(None) / 100,
            rss=resident(os.getpid()),
            gpus=self._gpus(),
        )


def next_due(due: float, now: float, interval: float) -> float:
    """When the sample after the one that was `due` is, all in seconds of one clock.

    Those that a sleeping machine or a slow driver has missed are not made up for: taken in a row,
    each would be of no time at all.
    """
    following = due + interval
    return following if following > now else now + interval


def resident(pid: int) -> int:
    """Bytes of main memory that a process and all its descendants hold, 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        return sum(map(_rss, (process, *process.children(recursive=True))))
    except psutil.Error:
        return 0


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
