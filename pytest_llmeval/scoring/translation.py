"""Scorers of translations, by sacrebleu and on one sentence each: bleu, chrf, ter.

A corpus's BLEU is not the mean of its sentences' BLEU, so that the mean of these scores is no
figure to set beside published ones; it is one to compare models on the same items with. What was
computed is recorded with every score: sacrebleu's signature.

Several targets are several references of one sentence, combined as sacrebleu does: BLEU counts
what any of them has, chrF takes the nearest, TER the fewest edits over their mean length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import grade, read, targets_of, text_of
from pytest_llmeval.scoring.extras import library
from pytest_llmeval.scoring.scorer import register
from pytest_llmeval.scoring.text import composed

Tokenizer = Literal["13a", "intl", "zh", "char", "none"]


@register("bleu")
@dataclass(frozen=True, slots=True)
class Bleu:
    """Sentence BLEU of sacrebleu (exponential smoothing, effective order), divided by 100.

    `tokenize` names its tokenizer: 13a for most languages, zh for Chinese, char for any script
    without spaces. `lowercase: true` ignores case.
    Source: Papineni et al. 2002, Post 2018.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    tokenize: Tokenizer = "13a"
    lowercase: bool = False

    def __post_init__(self) -> None:
        self._metric()

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        return _judged(self.name, self._metric(), answer, item)

    def _metric(self) -> Any:
        return _metric(
            self.name, effective_order=True, tokenize=self.tokenize, lowercase=self.lowercase
        )


@register("chrf")
@dataclass(frozen=True, slots=True)
class Chrf:
    """chrF of sacrebleu, from sequences of 1 to 6 characters, divided by 100.

    `word_order: 2` counts words and pairs of words too: chrF++.
    Source: Popović 2015 and 2017.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    word_order: int = 0

    def __post_init__(self) -> None:
        if self.word_order < 0:
            raise ValueError(f"word_order must be 0 or more, got {self.word_order}")
        self._metric()

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        return _judged(self.name, self._metric(), answer, item)

    def _metric(self) -> Any:
        return _metric(self.name, word_order=self.word_order)


@register("ter")
@dataclass(frozen=True, slots=True)
class Ter:
    """1 - TER, and 0 where more edits are needed than the target has words. Case does not count.

    TER, of sacrebleu, is the number of words to insert, delete, replace or shift, over the number
    of words of the target: 0 for the same text, and without an upper end. Turned around and cut off
    at 0, so that more is better, as it is for every score; the TER itself is recorded.
    Source: Snover et al. 2006.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        self._metric()

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        return _judged(self.name, self._metric(), answer, item)

    def _metric(self) -> Any:
        return _metric(self.name)


def _judged(scorer: str, metric: Any, answer: Answer, item: Item) -> Score:
    targets = [composed(text_of(target)) for target in targets_of(item)]
    if not all(target.strip() for target in targets):
        raise ValueError(f"item {item.id} has an empty target, to which {scorer} has no measure")
    reading = read(answer)
    score = metric.sentence_score(composed(reading.text).strip(), targets).score
    value = 1 - score / 100 if scorer == "ter" else score / 100
    measured = f"{scorer} {score:.4g} [{metric.get_signature()}]"
    return grade(scorer, reading, _bounded(value), measured, targets)


def _bounded(value: float) -> float:
    """A value in [0, 1]; sacrebleu's sums of logarithms come to 1.0000000000000004."""
    return 1.0 if value > 1 - 1e-9 else max(0.0, value)


@lru_cache
def _metric(scorer: str, **options: Any) -> Any:
    metrics = library("sacrebleu.metrics", package="sacrebleu", scorer=scorer)
    return getattr(metrics, {"bleu": "BLEU", "chrf": "CHRF", "ter": "TER"}[scorer])(**options)
