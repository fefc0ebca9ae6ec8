"""The endless stream of training documents: which skill comes next, and how often."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from .documents import Document
from .skills import arithmetic, calls, capitals, choice, compare, extraction, sentiment

Maker = Callable[[Random], Document]

#: A skill's documents, and their share at the start and at the end of a stage.
Shares = dict[str, tuple[Maker, float, float]]

#: The long first stage. Facts are learned early and only kept; sums and copying come late.
SHARES: Final[Shares] = {
    "arithmetic": (arithmetic.document, 23, 19),
    "capitals": (capitals.document, 9, 7),
    "sentiment": (sentiment.document, 9, 9),
    "choice": (choice.document, 27, 24),
    "json": (extraction.document, 10, 12),
    "tools": (calls.document, 10, 13),
    "compare": (compare.document, 12, 16),
}

#: The short second stage: choice in earnest, now that little else is left to learn.
FINISH: Final[Shares] = {
    "arithmetic": (arithmetic.document, 12, 12),
    "capitals": (capitals.document, 7, 7),
    "sentiment": (sentiment.document, 7, 7),
    "choice": (choice.finishing_document, 40, 40),
    "json": (extraction.document, 7, 7),
    "tools": (calls.document, 12, 12),
    "compare": (compare.document, 15, 15),
}


def documents(seed: int, shares: Shares, progress: Callable[[], float]) -> Iterator[Document]:
    """Documents for ever; `progress` goes from 0 to 1 and moves the shares."""
    rng = Random(seed)
    makers = [maker for maker, _, _ in shares.values()]
    while True:
        done = progress()
        weights = [start + (end - start) * done for _, start, end in shares.values()]
        yield rng.choices(makers, weights)[0](rng)


def sample(count: int, seed: int = 1, shares: Shares = SHARES) -> list[Document]:
    """Return the first documents of a stream whose shares stay as at the start."""
    stream = documents(seed, shares, lambda: 0.0)
    return [next(stream) for _ in range(count)]
