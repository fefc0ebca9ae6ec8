"""What a run asks, by hashes and settings: what decides whether two runs are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.records import Condition, JudgeTrial, Suite, Trial
from pytest_llmeval.results.folder import condition_slugs


@dataclass(frozen=True, slots=True)
class ConditionPlan:
    """One condition of a run. `prompt` and `sampling` are names, "" where there is only one."""

    name: str
    folder: str
    model: str
    prompt: str
    sampling: str


@dataclass(frozen=True, slots=True)
class ScorerPlan:
    """A scorer as a suite uses it. `version` is the scorer's own, "" where nobody told it."""

    name: str
    options: Mapping[str, Any]
    version: str = ""


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """One suite of a run and its items, told by hashes. `items_hash` is over the chosen ids.

    `seeds` are those by which its items and its worked examples were chosen and put in order;
    `stop` says when it stops early, None when it does not. `continuations_hash` is over the texts
    whose likelihood is asked, with what stands before them, "" where answers are written.
    """

    name: str
    origin: str
    dataset_hash: str
    items: int
    items_hash: str
    scorers: tuple[ScorerPlan, ...]
    seeds: Mapping[str, int] = field(default_factory=dict)
    stop: Mapping[str, Any] | None = None
    continuations_hash: str = ""


@dataclass(frozen=True, slots=True)
class AskedPlan:
    """What one suite asks of one condition: its prompt by hash, its sampling in full.

    `tools_hash` is over the tools that every request offers, "" without any; likewise `schema_hash`
    and `grammar_hash` over what answers are held to. `exact` requests go out without a prompt
    cache; `logprobs` is the number of alternatives they ask for, None for no log probabilities.
    `chosen_hash` is over the items and repeats that were selected, "" where nobody wrote that down.
    """

    suite: str
    condition: str
    prompt_hash: str
    sampling: Mapping[str, Any]
    repeats: int
    trials: int
    tools_hash: str = ""
    exact: bool = False
    form: str = "chat"
    schema_hash: str = ""
    grammar_hash: str = ""
    logprobs: int | None = None
    chosen_hash: str = ""


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """What one scorer asks a model about the answers of one condition, `trials` times.

    `question_hash` is over all that is asked besides answers and items: rubric, scale, template.
    """

    suite: str
    condition: str
    scorer: str
    model: str
    question_hash: str
    sampling: Mapping[str, Any]
    trials: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that decides what a run asks. Two runs of one plan on the same weights are the same.

    `limit` is --llm-limit, None without it; a suite's own limit shows in its items. `judged` is the
    second wave: what is asked about the answers.
    """

    config: Mapping[str, Any]
    suites: tuple[SuitePlan, ...]
    conditions: tuple[ConditionPlan, ...]
    asked: tuple[AskedPlan, ...]
    seeds: Mapping[str, int]
    limit: int | None = None
    judged: tuple[JudgePlan, ...] = ()

    @property
    def trials(self) -> int:
        """How many trials the run has in all, those of judges not counted."""
        return sum(asked.trials for asked in self.asked)

    @property
    def models(self) -> frozenset[str]:
        """The names of all models that are asked, those of judges among them."""
        asked = {condition.model for condition in self.conditions}
        return frozenset(asked | {judged.model for judged in self.judged})

    @property
    def judge_trials(self) -> int:
        """How many trials judges have: fewer are asked where there is nothing to judge."""
        return sum(judged.trials for judged in self.judged)


def plan_of(
    config: Mapping[str, Any],
    trials: Sequence[Trial],
    seeds: Mapping[str, int],
    *,
    limit: int | None = None,
    scorer_versions: Mapping[str, str] | None = None,
    judged: Sequence[JudgeTrial] = (),
) -> RunPlan:
    """Describe what `trials` ask. Nothing in it depends on the order of conditions or suites.

    `limit` is --llm-limit; `scorer_versions` go by the names of scorers; `judged` are the trials of
    judges.
    """
    suites: dict[str, Suite] = {}
    asked: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        suites[trial.suite.name] = trial.suite
        asked.setdefault((trial.suite.name, trial.condition.name), []).append(trial)
    conditions = {its[0].condition.name: its[0].condition for its in asked.values()}
    slugs = condition_slugs(conditions)
    versions = scorer_versions or {}
    return RunPlan(
        config=plain(config),
        suites=tuple(_suite_plan(suites[name], versions) for name in sorted(suites)),
        conditions=tuple(_condition_plan(conditions[n], slugs[n]) for n in sorted(conditions)),
        asked=tuple(_asked_plan(suites[key[0]], asked[key]) for key in sorted(asked)),
        seeds=dict(seeds),
        limit=limit,
        judged=tuple(_judge_plans(judged)),
    )


def _judge_plans(trials: Iterable[JudgeTrial]) -> Iterator[JudgePlan]:
    counts: dict[tuple[str, str, str], tuple[Condition, int]] = {}
    for trial in trials:
        key = (trial.suite.name, trial.condition.name, trial.scorer)
        counts[key] = (trial.condition, counts[key][1] + 1 if key in counts else 1)
    for key in sorted(counts):
        condition, count = counts[key]
        sampling = plain(condition.sampling)
        yield JudgePlan(*key, condition.model, condition.prompt.hash, sampling, count)


def _suite_plan(suite: Suite, versions: Mapping[str, str]) -> SuitePlan:
    ids = "\n".join(item.id for item in suite.items)
    return SuitePlan(
        name=suite.name,
        origin=suite.origin,
        dataset_hash=suite.dataset_hash,
        items=len(suite.items),
        items_hash=hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest(),
        scorers=tuple(
            ScorerPlan(scorer.name, _options(scorer.options), versions.get(scorer.name, ""))
            for scorer in suite.scorers
        ),
        seeds=dict(suite.seeds),
        stop={"when": suite.stop.when, "alpha": suite.stop.alpha} if suite.stop else None,
        continuations_hash=_continuations_hash(suite),
    )


def _continuations_hash(suite: Suite) -> str:
    if not suite.continuations:
        return ""
    asked = [suite.delimiter, *([item.id, suite.continuations[item.id]] for item in suite.items)]
    return hashlib.sha256(json.dumps(asked).encode("ascii")).hexdigest()


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """A scorer's options; what JSON cannot hold, as a marker may give it, is told by its type."""
    told = {}
    for name, value in options.items():
        try:
            json.dumps(plain(value), allow_nan=False)
            told[name] = plain(value)
        except (TypeError, ValueError):
            told[name] = f"<{type(value).__name__}>"
    return told


