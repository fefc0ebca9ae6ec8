"""From the scores of one suite under one condition to its metric."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence

from pytest_llmeval.records import Interval, Metric, Score
from pytest_llmeval.statistics.intervals import clopper_pearson, scaled_wilson, wilson
from pytest_llmeval.statistics.repeats import repeats_interval

Judged = tuple[str, int, Score]
"""The id of an item, which asking of it (from 1), and what one scorer made of the answer."""

Groups = Collection[Sequence[float]]
"""For every item that has any: its values, one for each answered repeat."""

FEW_ITEMS = 30
"""Below this the worst coverage of Wilson's interval drops to 86 %, over all true means."""


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
    Repeats add the interval for this fixed set; fewer than 30 binary items, or items that are all
    alike, the exact one.

    Raises:
        ValueError: a trial is there twice, or there are more scores than trials planned.

    """
    _check(scores, planned)
    values = values_by_item(scores)
    groups = values.values()
    judged = [each for each in scores if each[2].outcome not in ("no_answer", "failure")]
    return Metric(
        suite=suite,
        condition=condition,
        scorer=scorer,
        headline=headline,
        trials=planned,
        answered=sum(map(len, groups)),
        items=len(values),
        right=sum(score.outcome == "right" for _, _, score in scores),
        mean=mean_of_items(groups),
        interval=interval_of(groups),
        complete_case=mean_of_items(values_by_item(judged).values()),
        no_answer=_reasons(scores, "no_answer"),
        failures=_reasons(scores, "failure"),
        fixed_set=_fixed_set(groups),
        exact=_exact(groups),
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
    if _is_binary(groups):
        return wilson(sum(int(values[0]) for values in groups), len(groups), level)
    return scaled_wilson(item_means(groups), level)


def _is_binary(groups: Groups) -> bool:
    """Every item has one value, right or wrong."""
    return all(len(values) == 1 and values[0] in (0.0, 1.0) for values in groups)


def _fixed_set(groups: Groups) -> Interval | None:
    """For these very items, asked again; None where no item was asked twice."""
    if all(len(values) == 1 for values in groups):
        return None
    return repeats_interval(list(groups)).fixed_set


def _exact(groups: Groups) -> Interval | None:
    """Clopper and Pearson's, where Wilson's may be too short: of few items, or all alike."""
    n = len(groups)
    if not n or not _is_binary(groups):
        return None
    right = sum(int(values[0]) for values in groups)
    return clopper_pearson(right, n) if n < FEW_ITEMS or right in (0, n) else None


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
