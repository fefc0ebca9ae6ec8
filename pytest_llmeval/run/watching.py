"""Telemetry of a run: what is sampled, where it goes, and what is said of what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_llmeval.machine.nvml import open_gpus
from pytest_llmeval.machine.telemetry import Sampler
from pytest_llmeval.results.telemetry import TelemetryFile


class Watch:
    """Samples the machine into a run's folder from its making until `stop`.

    `clock` gives seconds since the run began; `warn` takes what a reader of the figures should
    know.
    """

    def __init__(self, run: Path, clock: Callable[[], float], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._gpus, why_none = open_gpus()
        if self._gpus is None:
            warn(f"telemetry: no figures of a GPU: {why_none}")
        self._file = TelemetryFile(run)
        sample = (lambda: ()) if self._gpus is None else self._gpus.sample
        self._sampler = Sampler(self._file.append, clock=clock, gpus=sample)
        self._sampler.start()

    def stop(self) -> None:
        """End the sampling."""
        trouble = self._sampler.stop()
        if trouble is not None:
            self._warn(f"telemetry: the samples end early: {trouble}")
        self._file.close()
        if self._gpus is not None:
            self._gpus.close()
