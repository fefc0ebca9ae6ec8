"""Which instances make room for another: those unused for the longest time, and no more than
needed. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Fits = Callable[[frozenset[str]], "bool | None"]
"""Whether instances of these names fit into memory side by side; None: nobody can tell."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """An instance that has memory, or is about to; `last_used` in seconds of any clock."""

    name: str
    last_used: float
    idle: bool


@dataclass(frozen=True, slots=True)
class Room:
    """What is to be done for room: take these down, or wait until these are idle; both empty: go
    on.
    """

    unload: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()


def make_room(wanted: str, occupants: Sequence[Occupant], fits: Fits) -> Room:
    """What must go before `wanted` can start.

    Where idle ones suffice they go; else those are named that must become idle first. Nothing has
    to go where nobody can tell, nor where it would help nothing: starting it will say why.
    """
    unload = to_unload(wanted, occupants, fits)
    if unload is not None:
        return Room(unload=unload)
    needed = _least(wanted, _in_order(occupants), occupants, fits) or ()
    busy = {each.name for each in occupants if not each.idle}
    return Room(drain=tuple(name for name in needed if name in busy))


def to_unload(wanted: str, occupants: Sequence[Occupant], fits: Fits) -> tuple[str, ...] | None:
    """The idle ones that make room, least recently used first; None where they do not suffice."""
    idle = [each for each in _in_order(occupants) if each.idle]
    return _least(wanted, idle, occupants, fits)


def _in_order(occupants: Iterable[Occupant]) -> list[Occupant]:
    """Idle ones first, and among them the least recently used."""
    return sorted(occupants, key=lambda each: (not each.idle, each.last_used, each.name))


def _least(
    wanted: str, order: Sequence[Occupant], occupants: Sequence[Occupant], fits: Fits
) -> tuple[str, ...] | None:
    """The shortest beginning of an order without which the others fit; None: not even all."""
    staying = frozenset(each.name for each in occupants) | {wanted}
    for count in range(len(order) + 1):
        gone = tuple(each.name for each in order[:count])
        if fits(staying.difference(gone)) is not False:
            return gone
    return None
