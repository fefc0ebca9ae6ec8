"""The endless stream of training documents: which skill comes next, and how often."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from .documents import Document
from .skills import arithmetic, calls, capitals, choice, compare, extraction, sentiment

Maker = Callable[[Random], Document]

#: Documents per skill: share at the start and at the end of the run. Facts are learned
#: early and only kept; sums, choice and copying come late.
SHARES: Final[dict[str, tuple[Maker, float, float]]] = {
    "arithmetic": (arithmetic.document, 23, 19),
    "capitals": (capitals.document, 9, 7),
    "sentiment": (sentiment.document, 9, 9),
    "choice": (choice.document, 27, 24),
    "json": (extraction.document, 10, 12),
    "tools": (calls.document, 10, 13),
    "compare": (compare.document, 12, 16),
}


def documents(seed: int, progress: Callable[[], float]) -> Iterator[Document]:
    """Documents for ever; `progress` goes from 0 to 1 and moves the shares."""
    rng = Random(seed)
    makers = [maker for maker, _, _ in SHARES.values()]
    while True:
        done = progress()
        weights = [start + (end - start) * done for _, start, end in SHARES.values()]
        yield rng.choices(makers, weights)[0](rng)


def sample(count: int, seed: int = 1) -> list[Document]:
    """Return the first documents of a stream whose shares stay as at the start."""
    stream = documents(seed, lambda: 0.0)
    return [next(stream) for _ in range(count)]
