"""telemetry.jsonl, and what it says of each part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.records import Answer, Attempt, Prediction
from pytest_llmeval.results.telemetry import (
    TELEMETRY,
    TelemetryFile,
    part_loads,
    read_telemetry,
)


def asked(started: float, seconds: float) -> Prediction:
    """A trial that was under way for so long."""
    attempts = (Attempt(1000 * seconds),)
    return Prediction("s::c::i", Answer("x", "stop"), None, attempts, started)


def sample(at: float, watts: float | None = 100.0, **values: Any) -> dict[str, Any]:
    gpu = {"index": 0, "name": "a", "used": 10, "free": 5, "busy": 0.5, "watts": watts}
    return {"at": at, "cpu": 0.25, "rss": 7, "gpus": [gpu], **values}


def test_samples_come_back_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    file = TelemetryFile(tmp_path)
    file.append(sample(0.0))
    file.close()
    with (tmp_path / TELEMETRY).open("ab") as handle:
        handle.write(b'{"at": 1.0, "c\n{"at"')
    assert read_telemetry(tmp_path) == [sample(0.0)]


def test_a_run_that_was_not_watched_has_no_samples(tmp_path: Path) -> None:
    assert read_telemetry(tmp_path) == []
    assert part_loads([], {("c", 1): [asked(0, 1)]}) == ()


def test_a_part_alone_has_all_the_energy_of_its_time() -> None:
    samples = [sample(0.0), sample(1.0), sample(2.0, 200.0), sample(3.0, 200.0)]
    (load,) = part_loads(samples, {("c", 1): [asked(0.2, 1.7)]})
    assert load.joules == pytest.approx(100 + 150)
    assert (load.condition, load.number, load.samples) == ("c", 1, 1)
    assert (load.cpu, load.rss, load.gpu_memory, load.gpu_busy) == (0.25, 7, 10, 0.5)


def test_parts_that_are_asked_together_share_the_energy_by_their_requests() -> None:
    samples = [sample(0.0), sample(1.0)]
    parts = {("a", 1): [asked(0, 1)] * 3, ("b", 1): [asked(0, 1)]}
    assert [load.joules for load in part_loads(samples, parts)] == pytest.approx([75, 25])


def test_what_nobody_has_measured_is_unknown_and_never_nothing() -> None:
    without_gpu = [sample(0.0, gpus=[]), sample(1.0, gpus=[])]
    no_power = [sample(0.0, None), sample(1.0, None)]
    for samples in (without_gpu, no_power):
        (load,) = part_loads(samples, {("c", 1): [asked(0, 2)]})
        assert load.joules is None
    (load,) = part_loads(without_gpu, {("c", 1): [asked(0, 2)]})
    assert (load.gpu_memory, load.gpu_busy) == (None, None)
    (load,) = part_loads([sample(50.0)], {("c", 1): [asked(0, 2)]})
    assert (load.samples, load.cpu, load.rss) == (0, None, None)


def test_a_gap_between_two_sessions_of_a_run_costs_no_energy() -> None:
    samples = [sample(0.0), sample(1.0), sample(3600.0), sample(3601.0)]
    (load,) = part_loads(samples, {("c", 1): [asked(0, 3601)]})
    assert load.joules == pytest.approx(200)
