"""The scorer regex: a pattern is found in the answer, within a time limit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import regex

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import (
    Finding,
    Reading,
    as_read,
    judge,
    read,
    targets_of,
    text_of,
)
from pytest_llmeval.scoring.scorer import register

#: Seconds. An honest pattern needs microseconds; one that backtracks without end never returns.
TIME_LIMIT = 1.0


@register("regex")
@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression is found in the answer (Python's syntax, `regex` package).

    It is looked for in the answer without fences, and where it is not there, with them. Without
    `pattern` the item's target is the pattern. A pattern that has a group takes something
    out of the answer: its first group is compared with the target, where the item has one. Without
    a group, finding it is being right. A match that takes longer than `TIME_LIMIT` raises
    TimeoutError, which is a failure of the scorer, never a wrong answer.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            _compiled(self.pattern)

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        if self.pattern is None:
            return self._found(answer, [text_of(target) for target in targets_of(item)])
        if item.target is None or not _compiled(self.pattern).groups:
            return self._found(answer, [self.pattern])
        targets = [text_of(target).strip() for target in targets_of(item)]
        return judge(self.name, read(answer), self._taken, targets.__contains__, targets)

    def _found(self, answer: Answer, patterns: list[str]) -> Score:
        def matches(reading: Reading) -> bool:
            return any(search(pattern, text) for text in reading.ways for pattern in patterns)

        return judge(self.name, read(answer), as_read, matches, patterns)

    def _taken(self, reading: Reading) -> Finding[str] | None:
        assert self.pattern is not None
        for text in reading.ways:
            found = search(self.pattern, text)
            if found is not None:
                taken = (found[1] or "").strip()
                ended = found.end(1) < len(text.rstrip())
                return Finding(taken, taken, "the pattern's first group", committed=ended)
        return None


def search(pattern: str, text: str) -> regex.Match[str] | None:
    """Look for a pattern in a text; TimeoutError when that takes longer than `TIME_LIMIT`."""
    try:
        return _compiled(pattern).search(text, timeout=TIME_LIMIT)
    except TimeoutError:
        message = f"the pattern {pattern!r} took longer than {TIME_LIMIT:g} s"
        raise TimeoutError(f"{message} on an answer of {len(text):,} characters") from None


def check_pattern(pattern: object) -> bool:
    """Raise ValueError when a text is no pattern; anything else is none of our business."""
    return not isinstance(pattern, str) or _compiled(pattern) is not None


LARGEST = 250_000
"""Parts that a pattern may stand for: what is repeated by number is compiled so many times, and no
time limit holds for that. So many take 0.2 s.
"""

_PIECE = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<least>\d*)(?:,\d*)?\}|\((?:\?:)?|.", re.DOTALL
)


def parts_in(pattern: str) -> int:
    """How many parts a pattern stands for, with its counted repeats written out, roughly."""
    parts, last = [0], 0
    for piece in _PIECE.finditer(pattern):
        if piece["least"] is not None:
            times = int(piece["least"][:9] or 1)
            parts[-1] += last * (max(times, 1) - 1)
            last *= max(times, 1)
            continue
        if piece[0][0] == "(":
            parts.append(0)
            continue
        last = parts.pop() if piece[0] == ")" and len(parts) > 1 else 1
        parts[-1] += last
    return sum(parts)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> regex.Pattern[str]:
    parts = parts_in(pattern)
    if parts > LARGEST:
        raise ValueError(
            f"{pattern[:100]!r} is too large a regular expression: with its repeats written out it "
            f"has {parts:,} parts, at most {LARGEST:,} are allowed; repeat less often"
        )
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
