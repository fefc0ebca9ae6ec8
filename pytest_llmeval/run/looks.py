"""What the validity sentinel looks at in the answers of one suite under one condition. Pure.

Each threshold is such that a model which is merely weak, or good, seldom meets it by chance: the
rates are given with the thresholds. They hold for a number of items that was fixed beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.records import (
    Answer,
    Doubt,
    DoubtKind,
    Item,
    Predictions,
    Request,
    Score,
    ScorerSpec,
    Scores,
    Trial,
)
from pytest_llmeval.run.honesty import words_in
from pytest_llmeval.run.judge_plan import is_held_against
from pytest_llmeval.scoring.extraction import targets_of
from pytest_llmeval.scoring.leftovers import marker_in
from pytest_llmeval.scoring.markup import reasoning_tag_in
from pytest_llmeval.statistics.chance import guessing

FLOOR = 20
"""Of fewer items nothing is doubted because all are alike: a model that is right three times in
four gets 20 of 20 right three times in 1,000; one that is right once in four as often none.
"""

MOST = 0.9
"""From this share on answers count as all empty, or all cut off: a model of which half the answers
are gets there with 20 items twice in 10,000.
"""

SAME = 0.95
"""From this share on answers count as one and the same. Where no more than half of the items have
one target, a model that is always right gets there with 20 items at most twice in 100,000.
"""

COMMONEST = 0.5
"""If more items than this share have one target, one answer to all of them may well be right."""

CHANCE_ALPHA = 0.05
"""A model that guesses is told as such in 95 of 100 suites; one that knows half of the answers and
guesses the rest in at most 1 of 100, since suites with too few items for that are passed over.
"""

LONG_PROMPT = 64
SAME_LENGTH = 5
SPREAD = 1.5
"""Prompts count as cut off at a limit when so many of them (`SAME_LENGTH`) have the same number of
tokens (`LONG_PROMPT` at least), none of the condition has more, and the longest has `SPREAD` times
the words of the shortest. Texts whose words differ by half and whose tokens do not at all, five
times at the very maximum, are no coincidence that happens: tokens vary with words.
"""

CHOICES = frozenset(("choice", "choice_per_byte", "choice_per_token"))
"""Scorers by which an answer takes one of an item's options."""

WORDS: Mapping[DoubtKind, str] = {
    "prompt_truncated": (
        "{count:,} of {of:,} prompts were cut short before the model read them. Give the model "
        "more context, or serve it by an engine that refuses what is too long"
    ),
    "bad_logprobs": (
        "{count:,} of {of:,} answers have log probabilities that are no numbers. The model's "
        "weights or its build are broken"
    ),
    "template_markers": (
        "{count:,} of {of:,} answers hold {found}, a token of a chat template. The model is asked "
        "in another template than it was trained with, or what should end its answer does not"
    ),
    "thinking_tags": (
        "{count:,} of {of:,} answers hold {found} in their text. Scorers leave reasoning out, but "
        "it uses up max_tokens; a server that parses it keeps it apart (llama-server: "
        "--reasoning-format)"
    ),
    "all_empty": (
        "{count:,} of {of:,} answers are empty. The model may end at once under this template, or "
        "all of max_tokens goes into reasoning"
    ),
    "all_truncated": "{count:,} of {of:,} answers were cut off by max_tokens. Raise it",
    "all_right": "all {of:,} items are right: they cannot show who is better",
    "all_wrong": (
        "not one of {of:,} items is right. Look at some answers (llmeval show): the prompt, "
        "the target's form or the scorer may not fit"
    ),
    "all_equal": "all {of:,} items have the same score: the scorer may not see the answers",
    "chance": (
        "{count:,} of {of:,} choices are right, and guessing gives {found} (exact binomial). The "
        "model cannot do this, or does not see the options as they are meant: look at some answers "
        "(llmeval show --wrong)"
    ),
    "same_answer": (
        "{count:,} of {of:,} items have the same answer, whatever was asked. The model may not see "
        "the items: look at a prompt (llmeval show)"
    ),
}
"""What is said of each kind of doubt: what was seen, and what to do."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A trial with its answer and what the headline scorer made of it."""

    trial: Trial
    answer: Answer
    score: Score