def _condition_plan(condition: Condition, slug: str) -> ConditionPlan:
    return ConditionPlan(
        condition.name, slug, condition.model, condition.prompt.name, condition.sampling_name
    )


def _asked_plan(suite: Suite, trials: Sequence[Trial]) -> AskedPlan:
    condition = trials[0].condition
    return AskedPlan(
        suite=suite.name,
        condition=condition.name,
        prompt_hash=condition.prompt.hash,
        sampling=plain(condition.sampling),
        repeats=condition.repeats,
        trials=len(trials),
        tools_hash=_hash(suite.tools) if suite.tools else "",
        exact=suite.exact,
        form=suite.form,
        schema_hash=_hash(suite.json_schema) if suite.json_schema is not None else "",
        grammar_hash=_hash(suite.grammar) if suite.grammar is not None else "",
        logprobs=suite.logprobs,
        chosen_hash=_hash_of_plain(sorted([trial.item.id, trial.repeat] for trial in trials)),
    )


def _hash(value: Any) -> str:
    # Keys stay in their order: a chat template shows tools to the model as they are written, and an
    # answer has the properties of its schema in their order.
    return _hash_of_plain(plain(value))


def _hash_of_plain(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def plan_hash(plan: RunPlan) -> str:
    """SHA-256 over the plan's canonical JSON: equal exactly when the plans are."""
    text = json.dumps(plain(plan), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
