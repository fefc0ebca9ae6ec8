"""The endless stream of training documents: which skill comes next, and how often."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from .documents import Document
from .skills import arithmetic, calls, capitals, choice, compare, extraction, sentiment

Maker = Callable[[Random], Document]

#: A skill's documents, and their share at the start of a run and once the shares have settled.
Shares = dict[str, tuple[Maker, float, float]]

#: Finding the option a question means is learned from dense practice, in the first few hundred
#: steps; then choice is only kept, and the rest has the room.
SHARES: Final[Shares] = {
    "arithmetic": (arithmetic.document, 12, 19),
    "capitals": (capitals.document, 9, 9),
    "sentiment": (sentiment.document, 9, 12),
    "choice": (choice.document, 40, 12),
    "json": (extraction.document, 10, 15),
    "tools": (calls.document, 8, 13),
    "compare": (compare.document, 12, 20),
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
    """Return the first documents of a stream whose shares have settled."""
    stream = documents(seed, lambda: 1.0)
    return [next(stream) for _ in range(count)]
