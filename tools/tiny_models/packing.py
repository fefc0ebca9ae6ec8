"""Documents into batches of fixed size: rows of tokens, whose document, what is learned."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .documents import PAD, Document
from .tokenizer import Tokenizer

#: Part of the given tokens that are predicted too, and how much each counts.
GIVEN_SHARE: Final = 0.08
GIVEN_WEIGHT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Layout:
    """How many rows of how many tokens a batch has, and at most how many predictions."""

    rows: int = 20
    length: int = 96
    predictions: int = 576


@dataclass(frozen=True, slots=True)
class Batch:
    """`wanted` indexes the flattened tokens; `targets` and `weights` go with it."""

    ids: NDArray[np.int64]
    document: NDArray[np.int64]
    wanted: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]


#: Ids of a document, and how much predicting each counts; 0 where it is given.
Encoded = tuple[list[int], list[float]]

#: Where a prediction is made in the flattened batch, what is right, how much it counts.
Place = tuple[int, int, float]


def encoded(tokenizer: Tokenizer, document: Document) -> Encoded:
    """Turn the pieces of a document into ids."""
    ids: list[int] = []
    weights: list[float] = []
    for piece in document:
        new = tokenizer.encode(piece.text)
        ids += new
        weights += [_weight(len(new)) if piece.learned else 0.0] * len(new)
    return ids, weights


def _weight(size: int) -> float:
    """Let a token of a long answer count less, because most of it is form."""
    return float(min(1.0, (4 / size) ** 0.5))


def batches(
    tokenizer: Tokenizer, documents: Iterator[Document], layout: Layout, seed: int
) -> Iterator[Batch]:
    """Batches for ever; a document that does not fit waits for the next one."""
    rng = Random(seed)
    waiting: list[Encoded] = []
    while True:
        rows: list[list[Encoded]] = [[] for _ in range(layout.rows)]
        space = [layout.length] * layout.rows
        left_over: list[Encoded] = []
        while len(left_over) < 12:
            made = waiting.pop() if waiting else encoded(tokenizer, next(documents))
            size = len(made[0])
            if size > layout.length:
                raise ValueError(f"a document of {size} tokens; at most {layout.length} fit")
            fitting = [row for row in range(layout.rows) if space[row] >= size]
            if fitting:
                row = min(fitting, key=lambda index: space[index])
                rows[row].append(made)
                space[row] -= size
            else:
                left_over.append(made)
        waiting = left_over
        yield _batch(rows, layout, tokenizer.ids[PAD], rng)


def _batch(rows: list[list[Encoded]], layout: Layout, pad: int, rng: Random) -> Batch:
    ids = np.full((layout.rows, layout.length), pad, dtype=np.int64)
    document = np.zeros((layout.rows, layout.length), dtype=np.int64)
    answers: list[Place] = []
    others: list[Place] = []
    for row, contents in enumerate(rows):
        start = 0
        for number, (tokens, weights) in enumerate(contents, start=1):
            ids[row, start : start + len(tokens)] = tokens
            document[row, start : start + len(tokens)] = number
            for offset in range(1, len(tokens)):
                position = row * layout.length + start + offset - 1
                if weights[offset]:
                    answers.append((position, tokens[offset], weights[offset]))
                elif rng.random() < GIVEN_SHARE:
                    others.append((position, tokens[offset], GIVEN_WEIGHT))
            start += len(tokens)
    return _predictions(ids, document, answers + others, layout.predictions)


def _predictions(
    ids: NDArray[np.int64],
    document: NDArray[np.int64],
    places: list[Place],
    size: int,
) -> Batch:
    """Make always the same number of predictions, so that the compiled network is one shape."""
    kept = places[:size]
    wanted, targets, weights = zip(*kept, *[(0, 0, 0.0)] * (size - len(kept)), strict=True)
    return Batch(
        ids,
        document,
        np.array(wanted, dtype=np.int64),
        np.array(targets, dtype=np.int64),
        np.array(weights, dtype=np.float32),
    )
