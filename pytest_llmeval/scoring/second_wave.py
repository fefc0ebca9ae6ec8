"""Scorers that need a model: what they are told, what they ask, and how it becomes a score.

Such a scorer is asked twice. While tests run it says what goes without a model, for instance that
an empty answer is none, and raises `NeedsModelError` for everything else. When all answers are
there, what it asks of each becomes trials of a second wave; with their answers it gives its score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeGuard

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.scorer import Scorer

#: The scorers that need a model.
MODEL_SCORERS = ("judge", "pairwise", "embedding_similarity")

#: The reason of a failure that is not the answer's, but that of who was to judge it.
JUDGE = "judge"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a judge gets to see: the item, what was asked, the answer, and the one held against it.

    `other` is None where nothing is held against the answer, or only the item's target is. `seed`
    goes into the marks around what is quoted.
    """

    item: Item
    question: str
    answer: Answer
    other: Answer | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be asked: the values for the template, and the JSON Schema of what is to come
    back, None where it is a line of text.
    """

    values: Mapping[str, Any]
    schema: Mapping[str, Any] | None


class ModelScorer(Scorer, Protocol):
    """A scorer that needs a model of a certain role: `model` by name, None for the usual one."""

    role: ClassVar[Literal["judge", "embedder"]]

    @property
    def model(self) -> str | None:
        """The model of the config that it names itself."""

    def at_once(self, shown: Shown) -> Score | None:
        """The score, where no model is needed, now that all answers are known."""


class JudgeScorer(ModelScorer, Protocol):
    """A scorer that asks a judge, in words.

    `count` questions about each answer, whose `as_json` form keeps to a schema.
    """

    count: ClassVar[int]

    @property
    def prompt(self) -> str | None:
        """A template of the user's own."""

    @property
    def max_tokens(self) -> int:
        """The longest reply."""

    def template(self) -> str:
        """The template that makes a question of a question's values."""

    def needed_names(self) -> tuple[str, ...]:
        """What a template must insert: without it a judge would not know what to do."""

    def question(self, shown: Shown, number: int, *, as_json: bool) -> Question:
        """What is asked about an answer; `number` counts from 1."""

    def score(self, shown: Shown, replies: Sequence[Answer], judge: str, *, as_json: bool) -> Score:
        """The score, from a reply to every question by the model called `judge`."""


class EmbeddingScorer(ModelScorer, Protocol):
    """A scorer that compares vectors of texts."""

    def texts(self, shown: Shown) -> tuple[str, ...]:
        """The answer, and behind it all it is compared with."""

    def score(self, shown: Shown, cosines: Sequence[float], embedder: str) -> Score:
        """The score, from the cosine of the answer with each of the other texts."""


def needs_model(scorer: Scorer) -> TypeGuard[ModelScorer]:
    """Whether a scorer gives its scores when the run ends, by what a model says."""
    return hasattr(scorer, "role")


def asks_judge(scorer: Scorer) -> TypeGuard[JudgeScorer]:
    """Whether a scorer asks a judge, in words."""
    return needs_model(scorer) and scorer.role == "judge"


def embeds(scorer: Scorer) -> TypeGuard[EmbeddingScorer]:
    """Whether a scorer compares vectors."""
    return needs_model(scorer) and scorer.role == "embedder"


def unjudged(scorer: str, why: str) -> Score:
    """The score of an answer that nobody could judge: that says nothing about the answer."""
    return Score(scorer, "failure", None, JUDGE, stages=(why,))


def in_their_order(names: Iterable[str], scores: Iterable[Score]) -> tuple[Score, ...]:
    """Scores as their suite lists its scorers; what stands in no list, a test's own, comes last."""
    rank = {name: place for place, name in enumerate(names)}
    return tuple(sorted(scores, key=lambda score: rank.get(score.scorer, len(rank))))
