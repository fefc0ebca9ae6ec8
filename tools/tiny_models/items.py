"""Suite items as plain mappings, and their stable ids."""

from collections.abc import Sequence

Item = dict[str, object]


def numbered(prefix: str, rows: Sequence[Item]) -> list[Item]:
    """Return the rows with ids like add-0017, in the order given; the id comes first."""
    return [{"id": f"{prefix}-{index:04d}", **row} for index, row in enumerate(rows, start=1)]