@dataclass(frozen=True, slots=True)
class Group:
    """One suite under one condition. `judged` have an outcome, `firsts` are those of them that are
    the first asking of their item.
    """

    trials: Sequence[Trial]
    predictions: Predictions
    scores: Scores
    judged: Sequence[Judged]
    firsts: Sequence[Judged]


def _doubt(
    group: Group, kind: DoubtKind, count: int, of: int, example: Trial, found: str = ""
) -> Doubt:
    message = WORDS[kind].format(count=count, of=of, found=found)
    trial = group.trials[0]
    return Doubt(trial.suite.name, trial.condition.name, kind, count, of, example.id, f"{message}.")


def _failures(group: Group) -> Iterator[Doubt]:
    """Trials that failed for a reason which is not told by any other number."""
    judged = {each.trial.id for each in group.judged}
    failed: dict[str, list[Trial]] = {}
    for trial in group.trials:
        if trial.id not in judged:
            failed.setdefault(_why_failed(group, trial), []).append(trial)
    kinds: tuple[DoubtKind, ...] = ("prompt_truncated", "bad_logprobs")
    for kind in kinds:
        if kind in failed:
            its = failed[kind]
            yield _doubt(group, kind, len(its), len(group.trials), its[0])


def _why_failed(group: Group, trial: Trial) -> str:
    prediction = group.predictions.get(trial.id)
    if prediction is not None and prediction.failure is not None:
        return prediction.failure.reason
    headline = next(iter(group.scores.get(trial.id, ())), None)
    return headline.reason if headline is not None and headline.outcome == "failure" else ""


def _leftovers(group: Group) -> Iterator[Doubt]:
    """Answers that hold what is not for the reader."""
    looks: Mapping[DoubtKind, Callable[[str], str]] = {
        "template_markers": marker_in,
        "thinking_tags": reasoning_tag_in,
    }
    for kind, look in looks.items():
        held = [(each.trial, what) for each in group.judged if (what := _held(look, each))]
        if held:
            yield _doubt(group, kind, len(held), len(group.judged), *held[0])


def _held(look: Callable[[str], str], judged: Judged) -> str:
    """What stands in an answer and not in its prompt already, "" for nothing."""
    found = look(judged.answer.text)
    if not found:
        return ""
    prompt = render(judged.trial.condition.prompt, judged.trial.item)
    return "" if any(found in message.content for message in prompt) else found


def _nothing_said(group: Group) -> Iterator[Doubt]:
    """Answers that are empty, or cut off, nearly all."""
    judged = group.judged
    looks: Mapping[DoubtKind, list[Judged]] = {
        "all_empty": [each for each in judged if each.score.reason == "empty"],
        "all_truncated": [
            each
            for each in judged
            if each.answer.finish_reason == "length" and each.score.outcome != "right"
        ],
    }
    for kind, found in looks.items():
        if len(judged) >= FLOOR and len(found) >= MOST * len(judged):
            yield _doubt(group, kind, len(found), len(judged), found[0].trial)


def _all_alike(group: Group) -> Iterator[Doubt]:
    """Scores that do not differ: nothing can be learned from them."""
    values = {each.score.value for each in group.firsts}
    count = len(group.firsts)
    silent = all(each.score.outcome == "no_answer" for each in group.firsts)
    if count < FLOOR or len(values) > 1 or (silent and any(_nothing_said(group))):
        return
    value = values.pop()
    if value == 1 and group.trials[0].suite.each_item == "must_pass":
        return  # as it should be
    first = group.trials[0]
    if first.suite.scorers and is_held_against(first, first.suite.scorers[0].name):
        return  # a tie with itself
    kinds: Mapping[float | None, DoubtKind] = {1: "all_right", 0: "all_wrong"}
    yield _doubt(group, kinds.get(value, "all_equal"), count, count, group.firsts[0].trial)


