"""telemetry.jsonl, and what it says of each part: memory, load and energy while it was asked."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.records import Prediction
from pytest_llmeval.results.report import end_of

TELEMETRY = "telemetry.jsonl"

LONGEST_GAP = 5.0
"""Seconds between two samples beyond which nobody knows what happened: the machine slept, or the
run was continued later.
"""

PartKey = tuple[str, int]
"""A condition's name and the number of one of its parts."""


@dataclass(frozen=True, slots=True)
class PartLoad:
    """The machine while at least one request of a part was under way; None is what is not known.

    `joules` is the part's share of the GPUs' energy: at each moment it is divided among the
    requests under way. Memory is the most that was seen, in bytes; shares are means in [0, 1].
    """

    condition: str
    number: int
    samples: int
    cpu: float | None
    rss: int | None
    gpu_memory: int | None
    gpu_busy: float | None
    joules: float | None


class TelemetryFile:
    """Appends samples to a run's telemetry.jsonl, a line each, handed to the system at once."""

    def __init__(self, run: Path) -> None:
        self._handle = (run / TELEMETRY).open("ab")

    def append(self, sample: object) -> None:
        """Write one sample."""
        line = json.dumps(plain(sample), separators=(",", ":"), allow_nan=False)
        self._handle.write(line.encode("ascii") + b"\n")
        self._handle.flush()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def read_telemetry(run: Path) -> list[dict[str, Any]]:
    """The samples of a run, none if it took none; a torn line of a killed run is passed over."""
    path = run / TELEMETRY
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return list(_whole(lines))


def _whole(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):  # torn in an earlier session, and appended to since
            continue


def part_loads(
    samples: Sequence[Mapping[str, Any]], parts: Mapping[PartKey, Sequence[Prediction]]
) -> tuple[PartLoad, ...]:
    """What the samples say of each part, in the order given; without samples nothing at all."""
    if not samples:
        return ()
    ordered = sorted(samples, key=lambda sample: float(sample["at"]))
    busy = {key: _UnderWay(predictions) for key, predictions in parts.items()}
    joules = _energy(ordered, busy)
    return tuple(_load(key, ordered, under_way, joules) for key, under_way in busy.items())


class _UnderWay:
    """How many requests of a part are under way at a moment."""

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        self._starts = sorted(prediction.started for prediction in predictions)
        self._ends = sorted(map(end_of, predictions))

    def at(self, moment: float) -> int:
        return bisect_right(self._starts, moment) - bisect_right(self._ends, moment)


def _load(
    key: PartKey,
    samples: Sequence[Mapping[str, Any]],
    under_way: _UnderWay,
    joules: Mapping[PartKey, float | None],
) -> PartLoad:
    its = [sample for sample in samples if under_way.at(sample["at"])]
    gpus = [sample["gpus"] for sample in its if sample["gpus"]]
    return PartLoad(
        condition=key[0],
        number=key[1],
        samples=len(its),
        cpu=_mean([sample["cpu"] for sample in its]),
        rss=max((sample["rss"] for sample in its), default=None),
        gpu_memory=max((used for each in gpus if (used := _sum(each, "used"))), default=None),
        gpu_busy=_mean([gpu["busy"] for each in gpus for gpu in each if gpu["busy"] is not None]),
        joules=joules[key],
    )


def _energy(
    samples: Sequence[Mapping[str, Any]], busy: Mapping[PartKey, _UnderWay]
) -> dict[PartKey, float | None]:
    """The trapezoid rule over the GPUs' power, shared at each interval's middle."""
    joules: dict[PartKey, float | None] = dict.fromkeys(busy)
    for before, after in pairwise(samples):
        watts = _sum(before["gpus"], "watts"), _sum(after["gpus"], "watts")
        seconds = after["at"] - before["at"]
        if watts[0] is None or watts[1] is None or seconds > LONGEST_GAP:
            continue
        middle = before["at"] + seconds / 2
        shares = {key: under_way.at(middle) for key, under_way in busy.items()}
        everybody = sum(shares.values())
        for key, share in shares.items():
            if share:
                energy = seconds * (watts[0] + watts[1]) / 2 * share / everybody
                joules[key] = (joules[key] or 0.0) + energy
    return joules


def _sum(gpus: Sequence[Mapping[str, Any]], field: str) -> Any:
    """Over all GPUs; None when there is none, or one does not say."""
    values = [gpu[field] for gpu in gpus]
    return None if not values or None in values else sum(values)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
