"""The scorer that compares meanings by vectors: embedding_similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import brief, grade, no_answer, read, targets_of, text_of
from pytest_llmeval.scoring.scorer import NeedsModelError, register
from pytest_llmeval.scoring.second_wave import Shown


@register("embedding_similarity")
@dataclass(frozen=True, slots=True)
class EmbeddingSimilarity:
    """The cosine of the vectors that an embedder of the config gives of answer and target.

    What is below 0 counts as 0. The best of several targets counts. The same text is 1, without an
    embedder. What a cosine is worth differs from embedder to embedder: compare conditions by it, or
    calibrate a limit on answers whose worth is known.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    role: ClassVar[Literal["embedder"]] = "embedder"
    model: str | None = None

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Say what goes without vectors; raises NeedsModelError for the rest."""
        targets = [text_of(target).strip() for target in targets_of(item)]
        if not all(targets):
            raise ValueError(f"item {item.id} has an empty target, which has no vector")
        reading = read(answer)
        if reading.missing is not None:
            return no_answer(self.name, reading, reading.missing)
        if reading.text.strip() in targets:
            return grade(self.name, reading, 1.0, "the same text", targets)
        raise NeedsModelError

    def at_once(self, shown: Shown) -> Score | None:
        """Nothing more than while tests run."""
        del shown
        return None

    def texts(self, shown: Shown) -> tuple[str, ...]:
        """The answer, and behind it the targets."""
        targets = [text_of(target).strip() for target in targets_of(shown.item)]
        return (read(shown.answer).text.strip(), *targets)

    def score(self, shown: Shown, cosines: Sequence[float], embedder: str) -> Score:
        """The score: the largest cosine."""
        targets = [text_of(target) for target in targets_of(shown.item)]
        cosine, best = max(zip(cosines, targets, strict=True))
        measured = f"cosine {cosine:.4g} with {brief(best)}, by {embedder}"
        return grade(self.name, read(shown.answer), min(1.0, max(0.0, cosine)), measured, targets)


def cosine(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The cosine of two vectors of one length; None where one of them has no direction."""
    length = math.sqrt(math.fsum(x * x for x in first) * math.fsum(y * y for y in second))
    if not length or not math.isfinite(length):
        return None
    return math.fsum(x * y for x, y in zip(first, second, strict=True)) / length
