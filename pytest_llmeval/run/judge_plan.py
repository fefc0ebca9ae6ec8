"""Which judge trials a run has: known before anything is asked, from its trials and its models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.errors import ScorerError, SuiteError, TemplateError
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.inputs.prompts import check, make_variant, names_in
from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    JudgeTrial,
    Message,
    PromptVariant,
    Sampling,
    Suite,
    Trial,
)
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.scoring.pairwise import TARGET, Pairwise
from pytest_llmeval.scoring.scorer import make_scorer
from pytest_llmeval.scoring.second_wave import (
    MODEL_SCORERS,
    JudgeScorer,
    ModelScorer,
    Shown,
    asks_judge,
    needs_model,
)

Place = tuple[str, str, str, int]
"""Suite, condition, item and repeat of a trial."""

#: What stands for the answers while a prompt is checked.
_ANY = Answer("-", "stop")


def model_scorers(suite: Suite) -> tuple[ModelScorer, ...]:
    """The scorers of a suite that need a model, in its order.

    They are made anew, from the suite alone: others may be known to another process only.
    """
    made = (
        make_scorer(spec, path=suite.origin) for spec in suite.scorers if spec.name in MODEL_SCORERS
    )
    return tuple(scorer for scorer in made if needs_model(scorer))


def reference_of(scorer: ModelScorer) -> str | None:
    """The condition whose answers a scorer holds others against, None where there is none."""
    if isinstance(scorer, Pairwise) and scorer.against != TARGET:
        return scorer.against
    return None


def is_held_against(trial: Trial, scorer: str) -> bool:
    """Whether a scorer holds the answers of others against this one, which gets a tie."""
    named = (each for each in model_scorers(trial.suite) if each.name == scorer)
    return any(reference_of(each) == trial.condition.name for each in named)


def who_judges(
    suite: Suite, scorer: str, bench: Bench, weights: Mapping[str, str | None]
) -> dict[str, str]:
    """On what a scorer's scores rest besides its options: a model, and what is held against.

    By its weights where they are known, else by the name under which it is asked: scores by another
    judge are other scores. Empty for a scorer that needs no model.
    """
    found = next((each for each in model_scorers(suite) if each.name == scorer), None)
    if found is None:
        return {}
    model = bench.model_for(found)
    told: dict[str, str | None] = {"judged by": model, "judge's weights": weights.get(model)}
    if weights.get(model) is None:
        told["judge is asked as"] = bench.kept.get(model, {}).get("sent_name")
    reference = reference_of(found)
    if reference is not None:
        told["weights it is held against"] = weights.get(reference.split("/")[0])
    return {key: value for key, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one scorer asks of one condition's answers: by whom, and how often."""

    scorer: ModelScorer
    condition: Condition
    count: int


def plan_judge_trials(trials: Sequence[Trial], bench: Bench) -> Iterator[JudgeTrial]:
    """What is to be asked about these trials' answers, as far as it takes a model.

    Nothing of a condition that others are held against, nor where its trial was not selected.
    Raises ScorerError when there is no model for it.
    """
    suites = judged_suites(trials)
    judged = [trial for trial in trials if trial.suite.name in suites]
    places = {_place(trial): trial for trial in judged}
    asked: dict[tuple[str, str], list[_Asked]] = {}
    for trial in judged:
        key = trial.suite.name, trial.condition.name
        if key not in asked:
            asked[key] = list(_asked_of(trial, bench))
        for each in asked[key]:
            yield from _about(trial, each, places)


def judged_suites(trials: Iterable[Trial]) -> frozenset[str]:
    """The names of the suites that have a scorer which needs a model."""
    suites = {trial.suite.name: trial.suite for trial in trials}
    return frozenset(
        name
        for name, suite in suites.items()
        if any(spec.name in MODEL_SCORERS for spec in suite.scorers)
    )


def _asked_of(trial: Trial, bench: Bench) -> Iterator[_Asked]:
    suite, judged = trial.suite, trial.condition
    options: Mapping[str, Any] = {spec.name: spec.options for spec in suite.scorers}
    for scorer in model_scorers(suite):
        if reference_of(scorer) == judged.name:
            continue
        model = bench.model_for(scorer)
        longest, template, form, count = 1, "", False, 1
        if asks_judge(scorer):
            longest, template, count = scorer.max_tokens, scorer.template(), scorer.count
            form = bench.replies_in_json(model)
        sampling = Sampling(longest, temperature=0.0, seed=judged.sampling.seed)
        asked = [scorer.name, scorer.version, options[scorer.name], template, model, form]
        prompt = PromptVariant("", (Message("user", template),), digest([*asked, longest]))
        yield _Asked(scorer, Condition(judged.name, model, prompt, sampling), count)


