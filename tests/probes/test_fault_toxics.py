"""The toxics in virtual time: when each piece comes, exactly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.probes.faults import parse_fault
from pytest_llmeval.probes.faults.plan import Hit
from pytest_llmeval.probes.faults.toxics import Closed, Reset, slices, through
from tools.virtual_time import Deadlock, VirtualLoop, run_virtually

Seen = list[tuple[float, bytes]]


def pass_through(*faults: str, pieces: Seen, seed: int = 1) -> Seen:
    """When what comes of pieces that come when they say."""
    hits = [
        Hit(parse_fault(fault), position, random.Random(f"{seed}/{position}"))
        for position, fault in enumerate(faults)
    ]
    loop = VirtualLoop()
    seen: Seen = []

    async def source() -> AsyncIterator[bytes]:
        for when, data in pieces:
            await asyncio.sleep(when - loop.time())
            yield data

    async def work() -> None:
        async for data in through(source(), hits):
            seen.append((round(loop.time(), 6), data))

    try:
        run_virtually(loop, work())
    except (Closed, Reset, Deadlock) as end:
        seen.append((round(loop.time(), 6), type(end).__name__.encode()))
    finally:
        loop.close()
    return seen


def test_latency_counts_from_when_a_piece_came_and_adds_up_for_none() -> None:
    pieces = [(0.0, b"a"), (0.0, b"b"), (0.5, b"c"), (9.0, b"d")]
    late = pass_through("latency:latency=1000", pieces=pieces)
    assert late == [(when + 1, data) for when, data in pieces]


def test_jitter_is_drawn_within_its_bounds_and_keeps_the_order() -> None:
    pieces = [(float(n), b"%d" % n) for n in range(50)]
    late = pass_through("latency:latency=500,jitter=400", pieces=pieces)
    delays = [after[0] - before[0] for before, after in zip(pieces, late, strict=True)]
    assert all(0.1 <= delay <= 0.9 for delay in delays)
    assert len(set(delays)) > 40
    assert [data for _, data in late] == [data for _, data in pieces]
    assert late == pass_through("latency:latency=500,jitter=400", pieces=pieces)


def test_bandwidth_sends_so_many_kilobytes_a_second() -> None:
    seen = pass_through("bandwidth:rate=10", pieces=[(0.0, b"x" * 2500)])
    assert [(when, len(data)) for when, data in seen] == [(0.1, 1000), (0.2, 1000), (0.25, 500)]


def test_two_latencies_are_one_after_the_other() -> None:
    faults = ("latency:latency=1000", "latency:latency=500")
    assert pass_through(*faults, pieces=[(0.0, b"a")]) == [(1.5, b"a")]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("timeout:timeout=3000", [(3.0, b"Closed")]),
        ("timeout", [(2.0, b"Deadlock")]),
        ("reset_peer", [(1.0, b"Reset")]),
        ("reset_peer:timeout=500", [(1.5, b"Reset")]),
        ("limit_data:bytes=3", [(1.0, b"ab"), (2.0, b"c"), (2.0, b"Closed")]),
        ("limit_data:bytes=4", [(1.0, b"ab"), (2.0, b"cd"), (2.0, b"Closed")]),
        ("limit_data:bytes=5", [(1.0, b"ab"), (2.0, b"cd")]),
        (
            "slicer:average_size=1,delay=1000",
            [(1.0, b"a"), (1.001, b"b"), (2.0, b"c"), (2.001, b"d")],
        ),
    ],
)
def test_what_becomes_of_two_pieces_and_when(fault: str, expected: Seen) -> None:
    assert pass_through(fault, pieces=[(1.0, b"ab"), (2.0, b"cd")]) == expected


@given(st.integers(0, 5000), st.integers(1, 99), st.integers(0, 98), st.integers(0, 10**6))
def test_slices_are_of_their_size_and_leave_nothing_out(
    length: int, size: int, variation: int, seed: int
) -> None:
    variation = min(variation, size - 1)
    found = slices(length, size, variation, random.Random(seed))
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    assert (not found and not length) or (found[0][0], found[-1][1]) == (0, length)
    sizes = [end - start for start, end in found]
    assert all(size - variation <= each <= size + variation for each in sizes[:-1])
    assert all(0 < each <= size + variation for each in sizes)
