"""What became of each part of a run, a line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pytest_llmeval.results.parts import PartFacts


def part_lines(parts: Sequence[PartFacts], some: Sequence[PartFacts] | None = None) -> list[str]:
    """A line for every part, in their order, or for `some` of them."""
    return [line for part, line in _lines(parts) if some is None or part in some]


def telling_lines(parts: Sequence[PartFacts]) -> list[str]:
    """The lines of those parts that have more to tell than the table of scores."""
    return [line for part, line in _lines(parts) if part.failed or part.discrepancy]


def shows_parts(parts: Iterable[PartFacts]) -> bool:
    """Whether a report has a list of parts: some condition has several, or one went wrong."""
    return any(part.number > 1 or part.failed or part.discrepancy for part in parts)


def part_line(part: PartFacts, of: int) -> str:
    """`part 2 of 4 of tiny-l/plain: 50 in, 48 answered, 2 failed (2 timeout; first ...)`."""
    place = f"part {part.number} of {of} of " if of > 1 else ""
    told = [f"{part.trials:,} in", f"{part.answered:,} answered"]
    if part.failed:
        told.append(f"{part.failed:,} failed{_reasons(part)}")
    if part.not_needed:
        told.append(f"{part.not_needed:,} not needed")
    if part.job_status in ("pending", "running"):
        told.append(part.job_status)
    odd = f"; NOT IN = OUT: {part.discrepancy}" if part.discrepancy else ""
    return f"{place}{part.condition}: {', '.join(told)}{odd}"


def _reasons(part: PartFacts) -> str:
    if not part.failures:  # of a run that an older version has made
        return ""
    counts = ", ".join(f"{count:,} {reason}" for reason, count in part.failures.items())
    first = f"; first {part.first_failure}" if part.first_failure else ""
    return f" ({counts}{first})"


def _lines(parts: Sequence[PartFacts]) -> list[tuple[PartFacts, str]]:
    of = Counter(part.condition for part in parts)
    return [(part, part_line(part, of[part.condition])) for part in parts]