def _about(trial: Trial, asked: _Asked, places: Mapping[Place, Trial]) -> Iterator[JudgeTrial]:
    against, reference = None, reference_of(asked.scorer)
    if reference is not None:
        suite, _, item, repeat = _place(trial)
        # Where the reference is asked less often, its first answer has to do.
        against = places.get((suite, reference, item, repeat))
        against = against or places.get((suite, reference, item, 1))
        if against is None:
            return
    for number in range(1, asked.count + 1):
        which = f"@{asked.scorer.name}" + (f".{number}" if asked.count > 1 else "")
        yield JudgeTrial(
            trial.suite,
            asked.condition,
            trial.item,
            trial.repeat,
            trial.name + which,
            trial.id + which,
            judged=trial,
            scorer=asked.scorer.name,
            number=number,
            against=against,
        )


def _place(trial: Trial) -> Place:
    return trial.suite.name, trial.condition.name, trial.item.id, trial.repeat


def digest(what: Any) -> str:
    """SHA-256 over plain data as canonical JSON."""
    text = json.dumps(plain(what), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


# What may be wrong with it ------------------------------------------------------------------------


def check_judging(suite: Suite, bench: Bench) -> None:
    """See that what a suite wants of models can be had, before anything is asked.

    Raises ScorerError, SuiteError or TemplateError.
    """
    for scorer in model_scorers(suite):
        line = next(spec.line for spec in suite.scorers if spec.name == scorer.name)
        try:
            bench.model_for(scorer)
        except ScorerError as error:
            raise ScorerError(error.message, path=suite.origin, line=line) from None
        if asks_judge(scorer):
            _check_prompt(suite, scorer, line)
        if suite.stop is not None:
            raise SuiteError(
                f"stop: {scorer.name} gives its scores when everything is asked, so that nothing "
                f"can be decided earlier; remove stop, or {scorer.name}",
                path=suite.origin,
                line=suite.stop.line,
            )
    if suite.each_item == "must_pass" and suite.scorers[0].name in MODEL_SCORERS:
        raise SuiteError(
            f"each_item: must_pass needs a first scorer that judges while tests run, and "
            f"{suite.scorers[0].name} judges when they are over; put another one first, or write "
            f"a gate: {{only: CONDITION, metric: {suite.scorers[0].name}, at_least: 1.0}}",
            path=suite.origin,
            line=suite.scorers[0].line,
        )


def check_references(suite: Suite, conditions: Sequence[Condition]) -> None:
    """Raise SuiteError when answers are to be held against a condition that this run has not."""
    names = [condition.name for condition in conditions]
    for scorer in model_scorers(suite):
        reference = reference_of(scorer)
        if reference is not None and reference not in names:
            words = unknown("condition", reference, [*names, TARGET])
            line = next(spec.line for spec in suite.scorers if spec.name == scorer.name)
            raise SuiteError(f"{scorer.name}: against: {words}", path=suite.origin, line=line)


def _check_prompt(suite: Suite, scorer: JudgeScorer, line: int | None) -> None:
    if scorer.prompt is None:
        return
    shown = (Shown(item, "-", _ANY, _ANY) for item in suite.items)
    questions = (scorer.question(each, 1, as_json=True) for each in shown)
    items = [
        Item(item.id, item.slug, question.values, None)
        for item, question in zip(suite.items, questions, strict=True)
    ]
    variant = make_variant("", [Message("user", scorer.prompt)], line)
    try:
        check(variant, items)
    except TemplateError as error:
        words = f"the prompt of {scorer.name}: {error.message}"
        raise TemplateError(words, path=suite.origin, line=line) from None
    missing = [name for name in scorer.needed_names() if name not in names_in(scorer.prompt)]
    if missing:
        told = " and ".join(f"{{{{ {name} }}}}" for name in missing)
        raise SuiteError(
            f"the prompt of {scorer.name} does not insert {told}, without which a judge cannot do "
            f"its work",
            path=suite.origin,
            line=line,
        )
