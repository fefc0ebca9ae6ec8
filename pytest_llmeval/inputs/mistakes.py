"""How mistakes are told: where, what was found, what is allowed, what was probably meant.

A file's mistakes are gathered and told together, so that it is corrected in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from pytest_llmeval.errors import InputError


class Source(Protocol):
    """What knows where a value was written: a document."""

    def place_of(self, keys: tuple[str | int, ...]) -> tuple[Path | str, int | None]:
        """File and line of the value under `keys`."""


class Mistakes:
    """The mistakes found in one source so far."""

    def __init__(self, source: Source, error: type[InputError]):
        self._source = source
        self._error = error
        self._found: list[InputError] = []

    def add(self, keys: tuple[str | int, ...], message: str) -> None:
        """Note what is wrong with the value under `keys`."""
        path, line = self._source.place_of(keys)
        self._found.append(self._error(message, path=path, line=line))

    def __bool__(self) -> bool:
        return bool(self._found)

    def in_order(self) -> list[InputError]:
        """All of them, in the order of the file."""
        return sorted(self._found, key=lambda mistake: mistake.line or 0)

    def raise_if_any(self) -> None:
        """Raise all of them as one error, a line each, in the order of the file."""
        if not self._found:
            return
        first, *others = self.in_order()
        message = "\n".join([first.message, *map(str, others)])
        raise self._error(message, path=first.path, line=first.line)


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `allowed`, or nothing when none is near."""
    spellings = {word.lower(): word for word in allowed}
    near = difflib.get_close_matches(given.lower(), spellings, n=1)
    return f"; did you mean {spellings[near[0]]!r}?" if near else ""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> str:
    """That `given` is no known `kind`, the nearest match, and everything that is allowed."""
    words = list(allowed)
    return f"unknown {kind} {given!r}{did_you_mean(given, words)} (allowed: {', '.join(words)})"


def shown(value: Any) -> str:
    """A value as it is quoted in a message: short, and by its kind when it is no scalar."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
