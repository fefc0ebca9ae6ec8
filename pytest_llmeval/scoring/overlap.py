"""Scorers of how much of a text agrees with the target: token_f1, rouge, edit_similarity."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import brief, grade, read, targets_of, text_of
from pytest_llmeval.scoring.extras import library
from pytest_llmeval.scoring.scorer import register
from pytest_llmeval.scoring.text import composed, normalized

RougeType = Literal["rouge1", "rouge2", "rougeL"]
EditKind = Literal["levenshtein", "indel", "jaro_winkler"]


@register("token_f1")
@dataclass(frozen=True, slots=True)
class TokenF1:
    """SQuAD's F1: the words that answer and target share, the best of several targets counting.

    Words are what stands between spaces after `normalized_exact`'s normalisation; one that occurs
    twice counts twice. F1 = 2 shared / (words of the answer + words of the target). Where one of
    the two has no words, it is 1 when the other has none either, else 0.
    Source: Rajpurkar et al. 2016, and the evaluation script of SQuAD 1.1.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [text_of(target) for target in targets_of(item)]
        reading = read(answer)
        words = Counter(normalized(reading.text).split())
        value, best = max((_f1(words, _words(target)), target) for target in targets)
        return grade(self.name, reading, value, f"F1 {value:.4g} with {brief(best)}", targets)


@lru_cache(maxsize=4096)
def _words(target: str) -> Counter[str]:
    return Counter(normalized(target).split())


def _f1(words: Counter[str], wanted: Counter[str]) -> float:
    if not words or not wanted:
        return float(words == wanted)
    shared = sum(min(count, words[word]) for word, count in wanted.items())
    return 2 * shared / (words.total() + wanted.total())


@register("rouge")
@dataclass(frozen=True, slots=True)
class Rouge:
    """ROUGE's F-measure, as the package rouge-score has it; the best of several targets counts.

    `type` is rouge1 (words), rouge2 (pairs of words) or rougeL (the longest common sequence of
    words). `stemmer: true` cuts English words to their stems first. The package knows the letters
    a to z and digits only, so that a target without any is refused.
    Source: Lin 2004.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    type: RougeType = "rougeL"
    stemmer: bool = False

    def __post_init__(self) -> None:
        _rouge(self.type, self.stemmer)

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [composed(text_of(target)) for target in targets_of(item)]
        for target in targets:
            _check_readable(target, item)
        reading = read(answer)
        found = _rouge(self.type, self.stemmer).score_multi(targets, composed(reading.text))[
            self.type
        ]
        stemmed = "stemmed" if self.stemmer else "not stemmed"
        measured = (
            f"{self.type} F {found.fmeasure:.4g} "
            f"(precision {found.precision:.4g}, recall {found.recall:.4g}; {stemmed})"
        )
        return grade(self.name, reading, float(found.fmeasure), measured, targets)


@lru_cache
def _rouge(kind: str, stemmer: bool) -> Any:
    scorers = library("rouge_score.rouge_scorer", package="rouge-score", scorer="rouge")
    return scorers.RougeScorer([kind], use_stemmer=stemmer)


def _check_readable(target: str, item: Item) -> None:
    if not any(c.isascii() and c.isalnum() for c in target):
        what = (
            f"the target {brief(repr(target))} of item {item.id} has no letter a to z and no digit"
        )
        raise ValueError(f"{what}, and rouge reads nothing else; token_f1 and chrf read any script")


@register("edit_similarity")
@dataclass(frozen=True, slots=True)
class EditSimilarity:
    """How few edits turn the answer into the target: 1 is the same text, 0 nothing in common.

    `kind` is levenshtein (1 - edits / length of the longer text), indel (the same without
    replacing, over both lengths: difflib's ratio is near it) or jaro_winkler (for names). Texts are
    compared without the space around them and in Unicode's composed form; `ignore_case: true` folds
    case. The best of several targets counts. By the package rapidfuzz.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    kind: EditKind = "levenshtein"
    ignore_case: bool = False

    def __post_init__(self) -> None:
        _similarity(self.kind)

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        targets = [text_of(target) for target in targets_of(item)]
        reading = read(answer)
        similarity = _similarity(self.kind)
        value, best = max(
            (similarity(self._form(text), self._form(target)), target)
            for text in reading.ways
            for target in targets
        )
        measured = f"{self.kind} {value:.4g} with {brief(best)}"
        return grade(self.name, reading, float(value), measured, targets)

    def _form(self, text: str) -> str:
        return composed(text.casefold() if self.ignore_case else text).strip()


@lru_cache
def _similarity(kind: EditKind) -> Any:
    distances = library("rapidfuzz.distance", package="rapidfuzz", scorer="edit_similarity")
    classes = {"levenshtein": "Levenshtein", "indel": "Indel", "jaro_winkler": "JaroWinkler"}
    return getattr(distances, classes[kind]).normalized_similarity