def _by_chance(group: Group) -> Iterator[Doubt]:
    """Choices that are right no more often than guesses."""
    for spec in group.trials[0].suite.scorers:
        found = list(_choices(group, spec)) if spec.name in CHOICES else []
        right = sum(outcome == "right" for _, outcome, _ in found)
        if not right:
            continue  # not one right has a doubt of its own
        against = guessing(right, [chance for _, _, chance in found], alpha=CHANCE_ALPHA)
        if against.tells and against.p > CHANCE_ALPHA:
            example = next((t for t, outcome, _ in found if outcome == "wrong"), found[0][0])
            told = f"{against.expected:.1f}, and as many in {100 * against.p:.0f} % of cases"
            yield _doubt(group, "chance", right, len(found), example, told)


def _choices(group: Group, spec: ScorerSpec) -> Iterator[tuple[Trial, str, float]]:
    """Each item that was judged by choice, its outcome, and the chance to guess it."""
    for judged in group.firsts:
        chance = _chance(judged.trial.item, spec)
        scores = (s for s in group.scores[judged.trial.id] if s.scorer == spec.name)
        score = next(scores, None)
        if chance is not None and score is not None and score.outcome in {"right", "wrong"}:
            yield judged.trial, score.outcome, chance


def _chance(item: Item, spec: ScorerSpec) -> float | None:
    """The chance to guess an item's answer; None where it does not tell its options."""
    options: Any = item.fields.get(spec.options.get("options_field") or "options")
    if not isinstance(options, list | tuple | Mapping) or len(options) < 2:
        return None
    return min(1.0, len(targets_of(item)) / len(options))


def _one_answer(group: Group) -> Iterator[Doubt]:
    """One answer to nearly all items."""
    same = same_answers(group)
    if same:
        yield _doubt(group, "same_answer", len(same), len(group.firsts), same[0].trial)


def same_answers(group: Group) -> list[Judged]:
    """The items with the commonest answer, where that is nearly all of them and should not be."""
    firsts = group.firsts
    if len(firsts) < FLOOR:
        return []
    said = Counter(map(_said, firsts))
    (text, count), *_ = said.most_common(1)
    targets = Counter(repr(each.trial.item.target) for each in firsts)
    untold = all(each.trial.item.target is None for each in firsts)
    usual = 0 if untold else targets.most_common(1)[0][1]
    if not any(text) or count < SAME * len(firsts) or usual > COMMONEST * len(firsts):
        return []
    return [each for each in firsts if _said(each) == text]


def _said(judged: Judged) -> tuple[str, ...]:
    if not judged.answer.tool_calls:
        return (judged.answer.text.strip(),)
    calls = ((call.name, call.raw) for call in judged.answer.tool_calls)
    return (judged.answer.text.strip(), *chain.from_iterable(calls))


def cut_at_a_limit(group: Group) -> list[Trial]:
    """The trials whose prompts were all cut to one length, by the rule that stands at the top."""
    counts = {
        each.trial.id: each.answer.usage.prompt or 0
        for each in group.judged
        if each.answer.usage.source == "server"
    }
    most = max(counts.values(), default=0)
    at_most = [trial for trial in group.trials if counts.get(trial.id) == most]
    if most < LONG_PROMPT or len({trial.item.id for trial in at_most}) < SAME_LENGTH:
        return []
    words = [_words_of(trial) for trial in at_most]
    return at_most if max(words) >= SPREAD * min(words) else []


def _words_of(trial: Trial) -> int:
    messages = render(trial.condition.prompt, trial.item)
    return words_in(Request(messages, trial.condition.sampling))


LOOKS: Sequence[Callable[[Group], Iterator[Doubt]]] = (
    _failures,
    _leftovers,
    _nothing_said,
    _all_alike,
    _by_chance,
    _one_answer,
)
"""What is looked at, in the order in which doubts are told."""
