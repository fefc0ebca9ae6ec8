"""From the scores of one suite under one condition to its metric."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence

from pytest_llmeval.records import Interval, Metric, Score
from pytest_llmeval.statistics.intervals import scaled_wilson, wilson

Judged = tuple[str, int, Score]
"""The id of an item, which asking of it (from 1), and what one scorer made of the answer."""

Groups = Collection[Sequence[float]]
"""For every item that has any: its values, one for each answered repeat."""


def measure(
    suite: str,
    condition: str,
    scorer: str,
    *,
    headline: bool,
    planned: int,
    scores: Sequence[Judged],
) -> Metric:
    """Summarise what one scorer says of one condition; `planned` trials may exceed the scores.

    Scores that are right or wrong, each item asked once: Wilson's interval on right of answered.
    Graded scores or repeats: the scaled Wilson interval on the means of the items, since an item
    asked five times is one item. Means weigh every item the same. No answer counts as 0, except in
    `complete_case`; failures count nowhere. With nothing answered, mean and bounds are None.

    Raises:
        ValueError: a trial is there twice, or there are more scores than trials planned.

    """
    _check(scores, planned)
    values = values_by_item(scores)
    judged = [each for each in scores if each[2].outcome not in ("no_answer", "failure")]
    return Metric(
        suite=suite,
        condition=condition,
        scorer=scorer,
        headline=headline,
        trials=planned,
        answered=sum(map(len, values.values())),
        items=len(values),
        right=sum(score.outcome == "right" for _, _, score in scores),
        mean=mean_of_items(values.values()),
        interval=interval_of(values.values()),
        complete_case=mean_of_items(values_by_item(judged).values()),
        no_answer=_reasons(scores, "no_answer"),
        failures=_reasons(scores, "failure"),
    )


def values_by_item(scores: Sequence[Judged]) -> dict[str, list[float]]:
    """The values of each item that has any; failures have none."""
    values: dict[str, list[float]] = {}
    for item, _, score in scores:
        if score.value is not None:
            values.setdefault(item, []).append(score.value)
    return values


def item_means(groups: Groups) -> list[float]:
    """The mean of each item over its repeats."""
    return [math.fsum(values) / len(values) for values in groups]


def mean_of_items(groups: Groups) -> float | None:
    """The mean over items; an empty list has none."""
    return math.fsum(item_means(groups)) / len(groups) if groups else None


def interval_of(groups: Groups, level: float = 0.95) -> Interval:
    """The interval of the mean over items: Wilson's for one right or wrong each, else scaled."""
    if all(len(values) == 1 and values[0] in (0.0, 1.0) for values in groups):
        return wilson(sum(int(values[0]) for values in groups), len(groups), level)
    return scaled_wilson(item_means(groups), level)


def _reasons(scores: Sequence[Judged], outcome: str) -> dict[str, int]:
    counts = Counter(score.reason for _, _, score in scores if score.outcome == outcome)
    return dict(sorted(counts.items()))


def _check(scores: Sequence[Judged], planned: int) -> None:
    trials = Counter((item, repeat) for item, repeat, _ in scores)
    twice = [trial for trial, count in trials.items() if count > 1]
    if twice:
        item, repeat = twice[0]
        raise ValueError(f"item {item}, repeat {repeat} is scored more than once")
    if len(scores) > planned:
        raise ValueError(f"{len(scores)} trials are scored, but {planned} were planned")
