"""What the trials without an outcome could still do to a gate's verdict, and its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pytest_llmeval.records import GateVerdict


class Extreme(NamedTuple):
    """An extreme that trials without an outcome may have been at, for instance all `wrong`.

    `is_undone` says whether so many of them at this extreme, and the others at the opposite one,
    undo the verdict.
    """

    name: str
    is_undone: Callable[[int], bool]


def taken_back(
    verdict: GateVerdict, without: str, missing: int, extremes: Sequence[Extreme]
) -> tuple[GateVerdict, str]:
    """Take back a verdict that the `missing` trials could undo; and what to add to its sentence.

    `without` tells how many they are. The first of the extremes is the one that speaks against the
    verdict. The other matters to an interval that any outlier widens, also one that speaks for the
    verdict: it is left out where a bound can only follow the values.
    """
    if not missing:
        return verdict, ""
    if verdict == "inconclusive":
        return verdict, f" ({without})"
    against, *others = extremes
    count, name = fewest(against.is_undone, missing), against.name
    for other in others if count is None else ():
        count, name = _fewest_outliers(other.is_undone, missing), other.name
    if count is not None:
        undone = f"{count:,} of them {name} would undo the {verdict.replace('_', ' ')}"
        return "inconclusive", f", but {without}: {undone}"
    return verdict, f" (even with {without} all {against.name})"


def _fewest_outliers(is_undone: Callable[[int], bool], most: int) -> int | None:
    """The fewest that undo a verdict for which they speak, by the spread that they bring.

    Few do it, if any: they widen an interval by the root of their number, and move it by the number
    itself. So 1, 2, 4 and so on are tried, and all.
    """
    doubled = [1 << power for power in range(most.bit_length())]
    found = next(filter(is_undone, (*doubled, most)), None)
    return None if found is None else fewest(is_undone, found)


def fewest(is_undone: Callable[[int], bool], most: int) -> int | None:
    """The smallest count from 1 to `most` that undoes a verdict, None when even `most` leaves it.

    `is_undone` stays true once it is.
    """
    if not is_undone(most):
        return None
    low, high = 0, most  # undone at `high`, not below `low`
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_undone(middle) else (middle + 1, high)
    return max(1, high)


def trials_words(count: int) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} trial{'s' if count != 1 else ''}"
