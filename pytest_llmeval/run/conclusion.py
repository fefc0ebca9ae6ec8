"""From predictions and scores to what they are worth: metrics and comparisons. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from pytest_llmeval.records import (
    Comparison,
    GateSpec,
    Interval,
    Metric,
    Prediction,
    Predictions,
    Score,
    Scores,
    Sensitivity,
    Suite,
    Trial,
)
from pytest_llmeval.results.report import seconds_under_way
from pytest_llmeval.run.judge_plan import is_held_against
from pytest_llmeval.running.plan import item_by_item, up_to_a_gap
from pytest_llmeval.scoring.second_wave import JUDGE
from pytest_llmeval.statistics.anytime import (
    anytime_interval,
    compare_anytime,
)
from pytest_llmeval.statistics.comparisons import compare_all
from pytest_llmeval.statistics.metrics import item_means, measure, values_by_item
from pytest_llmeval.statistics.missing import anytime_sensitivity, unsupported_sensitivity

ItemScore = tuple[str, int, Score]
"""Item id, repeat, score."""


@dataclass(frozen=True, slots=True)
class Cell:
    """All scores of one scorer over one suite under one condition; `planned` trials were asked.

    `alpha` is the error with which the suite might stop at any item, in whose order the scores then
    stand; None where the number of items was fixed beforehand. `given` says that its scores are
    ties with itself, since it is what others are held against: nothing was measured.
    """

    suite: str
    condition: str
    scorer: str
    headline: bool
    planned: int
    scores: Sequence[ItemScore]
    alpha: float | None = None
    items: frozenset[str] = frozenset()
    given: bool = False


@dataclass(frozen=True, slots=True)
class Worth:
    """What the scores are worth. `cells` are what the metrics were measured from, in order."""

    cells: tuple[Cell, ...]
    metrics: tuple[Metric, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How many of the trials asked have failed, and what share of them the config allows.

    `example` is the first of them and why.
    """

    failed: int
    asked: int
    at_most: float
    example: str

    @property
    def too_many(self) -> bool:
        """Whether the run is red for it."""
        return self.asked > 0 and self.failed / self.asked > self.at_most

    def __str__(self) -> str:
        share = 100 * self.failed / self.asked if self.asked else 0.0
        return (
            f"{self.failed} of {self.asked} trials failed, {share:.3g} %; the config allows "
            f"{100 * self.at_most:.3g} % (failures: at_most). The first: {self.example}"
        )


def count_failures(predictions: Predictions, scores: Scores, at_most: float) -> FailureCount:
    """Count the trials without an outcome, be it for their request or for the headline scorer."""
    reasons = [
        f"{trial_id}: {_why_failed(prediction, scores.get(trial_id, ()))}"
        for trial_id, prediction in predictions.items()
        if has_failed(prediction, scores.get(trial_id, ()))
    ]
    return FailureCount(len(reasons), len(predictions), at_most, "".join(reasons[:1]))


def has_failed(prediction: Prediction, scores: Sequence[Score]) -> bool:
    """Whether a trial has no outcome, be it for its request or for the headline scorer."""
    return prediction.failure is not None or (bool(scores) and scores[0].outcome == "failure")


def judge_failure_words(predictions: Predictions, scores: Scores) -> str:
    """How many answers have no headline score because nobody could judge them; "" for none."""
    answered = [id_ for id_, found in predictions.items() if found.answer is not None]
    failed = [
        (id_, scores[id_][0])
        for id_ in answered
        if scores.get(id_) and scores[id_][0].reason == JUDGE
    ]
    if not failed:
        return ""
    id_, score = failed[0]
    return (
        f"{len(failed):,} of {len(answered):,} answers could not be judged, which says nothing "
        f"about them. The first: {id_}: {''.join(score.stages[-1:])}"
    )


def _why_failed(prediction: Prediction, scores: Sequence[Score]) -> str:
    if prediction.failure is not None:
        return prediction.failure.message
    return "".join(scores[0].stages[-1:]) or scores[0].reason


