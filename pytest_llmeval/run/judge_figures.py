"""What became of the second wave, in figures: how much was judged, how steadily, by whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_llmeval.records import Answer, JudgeTrial, Predictions, Scores
from pytest_llmeval.results.report import JudgeFigures, seconds_under_way
from pytest_llmeval.run.conclusion import slots_busy
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.scoring.pairwise import Pairwise
from pytest_llmeval.scoring.second_wave import JUDGE
from pytest_llmeval.statistics.agreement import PositionConsistency, position_consistency
from pytest_llmeval.statistics.metrics import interval_of


def judge_figures(
    wave: SecondWave, predictions: Predictions, scores: Scores, slots: Mapping[str, int]
) -> tuple[JudgeFigures, ...]:
    """Sum up what each scorer's judge did in each suite; `slots` go by model."""
    judges = {trial.condition.model for trial in wave.trials}
    busy = {
        judge: _slots_busy(wave, predictions, judge, slots[judge])
        for judge in judges & slots.keys()
    }
    return tuple(_figures(wave, predictions, scores, busy))


def _figures(
    wave: SecondWave, predictions: Predictions, scores: Scores, busy: Mapping[str, float | None]
) -> Iterator[JudgeFigures]:
    groups: dict[tuple[str, str], list[list[JudgeTrial]]] = {}
    for trials in wave.by_answer():
        groups.setdefault((trials[0].suite.name, trials[0].scorer), []).append(trials)
    for (suite, scorer), answers in sorted(groups.items()):
        first = answers[0][0]
        judge = first.condition.model
        asked = [trials for trials in answers if wave.is_due(trials[0], predictions)]
        due = [trial for trials in asked for trial in trials]
        replies = [predictions[trial.id] for trial in due if trial.id in predictions]
        told = [reply.answer for reply in replies if reply.answer is not None]
        asked_now = [reply for reply in replies if not reply.is_kept]
        taking = [reply.answer for reply in asked_now if reply.answer is not None]
        steadiness = _steadiness(wave, asked, predictions) if scorer == Pairwise.name else None
        yield JudgeFigures(
            suite=suite,
            scorer=scorer,
            judge=judge,
            question_hash=first.condition.prompt.hash,
            answers=len(asked),
            trials=len(due),
            replies=len(told),
            unjudged=sum(_is_unjudged(trials[0], scores) for trials in answers),
            own=tuple(sorted({name for trials in answers for name in _own(trials[0])})),
            against=first.against.condition.name if first.against else "",
            consistent=steadiness.consistent if steadiness else None,
            pairs=steadiness.pairs if steadiness else None,
            consistency=steadiness.interval if steadiness else None,
            prompt_tokens=_sum(answer.usage.prompt for answer in taking),
            completion_tokens=_sum(answer.usage.completion for answer in taking),
            cached_tokens=_cached(taking),
            seconds=seconds_under_way(asked_now),
            slots_busy=busy.get(judge) if due else None,
            kept=len(told) - len(taking),
        )


def _sum(counts: Iterable[int | None]) -> int | None:
    """The sum, None where one was not counted: nobody counts those of vectors."""
    counts = list(counts)
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _cached(answers: Sequence[Answer]) -> int | None:
    """The tokens known to come from a cache, None where nobody has counted any of the prompts."""
    if answers and all(answer.usage.prompt is None for answer in answers):
        return None
    return sum(answer.usage.cached or 0 for answer in answers)


def _own(trial: JudgeTrial) -> Iterator[str]:
    """The conditions of the answers that a judge sees and has written itself: of the one that it
    judges, of the one held against it, or of both.
    """
    for shown in (trial.judged, trial.against):
        if shown is not None and shown.condition.model == trial.condition.model:
            yield shown.condition.name


def _is_unjudged(trial: JudgeTrial, scores: Scores) -> bool:
    found = (s for s in scores.get(trial.judged.id, ()) if s.scorer == trial.scorer)
    return any(score.reason == JUDGE for score in found)


def _steadiness(
    wave: SecondWave, asked: Sequence[Sequence[JudgeTrial]], predictions: Predictions
) -> PositionConsistency:
    """How often the judge stuck to its preference; the interval takes an item for one thing, under
    however many conditions and in however many repeats it was judged.
    """
    pairs = [wave.preferences(trials, predictions) for trials in asked]
    by_item: dict[str, list[float]] = {}
    for trials, (one, other) in zip(asked, pairs, strict=True):
        if one is not None and other is not None:
            by_item.setdefault(trials[0].item.id, []).append(float(one == other))
    found = position_consistency([one for one, _ in pairs], [other for _, other in pairs])
    return replace(found, interval=interval_of(by_item.values()))


def _slots_busy(wave: SecondWave, predictions: Predictions, model: str, slots: int) -> float | None:
    its = (trial.id for trial in wave.trials if trial.condition.model == model)
    return slots_busy((predictions[id_] for id_ in its if id_ in predictions), slots)
