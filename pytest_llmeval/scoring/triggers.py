"""Regular expressions that are tried only where certain words begin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence


def matches_at(
    pattern: re.Pattern[str], text: str, words: Sequence[str]
) -> Iterator[re.Match[str]]:
    """`pattern.finditer(text)`, tried only where one of the words begins.

    Python tries a pattern that begins with a choice at every position, which takes 0.1 to 0.2 ms
    for 1,000 characters; finding words takes a tenth of that. The words are in lower case, and
    every match begins with one of them.
    """
    end = 0
    for start in starts_of(text, words):
        if start >= end and (match := pattern.match(text, start)):
            yield match
            end = match.end()


def starts_of(text: str, words: Sequence[str]) -> list[int]:
    """Where any of the words (in lower case) begins, within other words too, in order."""
    lowered, starts = lower(text), []
    for word in words:
        start = lowered.find(word)
        while start >= 0:
            starts.append(start)
            start = lowered.find(word, start + 1)
    return sorted(starts)


def lower(text: str) -> str:
    """Lower case that keeps every position (İ would become two characters)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