def worth_of(trials: Sequence[Trial], scores: Scores, stopping: Collection[str] = ()) -> Worth:
    """Measure every condition and compare every pair; `scores` go by trial id.

    A trial without scores was planned and not judged: it makes its metric incomplete. `stopping`
    names the suites that might stop at any item, whatever they did: their figures have to hold for
    that.
    """
    cells = tuple(_cells(trials, scores, stopping))
    return Worth(cells, tuple(map(_measure, cells)), tuple(_comparisons(cells)))


def picked(suite: Suite, gate: GateSpec, trials: Iterable[Trial]) -> str:
    """Why a gate decides nothing when -k, -m, --lf or a node id picked some of its trials; else "".

    An interval speaks for items drawn at random, as --llm-limit does, and not for picked ones.
    """
    its = [t for t in trials if t.suite.name == suite.name and t.condition.name == gate.only]
    whole = len(suite.items) * its[0].condition.repeats if its else 0
    return f"only {len(its)} of its {whole} trials were selected" if len(its) < whole else ""


def selected_parts(trials: Sequence[Trial]) -> list[str]:
    """Of which suites only some trials were selected, in words; an interval does not know that."""
    counts = Counter(trial.suite.name for trial in trials)
    whole = {
        (trial.suite.name, trial.condition.name): len(trial.suite.items) * trial.condition.repeats
        for trial in trials
    }
    return [
        f"{suite}: {counts[suite]:,} of {total:,} trials were selected (-k, -m, --lf or node ids); "
        f"its numbers speak of those only"
        for suite, total in _sums(whole).items()
        if counts[suite] < total
    ]


