"""The data files of the demo suites, from the same split that training obeys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .items import Item
from .skills import arithmetic, calls, capitals, choice, compare, extraction, sentiment

#: Suite name and what makes its items.
SUITES: Final[dict[str, Callable[[], list[Item]]]] = {
    "arithmetic": arithmetic.items,
    "capitals": capitals.items,
    "choice": choice.items,
    "compare": compare.items,
    "json": extraction.items,
    "sentiment": sentiment.items,
    "tools": calls.items,
}


def lines(name: str) -> str:
    """Return a suite's data file: one JSON object a line, in the order of the ids."""
    if name not in SUITES:
        raise KeyError(f"no suite named {name!r}; there are {', '.join(SUITES)}")
    rows = [json.dumps(item, ensure_ascii=False) for item in SUITES[name]()]
    return "".join(f"{row}\n" for row in rows)


def write(folder: Path) -> list[Path]:
    """Write every data file into the folder; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in SUITES:
        path = folder / f"{name}.jsonl"
        path.write_text(lines(name), encoding="utf-8", newline="\n")
        written.append(path)
    return written
