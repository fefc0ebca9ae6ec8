"""Seeded choices of items that are the same on every machine, in any order of the file.

Whether an item is chosen is told by sha256 of the seed and its id alone, not by a random generator
or a position. So a limit of 10 is part of a limit of 20, and new items never move an old one from
one split to another.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Collection, Mapping, Sequence

from pytest_llmeval.records import Item

_SPAN = 2**64


def sample(items: Sequence[Item], n: int, seed: int) -> tuple[Item, ...]:
    """`n` of the items, or all when there are no more; in the order they came in."""
    if n >= len(items):
        return tuple(items)
    chosen = heapq.nsmallest(n, items, key=lambda item: (_draw("limit", seed, item.id), item.id))
    ids = {item.id for item in chosen}
    return tuple(item for item in items if item.id in ids)


def split(
    items: Sequence[Item], fractions: Mapping[str, float], part: str, seed: int
) -> tuple[Item, ...]:
    """The items that fall into `part`, in the order they came in.

    `fractions` are the sizes of all parts by name and add up to 1; parts take their stretch of the
    draw in the order they are named, so that every item is in exactly one of them.
    """
    return tuple(item for item in items if _part_of(item, fractions, seed) == part)


def shuffled(items: Sequence[Item], seed: int) -> tuple[Item, ...]:
    """The items in a random order, in which a suite that may stop early asks them."""
    return tuple(sorted(items, key=lambda item: (_draw("order", seed, item.id), item.id)))


def unasked(
    pool: Sequence[Item], asked: Sequence[Item], names_only: Collection[str]
) -> tuple[Item, ...]:
    """The items of `pool` whose content no asked item has, apart from the fields `names_only`."""
    taken = {_content(item, names_only) for item in asked}
    return tuple(item for item in pool if _content(item, names_only) not in taken)


def _content(item: Item, names_only: Collection[str]) -> str:
    fields = {key: value for key, value in item.fields.items() if key not in names_only}
    return json.dumps(fields, sort_keys=True)


def _part_of(item: Item, fractions: Mapping[str, float], seed: int) -> str:
    draw = _draw("split", seed, item.id) / _SPAN
    names = list(fractions)
    edge = 0.0
    for name in names[:-1]:
        edge += fractions[name]
        if draw < edge:
            return name
    # The last part takes the rest, so that rounding leaves no item without a part.
    return names[-1]


def _draw(purpose: str, seed: int, id_: str) -> int:
    """A whole number in [0, 2**64). `purpose` keeps limits, splits and orders independent."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{id_}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
