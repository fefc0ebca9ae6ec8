"""Samples of the machine, taken by a thread."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading

from pytest_llmeval.machine.nvml import GpuSample
from pytest_llmeval.machine.telemetry import Sample, Sampler, next_due, resident

GPU = GpuSample(0, "a card", 5, 6, 0.5, 70.0)


def test_samples_are_taken_from_start_to_stop_the_last_one_at_its_end() -> None:
    kept: list[Sample] = []
    three = threading.Event()

    def keep(sample: Sample) -> None:
        kept.append(sample)
        if len(kept) == 3:
            three.set()

    ticks = itertools.count()
    sampler = Sampler(keep, clock=lambda: float(next(ticks)), gpus=lambda: (GPU,), interval=0.01)
    sampler.start()
    three.wait()
    assert sampler.stop() is None
    count = len(kept)
    assert [sample.at for sample in kept] == [float(n) for n in range(count)]
    assert count >= 4
    assert all(sample.gpus == (GPU,) for sample in kept)
    assert all(0 <= sample.cpu <= 1 for sample in kept)
    assert kept[0].rss > 2**20


def test_samples_that_were_missed_are_not_made_up_for() -> None:
    assert next_due(10.0, now=10.1, interval=0.5) == 10.5  # the pace is kept
    assert next_due(10.0, now=3600.0, interval=0.5) == 3600.5


def test_a_full_disk_ends_the_sampling_and_nothing_else() -> None:
    tried = threading.Event()

    def keep(_: Sample) -> None:
        tried.set()
        raise OSError(28, "No space left on device")

    sampler = Sampler(keep, clock=float, gpus=tuple)
    sampler.start()
    tried.wait()
    trouble = sampler.stop()
    assert trouble is not None
    assert trouble.strerror == "No space left on device"


def test_the_memory_of_children_counts_and_one_that_is_gone_holds_none() -> None:
    alone = resident(os.getpid())
    hold = "data = b'1' * 50_000_000; print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert resident(os.getpid()) > alone + 40_000_000
        child.kill()
    assert resident(child.pid) == 0
