"""What there is to tell at the end of a run, as data: terminal, Markdown and HTML tell the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_llmeval.records import (
    Comparison,
    Corpus,
    Doubt,
    GateResult,
    Interval,
    Message,
    Metric,
    Outcome,
    Prediction,
    Predictions,
    Score,
    Scores,
    Trial,
)
from pytest_llmeval.results.manifest import ModelFacts, moment
from pytest_llmeval.results.parts import PartFacts
from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.rows import answer_text, in_order, outcome_of, target_text

EXAMPLES = 200
"""So many answers that were not right are shown for each condition; the rest is in the tables."""


@dataclass(frozen=True, slots=True)
class ConditionFigures:
    """Tokens and time of one suite under one condition.

    `seconds` is how long at least one of its requests was under way; `tokens_per_second` counts
    the written ones only. `cache_hit` is the share of prompt tokens that came from the prompt
    cache, `slots_busy` that of the model's slots × time at work, both in [0, 1]. None: unknown.
    `usage_sources` says of how many answers who counted the tokens. All of it is about what was
    asked; of the `answers` so many were `kept`, from the cache, and took nothing.
    """

    condition: str
    suite: str
    tokens: int
    seconds: float
    tokens_per_second: float | None
    cache_hit: float | None
    slots_busy: float | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    usage_sources: Mapping[str, int] = field(default_factory=dict)
    answers: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """A trial that was not right, as a reader wants to see it.

    `likelihoods` are the texts whose likelihood was asked, with theirs in nats. `unscored` says why
    an answer that is there has no score.
    """

    suite: str
    condition: str
    name: str
    outcome: Outcome | Literal[""]
    reason: str
    prompt: tuple[Message, ...]
    answer: str | None
    extracted: str | None
    target: str
    likelihoods: tuple[tuple[str, float], ...] = ()
    unscored: str = ""

    @property
    def without_answer(self) -> bool:
        """Whether `answer` tells why there is none."""
        return self.outcome == "failure" and not self.unscored


@dataclass(frozen=True, slots=True)
class StoppedSuite:
    """A suite that might stop early: how many of its trials were not needed.

    `asked_in_vain` of these were under way when it had decided; `left` were still to be asked when
    the run was cut short. `seed` is that of the items' order.
    """

    suite: str
    when: str
    alpha: float
    seed: int
    trials: int
    not_needed: int
    asked_in_vain: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """What one scorer's judge did in one suite.

    Of the `answers` that only it could judge it was asked in `trials`, and gave `replies`;
    `unjudged` answers have no verdict, for want of a reply or of one that can be read. In so many
    of the `pairs` that it has judged in both orders it was `consistent`, `consistency` being the
    interval of that share; None where it saw one answer at a time. `own` are the conditions whose
    answers, judged or held against, it has written itself. `slots_busy` is over all that this
    model has judged, None where that is nothing here. Tokens are None where nobody has counted
    those of some reply. So many of the replies were `kept`, from the cache: tokens and times are
    those of the others.
    """

    suite: str
    scorer: str
    judge: str
    question_hash: str
    answers: int
    trials: int
    replies: int
    unjudged: int
    own: tuple[str, ...] = ()
    against: str = ""
    consistent: int | None = None
    pairs: int | None = None
    consistency: Interval | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    seconds: float = 0.0
    slots_busy: float | None = None
    kept: int = 0

    @property
    def tokens(self) -> int | None:
        """Tokens read and written, as far as they were counted."""
        known = [n for n in (self.prompt_tokens, self.completion_tokens) if n is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything the end of a run says. `folder` is the run's folder as the terminal shows it, and
    `path` its HTML report, "" if it could not be written.

    `started` is ISO 8601 in UTC; `wrong`, `no_answer` and `failed` count trials by the headline
    score. Metrics come in the order in which they are to be shown. `warnings` say all that a reader
    should know, the `doubts` among it. `asked_again` counts the answers that took more than one
    request, by what came of the first.
    """

    id: str
    started: str
    seconds: float
    folder: str
    path: str
    plan: RunPlan
    models: tuple[ModelFacts, ...]
    versions: Mapping[str, str | None]
    metrics: tuple[Metric, ...]
    comparisons: tuple[Comparison, ...] = ()
    gates: tuple[GateResult, ...] = ()
    figures: tuple[ConditionFigures, ...] = ()
    wrong: int = 0
    no_answer: int = 0
    failed: int = 0
    slots_busy: float | None = None
    warnings: tuple[str, ...] = ()
    examples: tuple[Example, ...] = field(default=(), repr=False)
    stopped: tuple[StoppedSuite, ...] = ()
    judges: tuple[JudgeFigures, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    parts: tuple[PartFacts, ...] = ()
    corpora: tuple[Corpus, ...] = ()
    asked_again: Mapping[str, int] = field(default_factory=dict)

    @property
    def began(self) -> str:
        """When it started, for people: `2026-11-23 03:12 UTC`."""
        return f"{moment(self.started):%Y-%m-%d %H:%M} UTC"

    @property
    def tokens(self) -> int:
        """Tokens read and written, as far as they were counted."""
        judged = sum(each.tokens or 0 for each in self.judges)
        return sum(figures.tokens for figures in self.figures) + judged

    @property
    def kept(self) -> int:
        """Answers that came from the cache, those of judges among them."""
        judged = sum(each.kept for each in self.judges)
        return sum(figures.kept for figures in self.figures) + judged

    @property
    def answers(self) -> int:
        """All answers there are, those of judges among them."""
        judged = sum(each.replies for each in self.judges)
        return sum(figures.answers for figures in self.figures) + judged

    @property
    def cache_hit(self) -> float | None:
        """The share of all prompt tokens that came from a prompt cache; None when nobody said."""
        known = [figures for figures in self.figures if figures.cache_hit is not None]
        asked = sum(figures.prompt_tokens for figures in known)
        return sum(figures.cached_tokens for figures in known) / asked if asked else None

    def figures_of(self, suite: str, condition: str) -> ConditionFigures | None:
        """The figures of one row of the table."""
        for figures in self.figures:
            if (figures.suite, figures.condition) == (suite, condition):
                return figures
        return None


def condition_figures(
    trials: Iterable[Trial], predictions: Predictions, slots_busy: Mapping[str, float] | None = None
) -> tuple[ConditionFigures, ...]:
    """Sum up tokens and time for each suite and condition, in the order of the trials.

    `slots_busy` gives each model's share, where it was measured. Trials without an answer have no
    tokens, yet their time counts.
    """
    groups: dict[tuple[str, str, str], list[Prediction]] = {}
    for trial in trials:
        key = (trial.suite.name, trial.condition.name, trial.condition.model)
        group = groups.setdefault(key, [])
        if trial.id in predictions:
            group.append(predictions[trial.id])
    busy = slots_busy or {}
    return tuple(
        _figures(suite, condition, group, busy.get(model))
        for (suite, condition, model), group in groups.items()
        if group
    )


def _figures(
    suite: str, condition: str, predictions: Sequence[Prediction], slots_busy: float | None
) -> ConditionFigures:
    answered = [p for p in predictions if p.answer is not None]
    asked = [p for p in predictions if not p.is_kept]
    usages = [p.answer.usage for p in asked if p.answer is not None]
    prompt = sum(usage.prompt or 0 for usage in usages)
    completion = sum(usage.completion or 0 for usage in usages)
    cached = [usage.cached for usage in usages if usage.cached is not None]
    seconds = seconds_under_way(asked)
    return ConditionFigures(
        condition=condition,
        suite=suite,
        tokens=prompt + completion,
        seconds=seconds,
        tokens_per_second=completion / seconds if completion and seconds else None,
        cache_hit=sum(cached) / prompt if cached and prompt else None,
        slots_busy=slots_busy,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=sum(cached),
        usage_sources=dict(sorted(Counter(usage.source for usage in usages).items())),
        answers=len(answered),
        kept=len(answered) - len(usages),
    )


def asked_again(predictions: Iterable[Prediction]) -> dict[str, int]:
    """How many answers took more than one request, by what came of the first; none of those that
    were kept or recorded before.
    """
    asked = (p for p in predictions if p.answer is not None and p.answer.origin == "asked")
    firsts = [p.attempts[0] for p in asked if len(p.attempts) > 1]
    return Counter(f"HTTP {each.status}" if each.status else "no response" for each in firsts)


def seconds_under_way(predictions: Iterable[Prediction]) -> float:
    """How long at least one of the requests was under way, in seconds."""
    total = end = 0.0
    for prediction in sorted(predictions, key=lambda p: p.started):
        its_end = end_of(prediction)
        total += max(0.0, its_end - max(end, prediction.started))
        end = max(end, its_end)
    return total


def end_of(prediction: Prediction) -> float:
    """Seconds from the run's beginning to the prediction."""
    return prediction.started + sum(attempt.ms for attempt in prediction.attempts) / 1000


def select_examples(
    trials: Iterable[Trial],
    predictions: Predictions,
    scores: Scores,
    prompt_of: Callable[[Trial], Sequence[Message]],
    limit: int = EXAMPLES,
) -> tuple[Example, ...]:
    """Choose what was not right, at most `limit` of each suite and condition, in order of rows.

    Trials without a score or a failure are passed over: nobody has judged them. `prompt_of` renders
    a trial's prompt again, for the chosen ones only.
    """
    taken: Counter[tuple[str, str]] = Counter()
    chosen: list[Example] = []
    for trial in in_order(trials):
        key = (trial.suite.name, trial.condition.name)
        prediction = predictions.get(trial.id)
        if prediction is None or taken[key] >= limit:
            continue
        headline = next(iter(scores.get(trial.id, ())), None)
        if prediction.failure is None and (headline is None or headline.outcome == "right"):
            continue
        taken[key] += 1
        chosen.append(_example(trial, prediction, headline, tuple(prompt_of(trial))))
    return tuple(chosen)


def _example(
    trial: Trial, prediction: Prediction, headline: Score | None, prompt: tuple[Message, ...]
) -> Example:
    outcome, reason = outcome_of(prediction, headline)
    likelihoods = prediction.answer.likelihoods if prediction.answer else ()
    return Example(
        suite=trial.suite.name,
        condition=trial.condition.name,
        name=trial.name,
        outcome=outcome,
        reason=reason,
        prompt=prompt,
        answer=answer_text(prediction),
        extracted=headline.extracted if headline else None,
        target=target_text(trial.item.target),
        likelihoods=tuple((each.continuation, each.total) for each in likelihoods),
        unscored=_why_unscored(prediction, headline),
    )


def _why_unscored(prediction: Prediction, headline: Score | None) -> str:
    if prediction.answer is None or headline is None or headline.outcome != "failure":
        return ""
    return "".join(headline.stages[-1:])