def _sums(whole: Mapping[tuple[str, str], int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for (suite, _), count in whole.items():
        sums[suite] = sums.get(suite, 0) + count
    return sums


def slots_busy(predictions: Iterable[Prediction], slots: int) -> float | None:
    """The share of slots × time in which a model's endpoint worked.

    The time is that in which a request was under way; the work is what the server says of itself,
    since a client cannot tell work from waiting for a slot. None where it does not say. Answers
    from the cache are no work.
    """
    answers = [(p, p.answer) for p in predictions if p.answer is not None and not p.is_kept]
    times = [answer.service_ms for _, answer in answers]
    known = [ms for ms in times if ms is not None]
    seconds = seconds_under_way(prediction for prediction, _ in answers)
    if not seconds or len(known) < len(times):
        return None
    return min(1.0, sum(known) / 1000 / (slots * seconds))


def _cells(trials: Sequence[Trial], scores: Scores, stopping: Collection[str]) -> Iterator[Cell]:
    for (suite, condition), group in _by_suite(item_by_item(trials)).items():
        stop = group[0].suite.stop if suite in stopping else None
        columns: dict[str, list[ItemScore]] = {spec.name: [] for spec in group[0].suite.scorers}
        counted = group[: up_to_a_gap(group, scores)] if stop else group
        items = frozenset(trial.item.id for trial in counted)
        for trial in counted:
            for score in scores.get(trial.id, ()):
                columns.setdefault(score.scorer, []).append((trial.item.id, trial.repeat, score))
        for place, (scorer, column) in enumerate(columns.items()):
            alpha = stop.alpha if stop else None
            given = is_held_against(group[0], scorer)
            yield Cell(
                suite, condition, scorer, place == 0, len(group), column, alpha, items, given
            )


def _by_suite(trials: Sequence[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """The trials of each suite and condition; trials are sent by model, but read by suite."""
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        grouped.setdefault((trial.suite.name, trial.condition.name), []).append(trial)
    suites = list(dict.fromkeys(suite for suite, _ in grouped))
    return dict(sorted(grouped.items(), key=lambda entry: suites.index(entry[0][0])))


def _measure(cell: Cell) -> Metric:
    metric = measure(
        cell.suite,
        cell.condition,
        cell.scorer,
        headline=cell.headline,
        planned=cell.planned,
        scores=cell.scores,
    )
    if cell.given:
        return replace(metric, interval=Interval(None, None, ""), exact=None, fixed_set=None)
    if cell.alpha is None:
        return metric
    means = list(_item_means(cell.scores).values())
    interval = anytime_interval(means, cell.alpha)
    return replace(metric, interval=interval, exact=None, fixed_set=None)  # of a fixed number


def _comparisons(cells: Sequence[Cell]) -> Iterator[Comparison]:
    """Within a suite and scorer, all pairs of conditions."""
    key = attrgetter("suite", "scorer")
    for (suite, scorer), family in groupby(sorted(cells, key=key), key=key):
        members = list(family)
        if len(members) > 1:
            means = {cell.condition: _item_means(cell.scores) for cell in members}
            binary = {cell.condition for cell in members if _is_binary(cell)}
            alpha = members[0].alpha
            if alpha is None:
                yield from _with_all_items(members, means, binary)
            else:
                asked = {
                    cell.condition: {**_in_order(cell), **means[cell.condition]} for cell in members
                }
                found = compare_anytime(suite, scorer, asked, alpha, binary=binary)
                yield from _with_anytime_sensitivity(members, found)


def _with_all_items(
    members: Sequence[Cell], means: Mapping[str, Mapping[str, float]], binary: Collection[str]
) -> Iterator[Comparison]:
    """The pairs of a family that was asked in full."""
    repeats = {
        cell.condition: values_by_item(cell.scores)
        for cell in members
        if any(repeat > 1 for _, repeat, _ in cell.scores)
    }
    cell_of = {cell.condition: cell for cell in members}
    suite, scorer = members[0].suite, members[0].scorer
    for found in compare_all(suite, scorer, means, binary=binary, repeats=repeats):
        sides = cell_of[found.first], cell_of[found.second]
        both = {found.first, found.second} <= set(binary)
        yield replace(found, sensitivity=_sensitivity(*sides, binary=both, alpha=found.alpha_alone))


def _sensitivity(first: Cell, second: Cell, *, binary: bool, alpha: float) -> Sensitivity | None:
    """What the items without a judged answer could do to a comparison; None where all have one."""
    one, other = _judged_means(first), _judged_means(second)
    if one.keys() == other.keys() and None not in (*one.values(), *other.values()):
        return None
    return unsupported_sensitivity(one, other, binary=binary, alpha=alpha)


def _with_anytime_sensitivity(
    members: Sequence[Cell], comparisons: Iterable[Comparison]
) -> Iterator[Comparison]:
    """The pairs of a family that might stop, with what the items not judged could do to them.

    Those are items that both sides were asked: what one was never asked is not missing.
    """
    means = {cell.condition: _judged_means(cell) for cell in members}
    for found in comparisons:
        one, other = means[found.first], means[found.second]
        both = [item for item in one if item in other]
        if all(one[item] is not None and other[item] is not None for item in both):
            yield found
            continue
        alone = found.alpha_alone
        told = anytime_sensitivity(one, other, alpha=found.alpha, alpha_alone=alone)
        yield replace(found, sensitivity=told)


def _judged_means(cell: Cell) -> dict[str, float | None]:
    """The mean of each item that was asked over its judged repeats, None where it has none."""
    judged = [each for each in cell.scores if each[2].outcome != "no_answer"]
    return _in_order(cell) | _item_means(judged)


def _in_order(cell: Cell) -> dict[str, float | None]:
    """Every item that was asked, in an order that is the same for all conditions, without a score.

    Under `stop` that is the one in which they are asked.
    """
    if cell.alpha is None:
        return dict.fromkeys(sorted(cell.items))
    return dict.fromkeys(item for item, _, _ in cell.scores)


def _item_means(scores: Sequence[ItemScore]) -> dict[str, float]:
    """The mean over an item's repeats; a failure is no score and leaves its repeat out."""
    values = values_by_item(scores)
    return dict(zip(values, item_means(values.values()), strict=True))


def _is_binary(cell: Cell) -> bool:
    """Whether every item was asked once and is right or wrong."""
    return all(repeat == 1 and score.outcome != "graded" for _, repeat, score in cell.scores)
