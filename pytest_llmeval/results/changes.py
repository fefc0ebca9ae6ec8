"""What is different between two runs, in words: what they asked, what they ran on. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.results.manifest import Manifest, ModelFacts
from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.resume import questions_changed
from pytest_llmeval.results.wording import scorer_words

ConditionPair = tuple[str, str]
"""A condition of the run before, and the one of the run after that it is held against."""

_FACTS = {
    "digest": "weights",
    "server": "server",
    "template_digest": "chat template",
    "slots": "slots",
    "context": "context",
    "computes": "computes on",
}


def asked_differently(
    before: RunPlan,
    after: RunPlan,
    pairs: Mapping[str, Collection[ConditionPair]],
    unchanged: Collection[str] = (),
) -> list[str]:
    """What the compared suites asked otherwise, and how they were judged otherwise.

    `pairs` are the compared conditions of each suite. `unchanged` are suites whose common items are
    the same: with other items beside them the dataset's hash is another, and says nothing new.
    """
    now = _with_known_datasets(_compared(after, pairs, side=1), before, unchanged)
    return [
        *questions_changed(_compared(before, pairs, side=0), now),
        *_judged_differently(before, after, pairs),
        *_judged_by_others(before, after, pairs),
    ]


def _compared(plan: RunPlan, pairs: Mapping[str, Collection[ConditionPair]], side: int) -> RunPlan:
    """The part of a plan that is compared; both sides of a pair get one name."""
    names = {(suite, pair[side]): _label(pair) for suite, its in pairs.items() for pair in its}
    asked = [
        dataclasses.replace(each, condition=names[each.suite, each.condition])
        for each in plan.asked
        if (each.suite, each.condition) in names
    ]
    suites = [suite for suite in plan.suites if suite.name in pairs]
    return dataclasses.replace(plan, suites=tuple(suites), asked=tuple(asked))


def _with_known_datasets(plan: RunPlan, before: RunPlan, unchanged: Collection[str]) -> RunPlan:
    """A plan whose unchanged suites have the hashes of the datasets before, if not the items."""
    old = {suite.name: suite for suite in before.suites}
    suites = [
        dataclasses.replace(suite, dataset_hash=old[suite.name].dataset_hash)
        if suite.name in unchanged and suite.items_hash != old[suite.name].items_hash
        else suite
        for suite in plan.suites
    ]
    return dataclasses.replace(plan, suites=tuple(suites))


def _label(pair: ConditionPair) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} and {pair[1]}"


def _judged_differently(before: RunPlan, after: RunPlan, suites: Collection[str]) -> Iterator[str]:
    old = {(suite.name, each.name): each for suite in before.suites for each in suite.scorers}
    for suite in after.suites:
        for scorer in suite.scorers if suite.name in suites else ():
            was = old.get((suite.name, scorer.name), scorer)
            if was != scorer:
                words = f"{scorer_words(was)}, is {scorer_words(scorer)}"
                yield f"suite {suite.name}: its scorer was {words}"


def _judged_by_others(before: RunPlan, after: RunPlan, suites: Collection[str]) -> Iterator[str]:
    """Where another model has judged: that is no option of the scorer, and makes other scores."""
    old, new = ({(j.suite, j.scorer): j.model for j in plan.judged} for plan in (before, after))
    for suite, scorer in sorted(old.keys() & new.keys()):
        if suite in suites and old[suite, scorer] != new[suite, scorer]:
            models = f"{old[suite, scorer]}, is {new[suite, scorer]}"
            yield f"suite {suite}: the judge of {scorer} was {models}"


def ran_differently(
    before: Manifest,
    after: Manifest,
    models: Collection[ConditionPair],
    environments: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> list[str]:
    """What else was not the same: weights, servers, packages, machine. A line for each.

    `models` are the names of the compared ones, before and after. What was unknown on either side
    is no difference.
    """
    old = {model.name: model for model in before.models}
    new = {model.name: model for model in after.models}
    lines = []
    for one, other in sorted(set(models)):
        if one in old and other in new:
            lines += _line(_label((one, other)), _facts(old[one]), _facts(new[other]))
    lines += _line("versions", before.versions, after.versions)
    for section in sorted({*environments[0], *environments[1]} - {"packages"}):
        sides = [_flat(environment.get(section)) for environment in environments]
        lines += _line(section, *sides)
    packages = [environment.get("packages") or {} for environment in environments]
    return lines + _line("packages", *packages)


def _facts(model: ModelFacts) -> dict[str, Any]:
    facts = {words: getattr(model, name) for name, words in _FACTS.items()}
    return facts | {"adapters": ", ".join(map(str, model.adapters)) or "none"}


def _flat(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"": value}


def _line(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    changed = [
        f"{key} {_shown(value)} -> {_shown(after[key])}".lstrip()
        for key, value in before.items()
        if value is not None and after.get(key) not in (None, value)
    ]
    return [f"{what}: {', '.join(changed)}"] if changed else []


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    # A sha256 is told apart by its beginning.
    return text[:12] if len(text) == 64 and text.isalnum() else text
