"""May a run be continued, or its answers be judged again? Only where the questions are the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.results.manifest import Manifest, ModelFacts
from pytest_llmeval.results.plan import AskedPlan, RunPlan, SuitePlan, plan_hash

_HASHED = {
    "prompt_hash": "prompt has",
    "tools_hash": "tools have",
    "schema_hash": "json_schema has",
    "grammar_hash": "grammar has",
}


def check_resumable(
    manifest: Manifest, plan: RunPlan, digests: Mapping[str, str | None]
) -> list[str]:
    """Say in words why the run cannot be continued with this plan; an empty list when it can.

    `digests` gives the weights of each model now, None where they are not known; what was unknown
    on either side is no difference. How answers are scored may change: scoring comes after.
    """
    found = list(weights_changed(manifest.models, digests))
    if manifest.plan_hash == plan_hash(plan):
        return found
    before = manifest.plan
    found += _config_changed(_of_the_asked(before.config), _of_the_asked(plan.config))
    found += _config_changed(before.seeds, plan.seeds, "seeds.")
    if before.limit != plan.limit:  # all other items, and what follows from it
        was, now = (_shown(each) if each else "not given" for each in (before.limit, plan.limit))
        return [f"--llm-limit was {was}, is {now}", *found]
    found += questions_changed(before, plan)
    return found or list(_others_chosen(before.asked, plan.asked))


def _of_the_asked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the models that only judge: what they say is asked anew where it differs."""
    models: Mapping[str, Mapping[str, Any]] = config.get("models", {})
    asked = {name: model for name, model in models.items() if model.get("role") is None}
    rest = {key: value for key, value in config.items() if key != "judge"}
    return {**rest, "models": asked} if "models" in config else rest


def questions_changed(before: RunPlan, now: RunPlan) -> list[str]:
    """Say in words where two plans ask something else: other items, prompts, tools or samplings."""
    return [
        *_suites_changed(before.suites, now.suites),
        *_asked_changed(before.asked, now.asked),
    ]


def weights_changed(
    models: Iterable[ModelFacts], digests: Mapping[str, str | None]
) -> Iterator[str]:
    """Say in words which models have other weights now; what was or is unknown is no difference."""
    for model in models:
        before, now = model.weights, digests.get(model.name)
        if before and now and before != now:
            what = "weights and their adapters" if model.adapters else "weights"
            yield f"model {model.name}: sha256 of the {what} was {before}, is {now}"


def _config_changed(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    for key in sorted({*before, *now}):
        # The one sampling without a name has the key "".
        path = f"{prefix}{key}" if key else prefix.removesuffix(".")
        if key not in now:
            yield f"config: {path} is gone, it was {_shown(before[key])}"
        elif key not in before:
            yield f"config: {path} is new: {_shown(now[key])}"
        elif isinstance(before[key], Mapping) and isinstance(now[key], Mapping):
            yield from _config_changed(before[key], now[key], f"{path}." if path else "")
        elif plain(before[key]) != plain(now[key]):
            yield f"config: {path} was {_shown(before[key])}, is {_shown(now[key])}"


def _shown(value: Any) -> str:
    text = json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _suites_changed(before: Iterable[SuitePlan], now: Iterable[SuitePlan]) -> Iterator[str]:
    old, new = {s.name: s for s in before}, {s.name: s for s in now}
    yield from _come_and_gone("suite", old, new)
    for name in sorted(old.keys() & new.keys()):
        if old[name].stop != new[name].stop:
            # A rule that is changed once answers have been seen is no rule.
            yield f"suite {name}: stop was {_shown(old[name].stop)}, is {_shown(new[name].stop)}"
        elif old[name].dataset_hash != new[name].dataset_hash:
            yield f"suite {name}: its dataset has changed"
        elif old[name].items_hash != new[name].items_hash:
            yield f"suite {name}: other items, {old[name].items} then, {new[name].items} now"
        elif old[name].continuations_hash != new[name].continuations_hash:
            was, is_ = _asks(old[name]), _asks(new[name])
            others = " of other texts" if was == is_ else ""
            yield f"suite {name}: it asked for {was}, it asks for {is_}{others}"


def _asks(suite: SuitePlan) -> str:
    return "likelihoods" if suite.continuations_hash else "answers"


def _asked_changed(before: Iterable[AskedPlan], now: Iterable[AskedPlan]) -> Iterator[str]:
    old = {f"{a.condition} in suite {a.suite}": a for a in before}
    new = {f"{a.condition} in suite {a.suite}": a for a in now}
    yield from _come_and_gone("condition", old, new)
    for name in sorted(old.keys() & new.keys()):
        for key, what in _HASHED.items():
            if getattr(old[name], key) != getattr(new[name], key):
                yield f"condition {name}: its {what} changed"
        for key in ("exact", "form", "logprobs"):
            was, is_ = (_shown(getattr(side[name], key)) for side in (old, new))
            if was != is_:
                yield f"condition {name}: {key} was {was}, is {is_}"
        for difference in _config_changed(old[name].sampling, new[name].sampling):
            yield difference.replace("config:", f"condition {name}: sampling", 1)
        if old[name].repeats != new[name].repeats:
            yield f"condition {name}: repeats was {old[name].repeats}, is {new[name].repeats}"
        elif old[name].trials != new[name].trials:
            yield f"condition {name}: {old[name].trials} trials then, {new[name].trials} now"


def _others_chosen(before: Iterable[AskedPlan], now: Iterable[AskedPlan]) -> Iterator[str]:
    """Say in words where as many trials were selected, but not the same."""
    chosen = {(asked.condition, asked.suite): asked.chosen_hash for asked in before}
    for asked in now:
        was = chosen[asked.condition, asked.suite]
        if was and was != asked.chosen_hash:  # an older version did not write it down
            yield (
                f"condition {asked.condition} in suite {asked.suite}: as many trials are selected "
                f"as then ({asked.trials:,}), but not the same"
            )


def _come_and_gone(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{kind} {name} is gone" for name in sorted(old.keys() - new.keys()))
    yield from (f"{kind} {name} is new" for name in sorted(new.keys() - old.keys()))
