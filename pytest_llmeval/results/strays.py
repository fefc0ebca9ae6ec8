"""By which ids what came out differs from what went in. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NAMED = 3
"""So many ids of a kind are named; of the others it is said how many there are."""


@dataclass(frozen=True, slots=True)
class Strays:
    """The ids that make a difference: nothing came out for them, more than once, or they never
    went in.
    """

    missing: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.doubled or self.unknown)

    def words(self) -> str:
        """Say which, "" when there is none: `missing a, b; twice c; unknown d, e, f and 4 more`."""
        kinds = {"missing": self.missing, "twice": self.doubled, "unknown": self.unknown}
        return "; ".join(f"{kind} {named(ids)}" for kind, ids in kinds.items() if ids)


NO_STRAYS = Strays()


def together(some: Iterable[Strays]) -> Strays:
    """Those of several jobs or files as one, in their order."""
    found = list(some)
    return Strays(
        missing=tuple(id_ for each in found for id_ in each.missing),
        doubled=tuple(id_ for each in found for id_ in each.doubled),
        unknown=tuple(id_ for each in found for id_ in each.unknown),
    )


def strays(asked: Iterable[str], answered: Iterable[str]) -> Strays:
    """Hold the ids that came out against those that went in; each in the order of its side."""
    wanted, found = dict.fromkeys(asked), Counter(answered)
    return Strays(
        missing=tuple(id_ for id_ in wanted if id_ not in found),
        doubled=tuple(id_ for id_, count in found.items() if count > 1 and id_ in wanted),
        unknown=tuple(id_ for id_ in found if id_ not in wanted),
    )


def named(ids: Sequence[str]) -> str:
    """The first few of some ids, and how many there are besides."""
    more = len(ids) - NAMED
    shown = ", ".join(ids[:NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown
